"""`multiedge profile`: what each node and each cut costs."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from multiedge.errors import ConfigError, require_least
from multiedge.fleet import Device, Fleet
from multiedge.formats.devices import read_fleet
from multiedge.formats.profile import load_profile, save_profile
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph
from multiedge.profile import Profile
from multiedge.quantity import human_bytes
from profilers import PROFILERS
from profilers.engine.contract import Progress as Tell
from profilers.engine.merge import merge, profile_of_trace
from profilers.engine.pipeedge import write_profiler_results
from profilers.engine.summary import Row, costliest_nodes, costliest_operators, headline, summary, warnings

HOST = "host"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="ONNX file")
    parser.add_argument("--devices", metavar="FILE", help="devices.yaml; default: this machine alone")
    parser.add_argument("--profiler", default="static", help="static, measured or segments (default: static)")
    parser.add_argument("--budget-s", type=float, metavar="S", help="seconds for timing")
    parser.add_argument("--strategy", help="whose segments to time, with --profiler segments (default: throughput)")
    parser.add_argument("--seed", type=int, help="seed of the random inputs")
    parser.add_argument("--shape", action="append", default=[], metavar="INPUT=1,3,224,224", help="size of a dynamic input")
    parser.add_argument("--merge", action="append", default=[], metavar="PROFILE", help="take devices from another profile")
    parser.add_argument(
        "--trace", action="append", default=[], metavar="DEVICE=JSON", help="times from a profile that the runtime wrote there"
    )
    parser.add_argument("--top", type=int, default=10, metavar="N", help="rows of each table (default: 10)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON, not as tables")
    parser.add_argument("--pipeedge", metavar="YML", help="also write the first device's times as profiler_results.yml")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the whole profile, JSON")


def run(args: argparse.Namespace) -> int:
    require_least("--top", args.top, 1)
    graph = read_graph(args.model, parse_shapes(args.shape))
    fleet = read_fleet(args.devices) if args.devices else Fleet((Device(HOST),), name="this machine")
    with progress_bar(f"profiling {Path(args.model).name}") as progress:
        profile = make_profile(args, graph, fleet, progress)
    device = fleet.names[0]
    if args.output:
        save_profile(profile, args.output)
    if args.pipeedge:
        write_profiler_results(profile, device, args.pipeedge)
    if args.json:
        print(json.dumps(summary(profile, device, args.top), indent=1))
    else:
        show(profile, device, args.top)
    return 0


def make_profile(args: argparse.Namespace, graph: Graph, fleet: Fleet, progress: Tell) -> Profile:
    """The profile by the chosen profiler, with devices that other profiles and traces know better put in."""
    factory: Any = PROFILERS.load(args.profiler)
    known = inspect.signature(factory).parameters
    wanted = {"budget_s": args.budget_s, "strategy": args.strategy, "seed": args.seed}
    options = {name: value for name, value in wanted.items() if value is not None}
    for name in options:
        if name not in known:
            raise ConfigError(f"--{name.replace('_', '-')}: the profiler '{args.profiler}' has no such option")
    if "progress" in known:
        options["progress"] = progress
    profile: Profile = factory(**options).profile(graph, fleet)
    others = [load_profile(path) for path in args.merge]
    for device, path in (_pair(text, "--trace", "DEVICE=JSON") for text in args.trace):
        others.append(profile_of_trace(graph, path, fleet.device(device)))
    return merge([profile, *others])


def parse_shapes(texts: Sequence[str]) -> dict[str, list[int]] | None:
    """Shapes by input from 'input=1,3,224,224' texts; None if there are none."""
    found = {}
    for text in texts:
        name, numbers = _pair(text, "--shape", "INPUT=1,3,224,224")
        try:
            found[name] = [int(number) for number in numbers.split(",")]
        except ValueError:
            raise ConfigError(f"--shape: expected whole numbers such as {name}=1,3,224,224, got '{text}'") from None
    return found or None


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    name, separator, value = text.rpartition("=")
    if not separator or not name or not value:
        raise ConfigError(f"{option}: expected {example}, got '{text}'")
    return name, value


def show(profile: Profile, device: str, count: int) -> None:
    """Prints the tables and the one line."""
    console = Console()
    console.print(_table(f"Costliest nodes on {device}", costliest_nodes(profile, device, count), by_node=True))
    console.print(_table(f"Costliest operators on {device}", costliest_operators(profile, device, count), by_node=False))
    for name in profile.uncounted:
        console.print(f"not counted, taken as zero: {name}", style="yellow", markup=False, highlight=False)
    for warning in warnings(profile):
        console.print(warning, style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print(headline(profile, device), markup=False, highlight=False, soft_wrap=True)


def _table(title: str, rows: Sequence[Row], *, by_node: bool) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("node" if by_node else "operator", overflow="fold")
    table.add_column("operator" if by_node else "nodes", justify="left" if by_node else "right")
    for name in ("ms", "share", "MMACs", "parameters", "output"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            row.op_type if by_node else str(row.nodes),
            f"{row.seconds * 1e3:.3f}",
            f"{row.share:.1%}",
            f"{row.macs / 1e6:.1f}",
            human_bytes(row.parameter_bytes),
            human_bytes(row.output_bytes),
        )
    return table


@contextmanager
def progress_bar(title: str) -> Iterator[Tell]:
    """A bar on stderr; what it yields is told of each step."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda step, share: bar.update(task, description=f"{title}: {step}", completed=share)
