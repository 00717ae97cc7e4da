"""What plans cost and which plan is best, worked out once more: from the equations of the manual, by trying every plan.

Nothing here uses `multiedge.planning`, the strategies, or what Graph and Profile derive from their fields. It is written
for clarity on models of few nodes and takes exponential time.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise, permutations, product
from math import isclose

from multiedge.fleet import Device, Fleet
from multiedge.plan import Plan, Stage
from multiedge.profile import Profile

INFINITE = float("inf")


@dataclass(frozen=True)
class Message:
    """Tensors that go from one stage to another for every item; None is the caller."""

    source: int | None
    target: int | None
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """One plan's figures; `energy_j` is None where a device in use declares no power, `memory` is bytes by device."""

    bottleneck_s: float
    latency_s: float
    energy_j: float | None
    network_bytes: float
    memory: dict[str, int]

    def value(self, objective: str) -> float:
        energy_j = INFINITE if self.energy_j is None else self.energy_j
        return {"throughput": self.bottleneck_s, "latency": self.latency_s, "energy": energy_j}[objective]


def best(costs: Iterable[Cost], objective: str, *, most_s: float = INFINITE, max_latency_s: float = INFINITE) -> float | None:
    """The least value of the objective among the plans that keep the bounds, None if none does."""
    kept = [cost for cost in costs if cost.bottleneck_s <= most_s and cost.latency_s <= max_latency_s]
    return min((cost.value(objective) for cost in kept if cost.value(objective) < INFINITE), default=None)


class Oracle:
    """One model on one fleet."""

    def __init__(self, profile: Profile, fleet: Fleet) -> None:
        graph = profile.graph
        self.profile, self.fleet, self.graph = profile, fleet, graph
        self.count = len(graph.nodes)
        named = [(*node.inputs, *node.captures) for node in graph.nodes]
        self.parameters = [{name for name in names if name in graph.parameters} for names in named]
        self.reads = [{name for name in names if name and name not in graph.parameters} for names in named]
        self.writes = [{name for name in node.outputs if name and name not in graph.parameters} for node in graph.nodes]
        self.maker = {name: index for index, names in enumerate(self.writes) for name in names}
        self.readers = {name: [node for node in range(self.count) if name in self.reads[node]] for name in self._activations()}
        self.nbytes = {name: graph.tensors[name].nbytes or 0 if name in graph.tensors else 0 for name in self.readers}

    def _activations(self) -> list[str]:
        inputs = [name for name in self.graph.inputs if name not in self.graph.parameters]
        return list(dict.fromkeys([*inputs, *self.maker]))

    # Messages.

    def direct_messages(self, stages: Sequence[Stage]) -> list[Message]:
        """Each tensor goes once from the stage that makes it to each other stage that reads it, results to the caller."""
        home = {node: index for index, stage in enumerate(stages) for node in stage.nodes}
        sent: dict[tuple[int | None, int], list[str]] = defaultdict(list)
        for name, readers in self.readers.items():
            source = home[self.maker[name]] if name in self.maker else None
            for target in sorted({home[node] for node in readers} - {source}):
                sent[source, target].append(name)
        return [Message(*ends, tuple(names)) for ends, names in sent.items()] + self._results(stages)

    def relay_messages(self, stages: Sequence[Stage]) -> list[Message]:
        """Each contiguous stage hands on all that was made before its end and is read after it, results to the caller."""
        messages = []
        for index, stage in enumerate(stages):
            first = min(stage.nodes)
            crossing = [
                name
                for name, readers in self.readers.items()
                if self.maker.get(name, -1) < first and any(node >= first for node in readers)
            ]
            messages.append(Message(index - 1 if index else None, index, tuple(crossing)))
        return messages + self._results(stages)

    def _results(self, stages: Sequence[Stage]) -> list[Message]:
        made = [tuple(name for name in self.graph.outputs if self.maker.get(name) in stage.nodes) for stage in stages]
        return [Message(index, None, names) for index, names in enumerate(made) if names]

    # Costs.

    def cost_of(self, plan: Plan) -> Cost:
        """The cost of a plan as its own transfers move tensors."""
        ends = [[None if stage < 0 else stage for stage in (move.source, move.target)] for move in plan.transfers]
        moves = [Message(*pair, move.tensors) for pair, move in zip(ends, plan.transfers, strict=True)]
        return self.cost(plan.stages, moves)

    def cost(self, stages: Sequence[Stage], messages: Sequence[Message]) -> Cost:
        """What the plan takes: each device and link carries its share of every item, the busiest sets the rate."""
        seconds = [max(self._compute_s(device, stage, stages) for device in stage.devices) for stage in stages]
        busy: dict[str, float] = defaultdict(float)
        for stage, value in zip(stages, seconds, strict=True):
            for device in stage.devices:
                busy[device] += value / len(stage.devices)
        sent: dict[tuple[str, str], float] = defaultdict(float)
        for message in messages:
            ways = list(product(self._places(stages, message.source), self._places(stages, message.target)))
            for a, b in ways:
                if a is not None and b is not None and a != b:
                    sent[a, b] += self._bytes(message.tensors) / len(ways)
        bottleneck_s = max([*busy.values(), *(nbytes / self._rate(*ends) for ends, nbytes in sent.items())])
        return Cost(
            bottleneck_s,
            self._latency_s(stages, messages, seconds),
            self._energy_j(busy, sent, bottleneck_s),
            sum(sent.values()),
            self._memory(stages, messages),
        )

    def _bytes(self, names: Iterable[str]) -> int:
        return sum(self.nbytes[name] for name in names)

    def _compute_s(self, device: str, stage: Stage, stages: Sequence[Stage]) -> float:
        overhead_s, times = self.profile.overhead_s.get(device, 0.0), self.profile.seconds[device]
        own_s = sum(float(times[node]) for node in stage.nodes)
        if device not in self.profile.spans:
            return overhead_s + own_s
        held = self._held(device, stages)
        held_s = sum(float(times[node]) for node in held)
        share = own_s / held_s if held_s else len(stage.nodes) / len(held)
        return overhead_s + share * self.profile.spans[device].seconds(held[0], held[-1] + 1)

    def _held(self, device: str, stages: Sequence[Stage]) -> list[int]:
        return sorted({node for stage in stages if device in stage.devices for node in stage.nodes})

    def has_times(self, stages: Sequence[Stage]) -> bool:
        """Whether each device has a time for what it holds; those whose times do not add up have it for consecutive nodes."""
        held = {name: self._held(name, stages) for name in self.profile.spans}
        return all(
            nodes[-1] + 1 - nodes[0] == len(nodes) and self.profile.spans[name].seconds(nodes[0], nodes[-1] + 1) < INFINITE
            for name, nodes in held.items()
            if nodes
        )

    def _places(self, stages: Sequence[Stage], stage: int | None) -> tuple[str | None, ...]:
        return (self.fleet.source,) if stage is None else stages[stage].devices

    def _rate(self, a: str, b: str) -> float:
        link = self.fleet.link(a, b)
        return link.bandwidth_bytes_per_s * (1 - link.loss)

    def _latency_s(self, stages: Sequence[Stage], messages: Sequence[Message], seconds: Sequence[float]) -> float:
        """When the last stage and the last result are done: the longest path, stages of one device one after another."""

        def way_s(message: Message) -> float:
            a, b = self._places(stages, message.source)[0], self._places(stages, message.target)[0]
            if a is None or b is None or a == b:
                return 0.0
            return self.fleet.link(a, b).latency_s + self._bytes(message.tensors) / self._rate(a, b)

        done: dict[int | None, float] = {None: 0.0}
        for index, stage in enumerate(stages):
            arrivals = [done[message.source] + way_s(message) for message in messages if message.target == index]
            before = [done[other] for other in range(index) if stages[other].device == stage.device]
            done[index] = max([0.0, *arrivals, *before]) + seconds[index]
        returned = [done[message.source] + way_s(message) for message in messages if message.target is None]
        return max([*done.values(), *returned])

    def _energy_j(self, busy: dict[str, float], sent: dict[tuple[str, str], float], bottleneck_s: float) -> float | None:
        total = 0.0
        for name, busy_s in busy.items():
            device = self.fleet.device(name)
            if device.power is None:
                return None
            nbytes = sum(value for (source, _), value in sent.items() if source == name)
            total += device.power.busy_w * busy_s + device.power.idle_w * (bottleneck_s - busy_s)
            total += device.joules_per_byte * nbytes
        return total

    def _memory(self, stages: Sequence[Stage], messages: Sequence[Message]) -> dict[str, int]:
        needed: dict[str, int] = {}
        for index, stage in enumerate(stages):
            for device in stage.devices:
                needed.setdefault(device, self.fleet.device(device).runtime_bytes)
                needed[device] += self.stage_bytes(stage, index, messages)
        return needed

    def stage_bytes(self, stage: Stage, index: int, messages: Sequence[Message]) -> int:
        """Parameters once, the most activations alive while one node runs, and what enters and leaves once more."""
        entered = {name for message in messages if message.target == index for name in message.tensors}
        handed_on = {
            name for message in messages if message.source == index and message.target is not None for name in message.tensors
        }
        peak = 0
        for at, node in enumerate(stage.nodes):
            there = entered.union(*(self.writes[before] for before in stage.nodes[:at]))
            needed = handed_on.union(*(self.reads[after] for after in stage.nodes[at:]))
            peak = max(peak, self._bytes(there & needed) + self._bytes(self.writes[node]))
        parameters = set[str]().union(*(self.parameters[node] for node in stage.nodes))
        buffers = sum(self._bytes(message.tensors) for message in messages if index in (message.source, message.target))
        return sum(self.graph.parameters[name].nbytes or 0 for name in parameters) + peak + buffers

    def require_sound(self, plan: Plan) -> None:
        """AssertionError unless the plan can run, fits every memory and is worth what it states."""
        cost = self.cost_of(plan)
        assert self.can_run(plan.stages), plan.stages
        assert self.keeps_fused(plan.stages), plan.stages
        assert self.has_times(plan.stages), plan.stages
        assert self.fits(cost), cost.memory
        assert isclose(plan.value, cost.value(plan.objective), rel_tol=1e-9)
        assert plan.lower_bound is None or plan.lower_bound <= plan.value

    # Which plans there are.

    def fits(self, cost: Cost) -> bool:
        """Whether every device holds what the plan puts on it."""
        used = [(self.fleet.device(name), nbytes) for name, nbytes in cost.memory.items()]
        return all(
            device.memory_bytes is None or nbytes * (1 + Fraction(str(device.memory_margin))) <= device.memory_bytes
            for device, nbytes in used
        )

    def keeps_fused(self, stages: Sequence[Stage]) -> bool:
        """Whether each fused tensor's maker and readers are in one stage."""
        tied = [{self.maker[name], *self.readers[name]} for name in self.profile.fused]
        return all(any(nodes <= set(stage.nodes) for stage in stages) for nodes in tied)

    def can_run(self, stages: Sequence[Stage]) -> bool:
        """Whether each node is in one stage and no stage reads what a later one makes."""
        home = {node: index for index, stage in enumerate(stages) for node in stage.nodes}
        pairs = [(self.maker[name], node) for node in home for name in self.reads[node] if name in self.maker]
        nodes = sorted(node for stage in stages for node in stage.nodes)
        return nodes == list(range(self.count)) and all(home[maker] <= home[node] for maker, node in pairs)

    def contiguous(self, *, replicas: bool = False) -> Iterator[tuple[list[Stage], Cost]]:
        """Every plan that fits and cuts the order of the nodes into stages on devices of their own, relay messages."""
        teams = [
            team
            for many in range(1, len(self.fleet.names) + 1 if replicas else 2)
            for team in combinations(self.fleet.names, many)
            if self._are_equal(team)
        ]
        for wanted in range(1, min(self.count, len(self.fleet.names)) + 1):
            for order in permutations(teams, wanted):
                if len(set().union(*order)) < sum(map(len, order)):
                    continue
                for inner in combinations(range(1, self.count), wanted - 1):
                    bounds = pairwise((0, *inner, self.count))
                    stages = [Stage(team[0], tuple(range(*span)), team[1:]) for team, span in zip(order, bounds, strict=True)]
                    if self.keeps_fused(stages) and self.has_times(stages):
                        cost = self.cost(stages, self.relay_messages(stages))
                        if self.fits(cost):
                            yield stages, cost

    def one_stage_each(self) -> Iterator[tuple[list[Stage], Cost]]:
        """Every plan that fits with at most one stage per device, contiguous or not, direct messages."""
        for choice in product(self.fleet.names, repeat=self.count):
            for order in permutations(sorted(set(choice))):
                stages = [Stage(name, tuple(node for node, own in enumerate(choice) if own == name)) for name in order]
                if self.can_run(stages) and self.keeps_fused(stages) and self.has_times(stages):
                    cost = self.cost(stages, self.direct_messages(stages))
                    if self.fits(cost):
                        yield stages, cost

    def random_stages(self, rng: random.Random) -> list[Stage]:
        """Stages that can run, any number of them on a device, some on several devices."""
        homes: list[int] = []
        for node in range(self.count):
            makers = [self.maker[name] for name in self.reads[node] if name in self.maker]
            homes.append(max([homes[maker] for maker in makers], default=0) + rng.choice([0, 0, 1]))
        stages = []
        for home in sorted(set(homes)):
            team = rng.sample(self.fleet.names, rng.choice([1, 1, 1, min(2, len(self.fleet.names))]))
            nodes = tuple(node for node, own in enumerate(homes) if own == home)
            stages.append(Stage(team[0], nodes, tuple(team[1:])))
        return stages

    def contiguous_costs(self, *, replicas: bool = False) -> list[Cost]:
        return [cost for _, cost in self.contiguous(replicas=replicas)]

    def _are_equal(self, names: Sequence[str]) -> bool:
        """Whether no plan's cost changes when two of the devices are exchanged."""
        return all(
            self._nature(a) == self._nature(b)
            and self._ends(a, b) == self._ends(b, a)
            and all(self._ends(a, c) == self._ends(b, c) for c in self.fleet.names if c not in (a, b))
            for a, b in combinations(names, 2)
        )

    def _nature(self, name: str) -> tuple[object, ...]:
        device: Device = self.fleet.device(name)
        seconds = self.profile.seconds[name].tolist(), self.profile.overhead_s.get(name, 0.0), self.profile.spans.get(name)
        return (
            device.memory_bytes,
            device.memory_margin,
            device.runtime_bytes,
            device.power,
            device.joules_per_byte,
            seconds,
            name == self.fleet.source,
        )

    def _ends(self, a: str, b: str) -> list[tuple[float, float]]:
        """(rate, latency) there and back."""
        return [(self._rate(*pair), self.fleet.link(*pair).latency_s) for pair in ((a, b), (b, a))]
