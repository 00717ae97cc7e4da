"""`multiedge bench`: strategies on many models and fleets, for papers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multiedge.bench.folder import batches_of, kept_rows, require_same_names, results_data, save_rows, suite_of, write_all
from multiedge.bench.grid import GridCell, grid, make_cases, parse_choices, parse_seeds, run_grid
from multiedge.bench.rows import PLANNED, Row
from multiedge.bench.suite import read_suite, suite_versions
from multiedge.bench.summary import Standing, summarise
from multiedge.bench.tables import counted, with_interval
from multiedge.commands import _options
from multiedge.commands._terminal import Column, new_console, print_columns, print_line, share_bar

if TYPE_CHECKING:
    from rich.console import Console

MOST_REASONS = 5
"""Rows without a plan that are printed."""


def run(args: argparse.Namespace) -> int:
    """0 if some strategy has a plan, otherwise 1."""
    _options.require_with(args, "fresh", "output")
    suite = read_suite(args.suite or suite_versions()[-1])
    choices = parse_choices(_names(args.strategies, suite.strategies))
    seeds = parse_seeds(args.seeds) if args.seeds else suite.seeds
    directory = Path(args.output) if args.output else None
    kept = kept_rows(directory, {choice.versions for choice in choices}) if directory and not args.fresh else []
    with share_bar("reading models") as progress:
        models = [suite.model(name) for name in _names(args.models, suite.models)]
        progress("costs", 0.5)
        cases = make_cases(models, [suite.devices(name) for name in _names(args.fleets, suite.fleets)])
    if directory:
        require_same_names(directory, kept, cases)
    rows = _planned(list(grid(cases, choices, seeds)), kept, directory)
    if args.json:
        print(json.dumps(results_data(rows), indent=1, allow_nan=False))
    else:
        show(rows, new_console())
    return 0 if any(row.status == PLANNED for row in rows) else 1


def _planned(cells: Sequence[GridCell], kept: Sequence[Row], directory: Path | None) -> list[Row]:
    """The rows of the cells after those that are kept; with a folder, they are saved there after each instance."""
    rows = {row.key: row for row in kept}
    last = None
    try:
        with share_bar("planning") as progress:
            for row in run_grid(cells, dict(rows), progress):
                if directory and last not in (None, row.instance):
                    save_rows(directory, list(rows.values()))
                rows[row.key], last = row, row.instance
    finally:
        # An interruption loses nothing: the next call goes on from here.
        if directory and rows:
            names = ", ".join(path.name for path in write_all(directory, list(rows.values())))
            print(f"{len(rows)} rows, {len(kept)} of them kept, in {directory}: {names}", file=sys.stderr)
    return list(rows.values())


def _names(text: str | None, default: Iterable[str]) -> list[str]:
    return list(default) if text is None else [name.strip() for name in text.split(",") if name.strip()]


def show(rows: Sequence[Row], console: Console) -> None:
    """Prints a line for each strategy, then the rows without a plan."""
    standings, suite = summarise(rows), suite_of(rows)
    instances = len({row.instance for row in rows})
    title = f"suite {suite}" if suite else "not a public suite"
    print_columns(console, f"{title}; instances: {instances}, rows: {len(rows)}", _columns(standings))
    print_line(console, "to best: geometric mean of cost / best known cost [95 % interval]; gain: over the best single device")
    print_line(console, f"means are over {counted(standings)}")
    for line in batches_of(rows):
        print_line(console, line)
    without = [row for row in rows if row.status != PLANNED]
    for row in without[:MOST_REASONS]:
        seed = "" if row.seed is None else f", seed {row.seed}"
        print_line(console, f"{row.strategy} on {row.model}, {row.fleet}{seed}: {row.status}: {row.reason}")
    if len(without) > MOST_REASONS:
        print_line(console, f"and {len(without) - MOST_REASONS} more rows without a plan; -o or --json has all")


def _columns(standings: Sequence[Standing]) -> list[Column]:
    scores = [[each.scores[measure] for each in standings] for measure in ("throughput", "latency", "energy")]
    throughput, latency, energy = scores
    return [
        Column("strategy", [each.strategy for each in standings], is_number=False),
        Column("plans", [f"{each.planned}/{each.instances}" for each in standings]),
        Column("throughput\nto best", list(map(with_interval, throughput))),
        Column("gain", ["-" if score.over_single is None else f"{score.over_single:.2f}" for score in throughput]),
        Column("best", [str(score.wins) for score in throughput], 2),
        Column("latency\nto best", ["-" if score.to_best is None else f"{score.to_best:.2f}" for score in latency]),
        Column("energy\nto best", ["-" if score.to_best is None else f"{score.to_best:.2f}" for score in energy]),
        Column("planning\nms", [f"{each.planning_s * 1e3:.3g}" for each in standings], 1),
    ]
