"""`multiedge plan`: decide which nodes run on which device."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiedge.backends.stages import pass_on
from multiedge.batching import BATCHES, Arrivals, Planned, Tried, best, samples_per_s, try_batches, value_per_sample
from multiedge.commands import _options
from multiedge.commands._terminal import Column, new_console, print_columns, print_line, share_bar, shorten
from multiedge.commands._variants import choose, draw_choice, prepare_parts, require_choice, show_choice
from multiedge.errors import ConfigError
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.formats.plan import plan_to_json
from multiedge.graph import Graph
from multiedge.onnx_io import write_parts
from multiedge.plan import Plan, Stage, StageEstimate
from multiedge.quantity import counted, human_bytes, number_text
from multiedge.report.plan_text import SharedRate, gain_line, plan_lines
from multiedge.run import choose_strategy, node_costs, plan_model, segment_costs
from multiedge.step_costs import StepSize, step_sizes

if TYPE_CHECKING:
    from rich.console import Console

    from multiedge.profile import Profile
    from multiedge.variants.choice import Choice

LONGEST_NAME = 24
"""Characters of a node's name."""


def run(args: argparse.Namespace) -> int:
    _options.require_with(args, "copy_weights", "output")
    _options.require_with(args, "rate", "batch")
    _options.require_with(args, "prompt", "context")
    _options.require_with(args, "phase", "prompt")
    if args.batch and args.profile:
        raise ConfigError("--batch: a profile is that of one batch; leave --profile out, or give --time-segments")
    batches = parse_batches(args.batch)
    require_choice(args)
    fleet = read_fleet(args.devices)
    own = _options.with_own(_options.strategy_flags(args), args.option)
    strategy, options = choose_strategy(args.strategy, args.objective, own)
    arrivals = Arrivals(args.rate, options.get("max_latency_s"))
    tried: list[Tried] = []
    choice: Choice | None = None
    with share_bar(f"planning {Path(args.model).name}") as progress:

        def planned(graph: Graph, changes: Mapping[str, Any]) -> Planned:
            return plan_graph(args, graph, fleet, strategy, {**options, **changes}, progress)

        if args.max_accuracy_loss:
            choice = choose(args, fleet, strategy, options, progress)
            chosen = Planned(choice.task.graph, choice.best.profile, choice.best.plan)
        elif batches:
            tried = try_batches(batches, arrivals, lambda batch, changes: planned(_options.read_batched(args, batch), changes))
            chosen = best(tried)
        else:
            chosen = planned(_options.read_sized(args, args.profile), {})
        manifest = None
        if args.output:
            progress("writing parts", 1.0)
            manifest = write_parts(
                chosen.graph, chosen.plan, args.output, copy_weights=args.copy_weights, profile=chosen.profile
            )
            if choice:
                prepare_parts(choice, manifest)
            else:
                pass_on(manifest, fleet, chosen.graph.path)
    if choice and args.pareto:
        print(f"drawn: {draw_choice(choice, Path(args.pareto))}", file=sys.stderr)
    if manifest:
        print(f"{counted(len(manifest.parts), 'part')} and plan.json written to {manifest.directory}", file=sys.stderr)
    if args.json:
        data = plan_to_json(chosen.plan.with_names(chosen.graph))
        print(json.dumps({**data, **({"batches": batches_json(tried)} if tried else {})}, indent=1, allow_nan=False))
    else:
        console = new_console()
        show(chosen.plan, chosen.graph, console, shared_rate(chosen.plan, fleet))
        for line in _options.warnings_of(chosen.profile):
            print_line(console, line, style="yellow")
        if len(tried) > 1:
            show_batches(tried, console)
        if choice:
            show_choice(choice, console)
    return 0


def plan_graph(
    args: argparse.Namespace,
    graph: Graph,
    fleet: Fleet,
    strategy: str,
    options: Mapping[str, Any],
    progress: Callable[[str, float], None],
) -> Planned:
    """The plan of a model with known sizes, with its costs."""
    sequences = _options.read_sequences(args, graph)
    profile = (
        segment_costs(graph, fleet, strategy, options, progress, sequences)
        if args.time_segments
        else node_costs(graph, fleet, args.profile, args.reference, sequences)
    )
    progress("searching", 1.0)
    if args.prompt is not None:
        return plan_texts(args, Planning(graph, fleet, strategy, options, progress), profile)
    return Planned(graph, profile, plan_model(profile, fleet, strategy, **_options.pins(args), **options))


@dataclass(frozen=True)
class Planning:
    """What is planned, for which devices, and how."""

    graph: Graph
    fleet: Fleet
    strategy: str
    options: Mapping[str, Any]
    progress: Callable[[str, float], None]


def plan_texts(args: argparse.Namespace, task: Planning, profile: Profile) -> Planned:
    """The plan for the phase that the options name, with what the steps of texts take."""
    from multiedge.decoding.expected import Counted, Phase, Timed, plan_for_texts, profile_of_phase

    sizes = text_sizes(args, task.graph)
    profiler = Timed() if args.time_segments else Counted(args.reference)
    costs = profile_of_phase(Phase(args.phase or Phase.TOKEN.value), profile, task.fleet, args.prompt, profiler)

    def planned(devices: Fleet) -> Plan:
        return plan_model(costs, devices, task.strategy, **_options.pins(args), **task.options)

    return Planned(task.graph, costs, plan_for_texts(planned, costs, task.fleet, sizes, profiler, task.progress))


def text_sizes(args: argparse.Namespace, graph: Graph) -> tuple[StepSize, ...]:
    """The sizes of steps that texts consist of; ConfigError where --prompt has no effect."""
    size = graph.step_size
    if size is None:
        raise ConfigError(f"--prompt: has no effect for {graph.name}, whose states do not grow; leave it out")
    if args.tokens is not None:
        raise ConfigError("--prompt: has the sizes of its own step, so --tokens has no effect; leave it out")
    if not 1 <= args.prompt <= size.context:
        raise ConfigError(f"--prompt: expected 1 to {size.context} tokens, the context, got {args.prompt}")
    if args.profile:
        raise ConfigError("--prompt: a profile is that of one size of a step; leave --profile out, or give --time-segments")
    return step_sizes(size.context, args.prompt)


def parse_batches(text: str | None) -> tuple[int, ...]:
    """The batches to try; none if the option was not given."""
    if text is None:
        return ()
    if text == "auto":
        return BATCHES
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--batch: expected a whole number from 1, or auto, got '{text}'")
    return (int(text),)


def batches_json(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """What each batch gave."""
    return [
        {
            "batch": each.batch,
            "samples_per_s": samples_per_s(each.planned.plan) if each.planned else None,
            "latency_s": each.latency_s if each.planned else None,
            "value_per_sample": value_per_sample(each.planned.plan) if each.planned else None,
            "failure": each.failure or None,
        }
        for each in tried
    ]


def show_batches(tried: Sequence[Tried], console: Console) -> None:
    """Prints a line for each batch that has a plan, then why others have none."""
    rows = [(each, each.planned.plan) for each in tried if each.planned]
    columns = [
        Column("batch", [str(each.batch) for each, _ in rows]),
        Column("samples/s", [number_text(samples_per_s(plan)) for _, plan in rows]),
        Column("latency\nms", [number_text(each.latency_s * 1e3) for each, _ in rows]),
        Column("memory", [human_bytes(max(plan.estimate.planned_bytes.values())) for _, plan in rows]),
        Column("stages", [str(len(plan.stages)) for _, plan in rows]),
    ]
    print_columns(console, "batches", columns)
    for each in tried:
        if each.failure:
            print_line(console, f"batch {each.batch}: no plan: {each.failure}")


def shared_rate(plan: Plan, fleet: Fleet) -> SharedRate | None:
    """The rate with the devices emulated on this machine; None where what the executor itself takes is not known."""
    if plan.estimate.pipeline is None or not 0 < plan.estimate.bottleneck_s < math.inf:
        return None
    from multiedge.meters.cpu import own_processors
    from multiedge.metrics.prediction import SharedRun

    cores = len(own_processors())
    devices = {name for stage in plan.stages for name in stage.devices}
    return SharedRate(SharedRun.planned(plan, fleet, cores).fps, len(devices), cores)


def show(plan: Plan, graph: Graph, console: Console, shared: SharedRate | None = None) -> None:
    """Prints what the plan gains, its stages, its objective and proof, and why devices were left out."""
    gain = gain_line(plan)
    if gain:
        print_line(console, gain)
    print_columns(console, f"{graph.name} by '{plan.strategy}'", _columns(plan, graph))
    for line in plan_lines(plan, shared):
        print_line(console, line)


def _columns(plan: Plan, graph: Graph) -> list[Column]:
    planned_bytes = plan.estimate.planned_bytes
    rows = [_cells(graph, planned_bytes, *row) for row in zip(plan.stages, plan.estimate.stages, strict=True)]
    source = plan.estimate.source
    if source:
        sending = number_text(source.transfer_s * 1e3)
        rows.insert(0, [f"{source.device}: inputs", "", "", "", sending, human_bytes(source.sent_bytes), "", "", ""])
    devices, nodes, ends, compute, sending_ms, sent, memory, limit, busy = (list(cells) for cells in zip(*rows, strict=True))
    return [
        Column("device", devices, is_number=False),
        Column("nodes", nodes, is_number=False),
        Column("up to", ends, leaves=2, is_number=False),
        Column("compute\nms", compute),
        Column("sending\nms", sending_ms),
        Column("sent", sent),
        Column("memory", memory),
        Column("of", limit, leaves=1),
        Column("busy", busy),
    ]


def _cells(graph: Graph, planned_bytes: Mapping[str, int], stage: Stage, expected: StageEstimate) -> list[str]:
    """Of a stage; memory is that of its device's one process, the other stages there included."""
    pieces = f" in {len(stage.ranges)} pieces" if len(stage.ranges) > 1 else ""
    return [
        " + ".join(stage.devices),
        f"{stage.nodes[0]}..{stage.nodes[-1]}{pieces}",
        shorten(graph.nodes[stage.nodes[-1]].name, LONGEST_NAME),
        number_text(expected.compute_s * 1e3),
        number_text(expected.transfer_s * 1e3),
        "not known" if expected.sent_bytes is None else human_bytes(expected.sent_bytes),
        human_bytes(max(planned_bytes[device] for device in stage.devices)),
        "no limit" if expected.memory_limit_bytes is None else human_bytes(expected.memory_limit_bytes),
        f"{expected.utilisation:.0%}",
    ]
