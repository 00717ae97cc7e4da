"""Three parts of one model: ours, what others offer, and copying its bytes, side by side in one run.

    python benchmarks/split.py [MODEL.onnx] [--parts 3] [--rounds 3] [--json FILE]

Each contender runs in its own process, which has imported what it needs and has already cut a tiny model. The time and the
peak of resident memory (VmHWM, reset before) cover one call on the real model, whose bytes are in the page cache.
Contenders take turns, round by round; figures are medians. Files are written to the model's disk. Without MODEL,
ViT-B/16 with random weights is exported once and kept.

Rows of commands are their wall time from start to exit: also of those that write nothing, which show what starting takes. `cp`
copies the model file once: self-contained parts together have to write as many bytes.
"""

from __future__ import annotations

import argparse
import compileall
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.models import path_of
from benchmarks.page import Benchmark
from benchmarks.record import Figure, Measure, Record, Row, add_option
from benchmarks.tables import case, figure, spread, table

REPOSITORY = Path(__file__).resolve().parent.parent
LINKED, PEER = "multiedge, linked", "onnx.utils.extract_model"
TIMEOUT_S = 600
PACKAGES = ("core", "multiedge", "partitioners", "profilers")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, help="ONNX file (default: ViT-B/16)")
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    add_option(parser)
    args = parser.parse_args()
    model = args.model or path_of("vit_b16")
    if args.contender:
        print(json.dumps(_measure(args.contender, model, args.parts, args.folder)))
        return 0
    settings = {"model": model.name, "model_bytes": model.stat().st_size, "parts": args.parts, "rounds": args.rounds}
    _compile()
    return BENCHMARK.finish(settings, lambda: compare(model, args.parts, args.rounds), args.json)


def section(record: Record) -> str:
    """What the record says, and its table."""
    cp_s = record.row(contender="cp").figures["seconds"].median
    columns = [
        case("contender"),
        spread("seconds", "seconds", ".3f"),
        figure("seconds", "over `cp`", ".1f", 1 / cp_s),
        figure("peak_bytes", "peak RSS, MB", ".0f", 1e-6),
        figure("written_bytes", "written, MB", ".1f", 1e-6),
    ]
    ratios = {row.case["contender"]: f"{seconds / cp_s:.1f}" for row in record.rows if (seconds := row.median("seconds"))}
    peer = f"; `{PEER}` takes {ratios[PEER]} times as long" if PEER in ratios else ""
    return (
        f"To cut {record.settings['model']} into {record.settings['parts']} linked parts takes {ratios[LINKED]} times as long"
        f" as to copy the file{peer}.\n\n{table(columns, record.rows)}"
    )


def compare(model: Path, parts: int, rounds: int) -> list[Row]:
    """One row per contender, in the order of CONTENDERS. One that fails is left out of the rounds that follow."""
    model.read_bytes()  # into the page cache, for all alike
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    failures: dict[str, str] = {}
    for number in range(rounds):
        for name in [name for name in runs if name not in failures]:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            try:
                runs[name].append(_in_a_process(name, model, parts))
            except subprocess.SubprocessError as error:
                failures[name] = str(error)
    return [Row({"contender": name}, _figures(samples), failures.get(name, "")) for name, samples in runs.items()]


def _figures(runs: list[dict[str, float]]) -> dict[str, Figure]:
    """By measure; without the peak where it was not measured (0)."""
    samples = {name: [run[name] for run in runs if name != "peak_bytes" or run[name]] for name in BENCHMARK.measures}
    return {name: Figure.of(values) for name, values in samples.items() if values}


def _in_a_process(name: str, model: Path, parts: int) -> dict[str, float]:
    """The samples of one call. Raises SubprocessError, with the last line that the process printed, if it fails."""
    with tempfile.TemporaryDirectory(dir=model.parent, prefix=".benchmark-split-") as folder:
        command = [sys.executable, __file__, str(model), "--parts", str(parts), "--contender", name, "--folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise subprocess.SubprocessError((done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1])
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
    written = sum(file.st_size for file in files if file.st_nlink == 1)
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
    from multiedge.onnx_io import read_graph, write_parts
    from multiedge.onnx_io.cuts import boundaries_at
    from multiedge.run import plan_cuts

    graph = read_graph(model)
    write_parts(graph, plan_cuts(graph, boundaries_at(graph, points[1:-1])), folder, copy_weights=copy_weights)


def _linked(model: Path, points: list[list[str]], folder: Path) -> None:
    _ours(model, points, folder, copy_weights=False)


def _copied(model: Path, points: list[list[str]], folder: Path) -> None:
    _ours(model, points, folder, copy_weights=True)


def _command(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "multiedge.cli", *words], check=True, capture_output=True, cwd=REPOSITORY)


def _compile() -> None:
    """As an installation does; otherwise an environment without writing of bytecode compiles anew for each command."""
    for name in PACKAGES:
        compileall.compile_dir(REPOSITORY / name, quiet=1)


def _split(model: Path, points: list[list[str]], folder: Path) -> None:
    at = [option for tensors in points[1:-1] for option in ("--at", ",".join(tensors))]
    _command("split", model, *at, "-o", folder)


def _plan(model: Path, points: list[list[str]], folder: Path) -> None:
    _command("plan", model, "--devices", "devices.yaml", "--reference", "declared")


def _inspect(model: Path, points: list[list[str]], folder: Path) -> None:
    _command("inspect", model)


def _help(model: Path, points: list[list[str]], folder: Path) -> None:
    _command("--help")


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
    LINKED: (_linked, True),
    "multiedge, self-contained": (_copied, True),
    "multiedge split (command, linked)": (_split, False),
    "multiedge plan (command)": (_plan, False),
    "multiedge inspect (command)": (_inspect, False),
    "multiedge --help (command)": (_help, False),
    PEER: (_extract_model, True),
    "onnx_ir.convenience.extract": (_onnx_ir, True),
    "cp": (_cp, False),
}
"""What to call, and whether it runs in the measured process, so that warming it and reading its peak makes sense."""

BENCHMARK = Benchmark(
    "split",
    "Cutting a model: ours, `onnx.utils.extract_model`, onnx_ir, and copying the bytes",
    {
        "seconds": Measure("s", "wall time of one call, or of the command"),
        "peak_bytes": Measure("B", "largest resident memory (VmHWM) during the call"),
        "written_bytes": Measure("B", "bytes of the files written, hard links left out"),
    },
    section,
)

if __name__ == "__main__":
    sys.exit(main())
