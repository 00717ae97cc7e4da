"""Three parts of one model: ours, what others offer, and copying its bytes, side by side in one run.

    python benchmarks/split.py [MODEL.onnx] [--parts 3] [--rounds 3] [--json]

Each contender runs in a process of its own that has imported what it needs and has cut a tiny model before (a warm
interpreter); the clock and the peak of resident memory (VmHWM, reset before) then cover one call on the real model, whose
bytes are in the page cache. Contenders take turns, round by round; figures are medians. Writing goes to the disk of
the system's temporary folder. Without MODEL, ViT-B/16 with random weights is exported once and kept.

The command's row is its wall time from start to exit; `cp` copies the model file once, which is what self-contained parts have
to write between them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))
PACKAGES = ("onnx", "onnx-ir", "onnxruntime", "protobuf", "numpy")
TIMEOUT_S = 600


@dataclass(frozen=True)
class Row:
    """Medians of one contender. `times_cp` is its time over that of `cp`; None for memory is not measured."""

    name: str
    seconds: float
    times_cp: float
    peak_bytes: int | None
    written_bytes: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, help="ONNX file (default: ViT-B/16)")
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    model = args.model or _default_model()
    if args.contender:
        print(json.dumps(_measure(args.contender, model, args.parts, args.folder)))
        return 0
    rows = compare(model, args.parts, args.rounds)
    if args.json:
        print(json.dumps({"setting": setting(model, args), "rows": [asdict(row) for row in rows]}, indent=1))
    else:
        _show(rows, setting(model, args))
    return 0


def _default_model() -> Path:
    from tests import models

    return models.vit_b16()


def compare(model: Path, parts: int, rounds: int) -> list[Row]:
    """One row per contender, in the order of CONTENDERS."""
    model.read_bytes()  # into the page cache, for all alike
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    turns = [name for _ in range(rounds) for name in CONTENDERS]
    for name in track(turns, description="cutting", console=Console(stderr=True), transient=True):
        with tempfile.TemporaryDirectory(dir=model.parent, prefix=".benchmark-split-") as folder:
            found[name].append(_in_a_process(name, model, parts, folder))
    cp_s = statistics.median(run["seconds"] for run in found["cp"])
    return [_row(name, runs, cp_s) for name, runs in found.items()]


def _row(name: str, runs: list[dict[str, float]], cp_s: float) -> Row:
    seconds = statistics.median(run["seconds"] for run in runs)
    peaks = [run["peak_bytes"] for run in runs if run["peak_bytes"]]
    peak = int(statistics.median(peaks)) if peaks else None
    return Row(name, seconds, seconds / cp_s, peak, int(statistics.median(run["written_bytes"] for run in runs)))


def _in_a_process(name: str, model: Path, parts: int, folder: str) -> dict[str, float]:
    command = [sys.executable, __file__, str(model), "--parts", str(parts), "--contender", name, "--folder", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _measure(name: str, model: Path, parts: int, folder: Path) -> dict[str, float]:
    """Runs one contender, warm, in this process."""
    call, warm_up = CONTENDERS[name]
    points = _cut_points(model, parts)
    if warm_up:
        _warm(call, folder)
    target = folder / "parts"
    target.mkdir()
    _reset_peak()
    begin = time.perf_counter()
    call(model, points, target)
    seconds = time.perf_counter() - begin
    # Hard links are no bytes written.
    files = [path.stat() for path in target.rglob("*") if path.is_file()]
    written = sum(found.st_size for found in files if found.st_nlink == 1)
    return {"seconds": seconds, "peak_bytes": _peak_bytes() if warm_up else 0, "written_bytes": written}


def _warm(call: Callable[[Path, list[list[str]], Path], None], folder: Path) -> None:
    import onnx
    import onnx.reference
    from onnx import parser

    tiny = folder / "tiny.onnx"
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[4] x) => (float[4] y) { a = Exp(x)  b = Neg(a)  y = Abs(b) }'
    # A model whose nodes compute sizes has them evaluated; the first evaluator loads every operator's module.
    onnx.reference.ReferenceEvaluator(parser.parse_model(text))
    onnx.save(parser.parse_model(text), tiny)
    (folder / "warm").mkdir()
    call(tiny, [["x"], ["a"], ["y"]], folder / "warm")


def _cut_points(model: Path, parts: int) -> list[list[str]]:
    """Tensors at the model's start, at each cut, and at its end; found in another process, to leave this one as it is."""
    code = (
        "import json, sys; from multiedge.onnx_io import read_graph; from multiedge.onnx_io.cuts import boundaries_for;"
        "g = read_graph(sys.argv[1]);"
        "inner = [list(g.cuts[after].tensors) for after in boundaries_for(g, int(sys.argv[2]))];"
        "print(json.dumps([list(g.inputs), *inner, list(g.outputs)]))"
    )
    command = [sys.executable, "-c", code, str(model), str(parts)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    points: list[list[str]] = json.loads(done.stdout)
    return points


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        print("the peak of memory cannot be reset here; it counts imports too", file=sys.stderr)


def _peak_bytes() -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def _ours(model: Path, points: list[list[str]], folder: Path, *, copy_weights: bool) -> None:
    from multiedge.commands.split import plan_at
    from multiedge.onnx_io import read_graph, write_parts
    from multiedge.onnx_io.cuts import boundaries_at

    graph = read_graph(model)
    write_parts(graph, plan_at(graph, boundaries_at(graph, points[1:-1])), folder, copy_weights=copy_weights)


def _linked(model: Path, points: list[list[str]], folder: Path) -> None:
    _ours(model, points, folder, copy_weights=False)


def _copied(model: Path, points: list[list[str]], folder: Path) -> None:
    _ours(model, points, folder, copy_weights=True)


def _command(model: Path, points: list[list[str]], folder: Path) -> None:
    at = [option for tensors in points[1:-1] for option in ("--at", ",".join(tensors))]
    command = [sys.executable, "-m", "multiedge.cli", "split", str(model), *at, "-o", str(folder)]
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)


def _extract_model(model: Path, points: list[list[str]], folder: Path) -> None:
    from onnx.utils import extract_model

    for number, (inputs, outputs) in enumerate(pairwise(points), start=1):
        extract_model(model, folder / f"sub_model_{number}.onnx", inputs, outputs)


def _onnx_ir(model: Path, points: list[list[str]], folder: Path) -> None:
    import onnx_ir

    whole = onnx_ir.load(model)
    for number, (inputs, outputs) in enumerate(pairwise(points), start=1):
        part = onnx_ir.convenience.extract(whole.graph, inputs, outputs)
        file = f"sub_model_{number}.onnx"
        onnx_ir.save(onnx_ir.Model(part, ir_version=whole.ir_version), folder / file, external_data=f"{file}.data")


def _cp(model: Path, points: list[list[str]], folder: Path) -> None:
    subprocess.run(["cp", str(model), str(folder)], check=True)


CONTENDERS: dict[str, tuple[Callable[[Path, list[list[str]], Path], None], bool]] = {
    "multiedge, linked": (_linked, True),
    "multiedge, self-contained": (_copied, True),
    "multiedge split (command, linked)": (_command, False),
    "onnx.utils.extract_model": (_extract_model, True),
    "onnx_ir.convenience.extract": (_onnx_ir, True),
    "cp": (_cp, False),
}
"""What to call, and whether it runs in the measured process, so that warming it and reading its peak makes sense."""


def setting(model: Path, args: argparse.Namespace) -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return {
        "model": f"{model.name}, {model.stat().st_size / 1e6:.0f} MB",
        "parts": str(args.parts),
        "rounds": str(args.rounds),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **versions,
        "free": f"{shutil.disk_usage(model.parent).free / 1e9:.0f} GB on the disk written to",
    }


def _show(rows: list[Row], said: dict[str, str]) -> None:
    console = Console()
    table = Table(title=f"{said['parts']} parts of {said['model']}, medians of {said['rounds']} rounds", title_justify="left")
    table.add_column("contender")
    for name in ("seconds", "times cp", "peak RSS, MB", "written, MB"):
        table.add_column(name, justify="right")
    for row in rows:
        peak = "not measured" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:.0f}"
        table.add_row(row.name, f"{row.seconds:.3f}", f"{row.times_cp:.2f}", peak, f"{row.written_bytes / 1e6:.1f}")
    console.print(table)
    rest = (f"{key} {value}" for key, value in said.items() if key not in ("model", "parts", "rounds"))
    console.print(", ".join(rest), markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
