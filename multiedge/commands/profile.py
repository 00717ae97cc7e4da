"""`multiedge profile`: what each node and each cut costs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiedge.commands import _options
from multiedge.commands._terminal import new_console, new_table, print_line, share_bar
from multiedge.commands.arguments.profile import NODE_TIMES
from multiedge.errors import require_least
from multiedge.fleet import Device, Fleet
from multiedge.formats.devices import read_fleet
from multiedge.formats.profile import load_profile, save_profile
from multiedge.graph import Graph
from multiedge.options import option_names, require_options
from multiedge.profile import Profile
from multiedge.quantity import human_bytes, number_text
from multiedge.report.plan_text import batch_lines, measured_lines
from multiedge.run import profile_model
from profilers import PROFILERS
from profilers.engine.merge import merge, profile_of_trace
from profilers.engine.pipeedge import write_profiler_results
from profilers.engine.summary import Row, costliest_nodes, costliest_operators, headline, summary, warnings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

HOST = "host"
FLAGS = ("budget_s", "strategy", "seed")
"""Options of profilers that have a flag of their own."""


def run(args: argparse.Namespace) -> int:
    require_least("--top", args.top, 1)
    options = profiler_options(args)
    graph = _options.read_sized(args)
    fleet = read_fleet(args.devices) if args.devices else Fleet((Device(HOST),), name="this machine")
    with share_bar(f"profiling {Path(args.model).name}") as progress:
        profile = make_profile(args, graph, fleet, options, progress)
    device = fleet.names[0]
    if args.output:
        save_profile(profile, args.output)
    if args.pipeedge:
        write_profiler_results(profile, device, args.pipeedge)
    if args.json:
        print(json.dumps(summary(profile, device, args.top), indent=1))
    else:
        show(profile, device, args.top, new_console())
    return 0


def profiler_options(args: argparse.Namespace) -> dict[str, Any]:
    """The profiler's options that were given; ConfigError for one that it does not have."""
    flags = {name: vars(args)[name] for name in FLAGS if vars(args)[name] is not None}
    options = _options.with_own(flags, args.option)
    require_options(PROFILERS, args.profiler, options)
    return options


def make_profile(
    args: argparse.Namespace,
    graph: Graph,
    fleet: Fleet,
    options: dict[str, Any],
    progress: Callable[[str, float], None],
) -> Profile:
    """The profile by the chosen profiler; other profiles and the runtimes' replace the devices that they hold."""
    if "progress" in option_names(PROFILERS, args.profiler):
        options = {**options, "progress": progress}
    others = [load_profile(path) for path in args.merge]
    for text in args.node_times:
        device, path = _options.parse_pair(text, "--node-times", NODE_TIMES)
        others.append(profile_of_trace(graph, path, fleet.device(device)))
    return merge([profile_model(graph, fleet, args.profiler, **options), *others])


def show(profile: Profile, device: str, count: int, console: Console) -> None:
    """Prints the tables, what is uncertain, and the summary in one line."""
    console.print(_table(f"Costliest nodes on {device}", costliest_nodes(profile, device, count), by_node=True))
    console.print(_table(f"Costliest operators on {device}", costliest_operators(profile, device, count), by_node=False))
    sizes = (*batch_lines(profile.graph.free_batch), *measured_lines(profile.graph.measured_sizes))
    for warning in (*_uncounted(profile), *warnings(profile), *profile.notes, *sizes):
        print_line(console, warning, style="yellow")
    print_line(console, headline(profile, device))


def _uncounted(profile: Profile) -> list[str]:
    """One line about operations that are not in the MACs; nothing where a note says it."""
    names = ", ".join(profile.uncounted)
    return [f"operations not counted: {names}"] if names and not any(names in note for note in profile.notes) else []


def _figure(value: float, decimals: int) -> str:
    """With so many decimals; one that is smaller has the decimals that it needs, so that it does not look like zero.

    >>> _figure(1415.5776, 1), _figure(0.002432, 1), _figure(0, 1)
    ('1,415.6', '0.00243', '0')
    """
    return f"{value:,.{decimals}f}" if value * 10**decimals >= 10 else number_text(value, 3)


def _table(title: str, rows: Sequence[Row], *, by_node: bool) -> Table:
    table = new_table(title)
    table.add_column("node" if by_node else "operator", overflow="fold")
    table.add_column("operator" if by_node else "nodes", justify="left" if by_node else "right")
    for name in ("ms", "share", "MMACs", "parameters", "output"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            row.op_type if by_node else str(row.nodes),
            _figure(row.seconds * 1e3, 3),
            f"{row.share:.1%}",
            "-" if row.macs is None else _figure(row.macs / 1e6, 1),
            human_bytes(row.parameter_bytes),
            human_bytes(row.output_bytes),
        )
    return table
