"""Every comparison in one go, each in a run of its own, and docs/benchmarks.md made from what they printed.

python benchmarks/run.py                 # all of them; minutes
python benchmarks/run.py split plan      # only these; the page keeps the others' last tables
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
SECONDS = 1800

SCRIPTS = {
    "split": "Cutting a model: ours, `onnx.utils.extract_model`, onnx_ir, and copying the bytes",
    "profiling": "How well profiles agree with the clock",
    "plan": "Strategies against the optimum",
    "pipeline": "A running pipeline against its slowest stage, one session, and other transports",
    "job": "A whole job: ours, and stages one after the other in one process",
}
HEAD = """# Comparisons

Made by `python benchmarks/run.py`; each table is one run on one machine, so compare within a table. Ratios are medians
of runs in turn. Absolute times depend on the machine and on who else uses it.
"""
PACKAGES = ("onnxruntime", "onnx", "onnx-ir", "numpy", "scipy")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*SCRIPTS, []], help="which comparisons (default: all)")
    wanted = parser.parse_args().names or list(SCRIPTS)
    sections = old_sections()
    failed = []
    for name in wanted:
        print(f"== {name}", flush=True)
        text, seconds = output_of(name)
        if text is None:
            failed.append(name)
        else:
            print(text, flush=True)
            sections[name] = f"## {SCRIPTS[name]}\n\n<!-- {name} -->\n{context(name, seconds)}\n\n```text\n{text}\n```\n"
    PAGE.write_text("\n".join([HEAD, *(sections[name] for name in SCRIPTS if name in sections)]), encoding="utf-8")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def output_of(name: str) -> tuple[str | None, float]:
    """What the comparison printed, None if it failed, and how long it took."""
    begin = time.monotonic()
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "132", "TERM": "dumb"}
    command = [sys.executable, str(HERE / f"{name}.py")]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=SECONDS)
    text = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
    return (text if done.returncode == 0 else None), time.monotonic() - begin


def context(name: str, seconds: float) -> str:
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    memory_gib = psutil.virtual_memory().total / 2**30
    return (
        f"`python benchmarks/{name}.py`, {seconds:.0f} s, {datetime.date.today().isoformat()}, {processor()},"
        f" {psutil.cpu_count()} cores, {memory_gib:.0f} GiB, Python {platform.python_version()}, {versions}."
    )


def processor() -> str:
    """The processor's model where the system tells."""
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


def old_sections() -> dict[str, str]:
    """The page's sections by name, so that running one comparison keeps the others."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    found = re.split(r"(?m)^(?=## )", text)[1:]
    return {match[1]: section for section in found if (match := re.search(r"<!-- (\w+) -->", section))}


if __name__ == "__main__":
    sys.exit(main())
