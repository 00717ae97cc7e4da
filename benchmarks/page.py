"""What all benchmarks share: how one is described, how it ends, and docs/benchmarks.md made from the records of all."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from benchmarks import record as records
from benchmarks.record import Measure, Origin, Record, Row

BENCHMARKS = (
    "split",
    "profiling",
    "plan",
    "pipeline",
    "hops",
    "servers",
    "job",
    "memory",
    "decoding",
    "auto_choice",
    "backends",
    "load",
    "workflows",
    "helix",
    "scale",
    "fleet",
    "front",
)
"""Modules of this folder, in the order of the page. Each has a BENCHMARK."""

WIDTH = 100
SHOWN_PACKAGES = ("python", "onnxruntime", "onnx", "onnx-ir", "numpy", "scipy")
HEAD = """# Comparisons

Made by `python docs/generate.py` from `benchmarks/results/*.json`, which hold every figure with its
unit, machine, versions and date. Each table comes from one run on one machine: compare within a
table. Figures are medians; where two more stand in brackets, half of the samples lie between them.
Absolute times depend on the machine and on what else runs there. `python benchmarks/run.py` repeats
all benchmarks and writes this page again.
"""


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark measures and how it is shown: `section` turns a record into a sentence and tables, in Markdown."""

    name: str
    title: str
    measures: Mapping[str, Measure]
    section: Callable[[Record], str]

    def finish(self, settings: Mapping[str, str | int], measure: Callable[[], Sequence[Row]], path: Path | None) -> int:
        """Measures, writes the record if `path` is given, and prints what the page would show. The exit status."""
        begin = time.monotonic()
        rows = measure()
        record = Record(self.name, settings, time.monotonic() - begin, Origin.here(), self.measures, rows)
        if path is not None:
            records.write(record, path)
        print(f"{text(self, record)}\n\n{origin(record)}")
        return 0


def render(folder: Path = records.RESULTS) -> str:
    """The page: a section for every benchmark that has a record in the folder."""
    paths = [(name, folder / f"{name}.json") for name in BENCHMARKS]
    return "\n".join([HEAD, *(_section(name, records.read(path)) for name, path in paths if path.exists())])


def _section(name: str, record: Record) -> str:
    benchmark: Benchmark = import_module(f"benchmarks.{name}").BENCHMARK
    again = f"Again: `python benchmarks/{name}.py --json benchmarks/results/{name}.json`"
    return f"## {benchmark.title}\n\n{text(benchmark, record)}\n\n{origin(record)}\n{again}\n"


def text(benchmark: Benchmark, record: Record) -> str:
    """The benchmark's own section, and the cases that were not run, with the reason."""
    failures = [
        textwrap.fill(
            f"- not run: {', '.join(f'{key} {value}' for key, value in row.case.items())}: {row.failure}",
            WIDTH,
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
        for row in record.rows
        if row.failure
    ]
    return "\n\n".join([_wrapped(benchmark.section(record)), *(["\n".join(failures)] if failures else [])])


def _wrapped(text: str) -> str:
    """The Markdown with lines of at most WIDTH characters, tables as they are."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(part if part.startswith("|") else textwrap.fill(part, WIDTH) for part in paragraphs)


def origin(record: Record) -> str:
    """When, where and with what the record was made."""
    made = record.origin
    took = "" if record.seconds is None else f" in {record.seconds:.0f} s"
    commit = "" if made.commit is None else f", commit {made.commit}"
    machine = f"{made.machine['processor']}, {made.machine['cores']} cores, {made.machine['memory_gib']} GiB"
    versions = ", ".join(f"{name} {made.versions[name]}" for name in SHOWN_PACKAGES if name in made.versions)
    return f"Measured {made.date}{took}{commit}: {machine}.\n{versions}."
