"""`multiedge optimise`: what to run each step of a workflow with."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiedge import quantity
from multiedge.commands._options import WORKFLOW_SUFFIXES
from multiedge.commands._terminal import Column, new_console, print_columns, print_line, share_bar
from multiedge.defaults import DEFAULT_PROFILER
from multiedge.errors import ConfigError, require_least
from multiedge.files import require_writable
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.graph import Graph
from multiedge.profile import Profile
from multiedge.quantity import number_text, parse
from multiedge.workflows.optimiser.problem import Demand, Objective, Problem
from multiedge.workflows.optimiser.search import Budget, Judged, Outcome, meets

if TYPE_CHECKING:
    from rich.console import Console

    from multiedge.workflows.optimiser.choices import Choices
    from multiedge.workflows.optimiser.costs import Costed

OPTIMISER = "optimiser"
UNITS = {Objective.COST: ("cost/h", "per hour"), Objective.ENERGY: ("J/item", "J per item")}


@dataclass(frozen=True)
class Answer:
    """What the search and the heuristics chose; None for a heuristic that chose nothing."""

    outcome: Outcome
    others: Mapping[str, Judged | None]
    states_accuracy: bool = True
    """Whether accuracies of models were given; otherwise none is known."""


def run(args: argparse.Namespace) -> int:
    """0 if there is a configuration that meets the demand; otherwise an error of one line."""
    from multiedge.workflows.optimiser.choices import Choices, read_choices
    from multiedge.workflows.optimiser.simulated import Simulated

    for name, least in (("simulations", 1), ("seconds", 0), ("items", 1)):
        require_least(f"--{name}", vars(args)[name], least)
    demand = Demand(args.rate, p99_of(args.p99), args.accuracy, Objective(args.objective))
    if Path(args.workflow).suffix not in WORKFLOW_SUFFIXES:
        raise ConfigError(f"{args.workflow}: expected a workflow.yaml; `multiedge plan` places a single model")
    if args.output:
        _require_output(Path(args.output), Path(args.workflow))
    seed = args.seed or 0
    fleet = read_fleet(args.devices)
    choices = read_choices(args.choices) if args.choices else Choices()
    if args.accuracy and not choices.states_accuracy:
        raise ConfigError("--accuracy: nothing is known of the accuracy of the models; state it in a file of --choices")
    with share_bar("optimising") as progress:
        task = costed_of(args, fleet, choices, demand, seed, progress)
        evaluate = Simulated(task.problem, args.items, args.items // 20, seed, task.shares)
        answer = answered(task.problem, evaluate, Budget(args.simulations, args.seconds), args.heuristics, progress)
        answer = replace(answer, states_accuracy=choices.states_accuracy)
    if args.output:
        from multiedge.workflows.optimiser.written import write_chosen

        best, profiler = answer.outcome.best.configuration, profiler_of(args)
        write_chosen(Path(args.workflow), choices, task.problem, best, fleet, profiler, Path(args.output))
    if args.json:
        print(json.dumps(as_json(task.problem, answer), indent=1, allow_nan=False))
    else:
        show(task.problem, answer, new_console())
        if args.output:
            print(f"written: {args.output}")
    return 0


def _require_output(folder: Path, workflow: Path) -> None:
    """ConfigError if nothing can be written to the folder, or the workflow that was read would be replaced."""
    from multiedge.workflows.optimiser.written import WORKFLOW

    chosen = folder / WORKFLOW
    if chosen.resolve() == workflow.resolve():
        raise ConfigError(f"--output: {folder} is where {workflow} is, which would be replaced; give another folder")
    require_writable(chosen)


def p99_of(text: str) -> float:
    """Seconds of --p99."""
    try:
        return parse(text, quantity.SECONDS)
    except ValueError as error:
        raise ConfigError(f"--p99: {error}") from None


def batches_of(text: str) -> tuple[int, ...]:
    """The numbers of --batches, ascending, with 1."""
    try:
        sizes = {int(each) for each in text.split(",")}
    except ValueError:
        raise ConfigError(f"--batches: expected whole numbers such as 1,2,4, got '{text}'") from None
    if min(sizes) < 1:
        raise ConfigError(f"--batches: expected numbers from 1, got {min(sizes)}")
    return tuple(sorted({1, *sizes}))


def profiler_of(args: argparse.Namespace) -> Callable[[Graph, Fleet], Profile]:
    """What finds the times of models."""
    from multiedge.run import profile_model

    return partial(profile_model, profiler=args.profiler or DEFAULT_PROFILER)


def costed_of(args: argparse.Namespace, fleet: Fleet, choices: Choices, demand: Demand, seed: int, progress: Any) -> Costed:
    """What there is to choose from, with the times of every variant."""
    from multiedge.onnx_io import read_graph
    from multiedge.workflows import compose
    from multiedge.workflows.optimiser.costs import costed
    from multiedge.workflows.optimiser.measured import read_shares
    from multiedge.workflows.reading import read_workflow

    return costed(
        read_workflow(args.workflow),
        read_graph(compose(args.workflow)),
        fleet,
        choices,
        demand,
        batches_of(args.batches),
        profiler_of(args),
        shares=read_shares(args.measured) if args.measured else None,
        seed=seed,
        progress=progress,
    )


def answered(problem: Problem, evaluate: Any, budget: Budget, with_heuristics: bool, progress: Any) -> Answer:
    from multiedge.workflows.optimiser.heuristics import inferline, ipa
    from multiedge.workflows.optimiser.search import optimise

    progress("InferLine's planner", 0.0)
    greedy = inferline(problem, evaluate)
    known = [greedy] if greedy else []
    outcome = optimise(problem, evaluate, known=known, budget=budget, progress=progress)
    others = {"InferLine": greedy, "IPA": ipa(problem, evaluate)} if with_heuristics else {}
    return Answer(outcome, others)


def as_json(problem: Problem, answer: Answer) -> dict[str, Any]:
    outcome = answer.outcome
    return {
        "objective": problem.demand.objective.value,
        "demand": {
            "rate_per_s": problem.demand.rate_per_s,
            "p99_s": problem.demand.p99_s,
            "accuracy": problem.demand.least_accuracy,
        },
        "best": _judged_json(problem, outcome.best, answer.states_accuracy),
        "lower_bound": outcome.lower_bound,
        "gap": outcome.gap,
        "simulated": outcome.simulated,
        "solve_s": outcome.solve_s,
        "heuristics": {
            name: each and _judged_json(problem, each, answer.states_accuracy) for name, each in answer.others.items()
        },
    }


def _judged_json(problem: Problem, judged: Judged, states_accuracy: bool) -> dict[str, Any]:
    from multiedge.workflows.optimiser.placing import placed

    chosen = judged.configuration
    devices = placed(problem, chosen, range(len(problem.steps))) or ()
    return {
        "value": judged.value,
        "accuracy": judged.accuracy if states_accuracy else None,
        "p99_s": judged.p99_s if judged.p99_s < float("inf") else None,
        "meets": meets(problem, judged),
        "steps": {
            step.name: {"variant": choice.variant, "batch": choice.batch, "replicas": choice.replicas, "devices": list(names)}
            for step, choice, names in zip(problem.steps, chosen.choices, devices, strict=False)
        },
        "devices": {kind.name: count for kind, count in zip(problem.kinds, chosen.devices, strict=True)},
    }


def show(problem: Problem, answer: Answer, console: Console) -> None:
    """Prints the choice step by step, what it does, and what the heuristics chose."""
    best, unit = answer.outcome.best, UNITS[problem.demand.objective]
    _show_steps(problem, best, console)
    demand = problem.demand
    accuracy = f"accuracy {best.accuracy:.1%}" if answer.states_accuracy else "accuracy not stated"
    print_line(
        console,
        f"{number_text(best.value)} {unit[1]}, p99 {number_text(best.p99_s * 1e3)} ms (simulated; at most"
        f" {number_text(demand.p99_s * 1e3)}) at {number_text(demand.rate_per_s)} items/s, {accuracy}",
    )
    print_line(console, proof_text(answer.outcome, unit[1]))
    if answer.others:
        _show_rows(problem, {OPTIMISER: best, **answer.others}, unit[0], answer.states_accuracy, console)


def proof_text(outcome: Outcome, unit: str) -> str:
    """What the search proves."""
    spent = f"{outcome.simulated} simulated runs, {outcome.solve_s:.2f} s"
    if outcome.gap <= 1e-9:
        return f"least value: proven, unless a slower run makes an item earlier ({spent})"
    return f"no configuration is below {number_text(outcome.lower_bound)} {unit}: gap {outcome.gap:.1%} ({spent})"


def _show_steps(problem: Problem, judged: Judged, console: Console) -> None:
    from multiedge.workflows.optimiser.placing import placed

    chosen = judged.configuration
    devices = placed(problem, chosen, range(len(problem.steps))) or ()
    rows = [
        (step.name, choice.variant, str(choice.batch), str(choice.replicas), ", ".join(names), f"{step.rate:.0%}")
        for step, choice, names in zip(problem.steps, chosen.choices, devices, strict=False)
    ]
    headings = ("step", "variant", "batch", "replicas", "devices", "work/item")
    _print(console, "what each step runs with", headings, rows, words=("step", "variant", "devices"))


def _show_rows(
    problem: Problem, judged: Mapping[str, Judged | None], unit: str, states_accuracy: bool, console: Console
) -> None:
    rows = [_row(problem, name, each, states_accuracy) for name, each in judged.items()]
    _print(console, "planners side by side", ("planner", unit, "p99 ms", "accuracy", "demand"), rows, ("planner", "demand"))


def _row(problem: Problem, name: str, judged: Judged | None, states_accuracy: bool) -> tuple[str, ...]:
    if judged is None:
        return name, "-", "-", "-", "nothing found"
    p99 = "-" if judged.p99_s == float("inf") else number_text(judged.p99_s * 1e3)
    accuracy = f"{judged.accuracy:.1%}" if states_accuracy else "-"
    return name, number_text(judged.value), p99, accuracy, "met" if meets(problem, judged) else "missed"


def _print(console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[str]) -> None:
    columns = [
        Column(heading, list(cells), 0, is_number=heading not in words)
        for heading, cells in zip(headings, zip(*rows, strict=True), strict=True)
    ]
    print_columns(console, title, columns)
