"""What two published planners would choose, for comparison.

InferLine (SoCC 2020) begins with batches of 1 on the fastest hardware and as many replicas as the load needs, then takes, again
and again, the one step by which the cost falls most while its simulator still meets the bound: twice the batch, a replica less,
or cheaper hardware. It chooses no variants, and gives each replica hardware of its own.

IPA (JSys 2024) has an integer program for variants, batches and replicas. In its rows an item takes the run of a full batch,
and waits for it as long as the first of a batch does; there is no queue and no simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from multiedge.workflows.optimiser.configuration import Choice, Configuration, load, options
from multiedge.workflows.optimiser.placing import most_in_use
from multiedge.workflows.optimiser.problem import Problem, Step, Variant
from multiedge.workflows.optimiser.program import Program
from multiedge.workflows.optimiser.search import Evaluate, Judged, judge, meets

SOLVE_S = 20.0
"""Time limit of IPA's program."""


def inferline(problem: Problem, evaluate: Evaluate) -> Judged | None:
    """What InferLine's planner chooses.

    Args:
        problem: What there is to choose from. Of each step it gets the fastest variant that leaves the demanded accuracy within
            reach, since it chooses none itself.
        evaluate: The p99 latency of a configuration.

    Returns:
        Its configuration; None if it finds none that meets the demand.
    """
    problem = _with_one_variant(problem)
    best = _first_feasible(problem, evaluate)
    while best is not None:
        tried = (judge(problem, each, evaluate) for each in _moves(problem, best.configuration))
        feasible = [each for each in tried if meets(problem, each) and each.value <= best.value]
        following = min(feasible, key=lambda each: each.value, default=None)
        if following is None:
            break
        best = following
    return best


def ipa(problem: Problem, evaluate: Evaluate) -> Judged | None:
    """What IPA's program chooses, with the p99 latency that the simulator says it has.

    Args:
        problem: What there is to choose from.
        evaluate: The p99 latency of a configuration.

    Returns:
        Its configuration, whether or not it meets the demand; None if the program has no answer.
    """
    program = Program(problem, _full_batch_s, shares_devices=False)
    least, chosen = program.least_value(SOLVE_S)
    return None if chosen is None else judge(problem, program.best_at(least, SOLVE_S) or chosen, evaluate)


def _full_batch_s(problem: Problem, step: Step, choice: Choice) -> float:
    """IPA's time of a step: the first item of a batch waits for the last one, then the batch is run."""
    filled_s = (choice.batch - 1) / (problem.demand.rate_per_s * step.rate)
    return filled_s + step.variant(choice.variant).seconds[choice.kind, choice.batch]


def _with_one_variant(problem: Problem) -> Problem:
    """Each step with its fastest variant, then, until the accuracy suffices, one step after another with its most accurate."""
    fastest = [min(step.variants, key=_least_s) for step in problem.steps]
    most_accurate = [max(step.variants, key=lambda each: each.accuracy) for step in problem.steps]
    chosen = list(fastest)
    for index in range(len(chosen)):
        if problem.accuracy_of([variant.name for variant in chosen]) >= problem.demand.least_accuracy:
            break
        chosen[index] = most_accurate[index]
    steps = [replace(step, variants=(variant,)) for step, variant in zip(problem.steps, chosen, strict=True)]
    return replace(problem, steps=tuple(steps))


def _least_s(variant: Variant) -> float:
    return min(variant.seconds.values())


def _configured(problem: Problem, choices: tuple[Choice, ...]) -> Configuration:
    """The choices, each replica on a device of its own as far as there are so many."""
    bare = Configuration(choices, ())
    return Configuration(choices, most_in_use(problem, bare))


def _first_feasible(problem: Problem, evaluate: Evaluate) -> Judged | None:
    """Batches of 1 on the fastest kinds, with a replica more of the busiest step until the bound is met."""
    kinds = [min(problem.kinds, key=_run_s(step.variants[0])).name for step in problem.steps]
    choices = tuple(Choice(s.variants[0].name, 1, kind, 1) for s, kind in zip(problem.steps, kinds, strict=True))
    while True:
        judged = judge(problem, _configured(problem, choices), evaluate)
        if meets(problem, judged):
            return judged
        growing = [i for i, each in enumerate(choices) if each.replicas < len(problem.kind(each.kind).devices)]
        if not growing:
            return None
        busiest = max(growing, key=lambda i: load(problem, problem.steps[i], choices[i]) / choices[i].replicas)
        more = replace(choices[busiest], replicas=choices[busiest].replicas + 1)
        choices = (*choices[:busiest], more, *choices[busiest + 1 :])


def _run_s(variant: Variant) -> Callable[..., float]:
    return lambda kind: variant.least_seconds(kind.name, 1)


def _moves(problem: Problem, configuration: Configuration) -> Iterator[Configuration]:
    """Every configuration that is one move away."""
    for index, (step, choice) in enumerate(zip(problem.steps, configuration.choices, strict=True)):
        allowed = set(options(problem, step))
        for other in _moved(problem, step, choice):
            if other in allowed:
                choices = configuration.choices
                yield _configured(problem, (*choices[:index], other, *choices[index + 1 :]))


def _moved(problem: Problem, step: Step, choice: Choice) -> Iterator[Choice]:
    """The next larger batch, a replica less, or the next cheaper kind with the fewest replicas for its load."""
    larger = [batch for batch in problem.batches if batch > choice.batch]
    if larger:
        yield replace(choice, batch=larger[0])
    yield replace(choice, replicas=choice.replicas - 1)
    own = problem.kind(choice.kind)
    cheaper = [kind for kind in problem.kinds if kind.price_per_h < own.price_per_h]
    for kind in sorted(cheaper, key=lambda kind: -kind.price_per_h):
        kept = [each for each in options(problem, step) if each.kind == kind.name and each.batch == choice.batch]
        if kept:
            yield min(kept, key=lambda each: each.replicas)
