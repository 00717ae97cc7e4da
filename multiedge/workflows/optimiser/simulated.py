"""The p99 latency of a configuration, by the simulator that `multiedge simulate` has.

Each step is a stage of one node on the devices where its replicas are placed, with the times of its variant there and its
batch; what single items take is drawn from what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from multiedge.fleet import Fleet, Link
from multiedge.graph import Graph, Node, Tensor
from multiedge.plan import CALLER, Plan, Stage, direct_transfers
from multiedge.planning.cost import make_plan
from multiedge.profile import Floats, Profile
from multiedge.simulation.simulate import Items, ItemWork, Load, StageBatch, simulate
from multiedge.workflows.optimiser.configuration import Choice, Configuration, least_seconds, wait_s
from multiedge.workflows.optimiser.placing import placed
from multiedge.workflows.optimiser.problem import Edge, Problem, Step

PERCENTILE = 99.0
FREE = Link()


@dataclass(frozen=True, eq=False)
class Simulated:
    """Evaluates configurations by simulated runs, all with the same arrivals and the same items.

    Attributes:
        problem: What there is to choose from.
        items: Timed items of a run.
        warmup: Items before them.
        seed: Of the arrivals, and of the rows of `shares`.
        shares: By name of the step, what each measured item takes of the times of its variants; steps that are missing take
            `rate` of them, each item the same.
    """

    problem: Problem
    items: int = 2000
    warmup: int = 100
    seed: int = 0
    shares: Mapping[str, Floats] | None = None

    def p99_s(self, configuration: Configuration) -> float:
        """The p99 latency in seconds; inf if the replicas cannot be placed or an item is not answered."""
        steps = range(len(self.problem.steps))
        pairs = list(zip(self.problem.steps, configuration.choices, strict=True))
        batches = {
            index: StageBatch(choice.batch, wait_s(self.problem, step, choice), _sizes(step, choice))
            for index, (step, choice) in enumerate(pairs)
        }
        return self._percentile(configuration, steps, [_alone_s(step, choice) for step, choice in pairs], batches)

    def least_p99_s(self, configuration: Configuration, steps: Collection[int]) -> float:
        """A lower bound of it if only `steps` take time: each item takes its share of the best batch, waits for none, and the
        rest of its run delays no other."""
        pairs = list(enumerate(zip(self.problem.steps, configuration.choices, strict=True)))
        share_s = [
            step.variant(choice.variant).seconds_per_item(choice.kind, choice.batch) if index in steps else 0.0
            for index, (step, choice) in pairs
        ]
        rest_s = [
            max(0.0, least_seconds(step, choice) - step.least_work * share_s[index]) if index in steps else 0.0
            for index, (step, choice) in pairs
        ]
        always = [index for index, (step, _) in pairs if all(index in way for way in self.problem.ways) and step.rate >= 1]
        return self._percentile(configuration, steps, share_s, {}) + sum(rest_s[index] for index in always)

    def _percentile(
        self, configuration: Configuration, steps: Collection[int], alone_s: Sequence[float], batches: Mapping[int, StageBatch]
    ) -> float:
        devices = placed(self.problem, configuration, steps)
        if devices is None:
            return math.inf
        plan, profile, fleet = self._pipeline(devices, alone_s)
        load = Load(self.items, self.warmup, 1.0 / self.problem.demand.rate_per_s, seed=self.seed, in_flight=UNLIMITED)
        run = simulate(plan, profile, fleet, load=load, items=Items(self._work(profile.graph), batches))
        if any(item.error for item in run.items):
            return math.inf
        return float(np.percentile([item.done_s - item.due_s for item in run.items], PERCENTILE, method="higher"))

    def _pipeline(self, devices: Sequence[tuple[str, ...]], alone_s: Sequence[float]) -> tuple[Plan, Profile, Fleet]:
        problem, graph = self.problem, step_graph(self.problem)
        fleet = problem.fleet or _free_fleet(problem)
        fleet = replace(
            fleet, devices=tuple(replace(device, memory_bytes=None) for device in fleet.devices)
        )  # placed by memory
        seconds = {name: np.zeros(len(problem.steps)) for name in fleet.names}
        for index, names in enumerate(devices):
            for name in names:
                seconds[name][index] = alone_s[index]
        zeros = np.zeros(len(problem.steps))
        profile = Profile(graph, zeros.astype(np.int64), zeros, seconds, pipeline=problem.pipeline)
        stages = [Stage(names[0], (index,), names[1:]) for index, names in enumerate(devices)]
        return make_plan("optimiser", "latency", profile, fleet, stages, direct_transfers(graph, stages)), profile, fleet

    def _work(self, graph: Graph) -> ItemWork:
        measured = self.shares or {}
        rows = max((len(column) for column in measured.values()), default=1)
        shares = {step.name: measured.get(step.name, np.full(rows, step.rate)) for step in self.problem.steps}
        return ItemWork.of_steps(graph, shares, self.seed)


UNLIMITED = 1_000_000
"""Items under way: those that are due do not wait outside."""


def _alone_s(step: Step, choice: Choice) -> float:
    """The run of one item; of a variant that was timed with more only, its share of the smallest run."""
    seconds = step.variant(choice.variant).seconds
    size = min(batch for kind, batch in seconds if kind == choice.kind)
    return seconds[choice.kind, size] / size


def _sizes(step: Step, choice: Choice) -> tuple[tuple[int, float], ...]:
    """The times of runs of several items over that of one."""
    seconds, alone_s = step.variant(choice.variant).seconds, _alone_s(step, choice)
    known = sorted((batch, s) for (kind, batch), s in seconds.items() if kind == choice.kind and batch <= choice.batch)
    return tuple((batch, s / alone_s) for batch, s in known) if alone_s > 0 else ()


def step_graph(problem: Problem) -> Graph:
    """The workflow with one node for each step: `STEP/run` makes a tensor for each edge that leaves it."""
    entering: dict[int, list[str]] = {index: [] for index in range(len(problem.steps))}
    leaving: dict[int, list[str]] = {index: [] for index in range(len(problem.steps))}
    tensors: dict[str, Tensor] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    for number, edge in enumerate(_all_edges(problem)):
        name = f"edge {number}"
        tensors[name] = Tensor(name, "uint8", (edge.nbytes,), edge.nbytes)
        (inputs if edge.source == CALLER else leaving[edge.source]).append(name)
        (outputs if edge.target == CALLER else entering[edge.target]).append(name)
    nodes = tuple(
        Node(f"{step.name}/run", "Run", tuple(entering[index]), tuple(leaving[index]))
        for index, step in enumerate(problem.steps)
    )
    return Graph("workflow", nodes, tuple(inputs), tuple(outputs), tensors)


def _all_edges(problem: Problem) -> tuple[Edge, ...]:
    """The edges, and one without bytes from the caller to each step that none enters, and back from each that none leaves."""
    edges = problem.edges
    steps = range(len(problem.steps))
    first = [Edge(CALLER, index) for index in steps if all(edge.target != index for edge in edges)]
    last = [Edge(index, CALLER) for index in steps if all(edge.source != index for edge in edges)]
    return (*edges, *first, *last)


def _free_fleet(problem: Problem) -> Fleet:
    """The devices of the kinds, between which links cost nothing."""
    from multiedge.fleet import Device

    return Fleet(tuple(Device(name) for kind in problem.kinds for name in kind.devices), name="devices of the problem")
