"""How `multiedge plan` chooses a runtime and a precision for each device, and shows what was tried."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiedge.commands import _options
from multiedge.commands._terminal import Column, print_columns, print_line
from multiedge.errors import ConfigError
from multiedge.fleet import Fleet
from multiedge.onnx_io.items import model_items
from multiedge.plan import Manifest
from multiedge.quantity import SHARE, human_bytes, number_text, parse
from multiedge.run import plan_model

if TYPE_CHECKING:
    from rich.console import Console

    from multiedge.variants.choice import Choice
    from multiedge.variants.task import Progress

NEEDS_LIMIT = ("inputs", "labels", "variants", "pareto")
FIXES_COSTS = ("profile", "reference", "time_segments", "batch", "prompt")
"""Options that say how costs are found: those of variants are measured."""


def require_choice(args: argparse.Namespace) -> None:
    """ConfigError for options that have no effect without --max-accuracy-loss, or that contradict it."""
    for option in NEEDS_LIMIT:
        _options.require_with(args, option, "max_accuracy_loss")
    if args.max_accuracy_loss:
        _options.require_with(args, "max_accuracy_loss", "inputs")
        given = [option for option in FIXES_COSTS if vars(args)[option]]
        if given:
            flag = f"--{given[0].replace('_', '-')}"
            raise ConfigError(f"--max-accuracy-loss: measures what each precision costs, so {flag} has no effect; leave it out")


def choose(args: argparse.Namespace, fleet: Fleet, strategy: str, options: Mapping[str, Any], progress: Progress) -> Choice:
    """The best plan that loses at most what the options permit."""
    from multiedge.variants.choice import choose_variants
    from multiedge.variants.costs import Variant
    from multiedge.variants.task import Task

    limit = parse_share(args.max_accuracy_loss)
    items = model_items(_options.model_file(args.model), args.inputs)
    variants = tuple(map(Variant.parse, args.variants.split(","))) if args.variants else ()
    pins = _options.pins(args)
    task = Task(
        graph=_options.read_sized(args),
        fleet=fleet,
        items=items,
        labels=_options.read_labels(args, len(items)),
        limit=limit,
        planner=lambda profile, devices: plan_model(profile, devices, strategy, **pins, **options),
        measures_all=bool(args.pareto),
        progress=progress,
    )
    return choose_variants(task, variants)


def parse_share(text: str) -> float:
    """The share of --max-accuracy-loss, from 0 to 1."""
    try:
        share = parse(text, SHARE)
    except ValueError as error:
        raise ConfigError(f"--max-accuracy-loss: {error}") from None
    if share > 1:
        raise ConfigError(f"--max-accuracy-loss: expected at most 100%, got '{text}'; one percent is 1%")
    return share


def prepare_parts(choice: Choice, manifest: Manifest) -> None:
    """Keeps beside the parts what calibrates them, and converts them, so that a run opens what was measured."""
    from multiedge.variants.measuring import converted_parts

    converted_parts(choice.task, choice.best, manifest)


def draw_choice(choice: Choice, path: Path) -> Path:
    """Writes the picture of throughput against lost answers."""
    from multiedge.files import write_text
    from multiedge.report.graph_svg import standalone
    from multiedge.report.pareto import Point, draw

    points = [
        Point(number, each.name, each.plan.estimate.fps_bound, 100 * max(0.0, each.loss))
        for number, each in enumerate(choice.tried, start=1)
    ]
    kind = choice.best.accuracy.kind
    return write_text(path, standalone(draw(points, "items/s", "%", "throughput", f"loss of {kind}")))


def show_choice(choice: Choice, console: Console) -> None:
    """Prints a line for each plan whose accuracy was measured, then which variants have no costs."""
    tried = choice.tried
    kind = choice.best.accuracy.kind
    columns = [
        Column("plan", [str(number) for number in range(1, len(tried) + 1)]),
        Column("items/s\nat most", [number_text(each.plan.estimate.fps_bound) for each in tried]),
        Column("latency\nms", [number_text(each.plan.estimate.latency_s * 1e3) for each in tried]),
        Column("memory", [human_bytes(max(each.plan.estimate.planned_bytes.values())) for each in tried]),
        Column(kind, [f"{each.accuracy.value:.1%}" for each in tried]),
        Column("loss", [f"{max(0.0, each.loss):.1%}" for each in tried]),
        Column("", ["chosen" if each.is_same_as(choice.best) else "" for each in tried], is_number=False),
    ]
    print_columns(console, "runtimes and precisions", columns)
    for number, each in enumerate(tried, start=1):
        print_line(console, f"plan {number}: {each.name}")
    for name, reason in choice.left_out.items():
        print_line(console, f"not tried: {name}: {reason}")
