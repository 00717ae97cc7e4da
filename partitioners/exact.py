"""The most items per second over all stages of a graph, not only over cuts of one order of its nodes; proven."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from time import perf_counter

import numpy as np

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Fleet
from multiedge.graph import Graph
from multiedge.plan import CALLER, Plan, Stage, Transfer, direct_transfers
from multiedge.planning import cost, memory
from multiedge.planning.checks import violations
from multiedge.planning.devices import exchangeable
from multiedge.profile import Floats, Profile
from multiedge.proof import Plans, Scope
from partitioners.engine.contract import Pinnable, unused
from partitioners.engine.dag import Dag, build_dag
from partitioners.engine.dag_milp import Machine, OrderProgram, Span
from partitioners.engine.dag_search import ChainCutter, Order, Placement, topological_orders
from partitioners.engine.load_bound import heaviest_node_bound, load_bound
from partitioners.engine.times import node_seconds, stage_times
from partitioners.throughput import Throughput

MOST_DEVICES_IN_ORDERS = 10
"""Random orders are cut over at most so many devices: the table has an entry for each subset."""
MOST_ORDERS = 720
"""Device orders that are solved as programs; with more, what is proven is the load bound."""
LIKELY_SHARE = 0.2
"""Share of the remaining time for each program where there are more orders."""
MOST_GROUPS = 3000
"""Graphs with more groups are not solved as programs, which no longer end in time."""
MOST_SPANS = 2000
"""Devices with more times of spans are bounded by the least share of each node."""
_ROUNDING = 1e-9


class Exact(Pinnable):
    """Smallest bottleneck over all plans with one stage per device that send each tensor straight to its readers.

    Three steps, each only as far as the one before leaves a gap above `gap`:
    the optimal chain (`throughput`) and the load bound, which no plan of any kind beats; the best cuts of `orders` random
    topological orders; and for each order of the devices a mixed-integer program (see `dag_milp`) with the best value so
    far, less the gap, as cut-off. If there are too many orders for a proof, programs of likely ones use the remaining time.
    Where each node only reads what the node before it makes, the proof of the chain is that of all plans. The chain itself may
    hand tensors on from stage to stage; where that is better than every direct plan (a slow direct link), it is returned.

    `gap` is relative: 0.01 stops at a proven 1 %, 0 searches for the optimum. After `time_limit_s` the best plan so far is
    returned with the bound proven by then.
    """

    def __init__(self, time_limit_s: float = 30.0, gap: float = 0.01, orders: int = 400, seed: int = 0) -> None:
        if time_limit_s <= 0 or not 0 <= gap < 1 or orders < 1:
            raise ConfigError(
                "exact: expected time_limit_s above 0, gap from 0 to below 1 and orders from 1,"
                f" got {time_limit_s}, {gap} and {orders}"
            )
        self.time_limit_s, self.gap, self.orders, self.seed = time_limit_s, gap, orders, seed

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The best plan found and what is proven; InfeasibleError if memory forbids every plan."""
        start = perf_counter()
        search = _Search(profile, fleet, self.gap, start + self.time_limit_s)
        search.try_chain(self.time_limit_s / 3)
        search.try_orders(self.orders, self.seed)
        search.try_programs(self.seed)
        return search.result(perf_counter() - start)


@dataclass(frozen=True)
class _Best:
    stages: tuple[Stage, ...]
    transfers: tuple[Transfer, ...]
    value: float


class _Search:
    """One search: the best placement so far and what is proven."""

    def __init__(self, profile: Profile, fleet: Fleet, gap: float, deadline_s: float) -> None:
        self.profile, self.fleet, self.gap, self.deadline_s = profile, fleet, gap, deadline_s
        self.dag = build_dag(profile, fleet, absorb_share=gap / 4)
        seconds = node_seconds(profile, fleet)
        self.bound_all = load_bound(seconds)
        self.bound = max(self.bound_all, heaviest_node_bound(seconds))
        self.chain_bound: float | None = None
        self.chain_error: InfeasibleError | None = None
        self.best: _Best | None = None

    def try_chain(self, time_limit_s: float) -> None:
        """The optimal contiguous plan, as it is and with direct transfers."""
        try:
            chain = Throughput(time_limit_s=time_limit_s).plan(self.profile, self.fleet)
        except InfeasibleError as error:
            self.chain_error = error
            return
        self.chain_bound = chain.lower_bound
        if self.chain_bound is not None and is_path(self.profile.graph):
            self.bound = self.bound_all = max(self.bound, self.chain_bound)
        self.offer(chain.stages, chain.transfers)
        self.offer(chain.stages, direct_transfers(self.profile.graph, chain.stages))

    def try_orders(self, count: int, seed: int) -> None:
        """Cuts of random topological orders, without regard to links and held to the slowest of them in turn."""
        devices = range(len(self.fleet.names))
        if len(devices) > MOST_DEVICES_IN_ORDERS:
            return
        overhead_s = [self.profile.overhead_s.get(name, 0.0) for name in self.fleet.names]
        slowest = min((_bytes_per_s(self.fleet, a, b) for a, b in permutations(self.fleet.names, 2)), default=np.inf)
        cutters = [ChainCutter(self.dag, overhead_s, rate) for rate in dict.fromkeys((np.inf, slowest))]
        deadline_s = (perf_counter() + self.deadline_s) / 2
        for order in topological_orders(self.dag, count, seed):
            for cutter in cutters:
                if self.proven() or perf_counter() > deadline_s:
                    return
                placement = cutter.cut(order, self.ceiling(), self.bound)
                if placement is not None:
                    self.offer_placement(placement)

    def try_programs(self, seed: int) -> None:
        """A program for each order of the devices, which proves the bound or finds something better."""
        if self.proven() or len(self.dag) > MOST_GROUPS:
            return
        machine = _machine(self.profile, self.fleet, self.dag)
        orders = list(distinct_orders(self.profile, self.fleet))
        if len(orders) > MOST_ORDERS:
            self.try_likely_orders(machine, seed)
            return
        bounds = []
        for number, order in enumerate(orders):
            share_s = (self.deadline_s - perf_counter()) / (len(orders) - number)
            bounds.append(self.solve_order(machine, order, share_s))
        self.bound = max(self.bound, min(bounds))
        if self.best is not None:
            self.bound = min(self.bound, self.best.value)

    def try_likely_orders(self, machine: Machine, seed: int) -> None:
        """Programs for orders near that of the best plan, until the time is over: they improve the plan and prove nothing."""
        share_s = max((self.deadline_s - perf_counter()) * LIKELY_SHARE, 0.0)
        used = [self.fleet.names.index(stage.device) for stage in self.best.stages] if self.best else []
        order = [*used, *(device for device in range(len(self.fleet.names)) if device not in used)]
        rng = random.Random(seed)
        while not self.proven() and perf_counter() < self.deadline_s:
            before = self.best
            self.solve_order(machine, tuple(order), min(share_s, self.deadline_s - perf_counter()))
            if self.best is not before and self.best is not None:
                used = [self.fleet.names.index(stage.device) for stage in self.best.stages]
                order = [*used, *(device for device in order if device not in used)]
            first, second = rng.sample(range(len(order)), 2)
            order[first], order[second] = order[second], order[first]

    def solve_order(self, machine: Machine, order: Order, time_limit_s: float) -> float:
        """What no placement in this order of the devices can beat; improves the best on the way."""
        if self.proven() or time_limit_s <= 0:
            return self.bound
        deadline_s = perf_counter() + time_limit_s
        cutoff_s = self.ceiling() * (1 - max(self.gap, _ROUNDING))
        program = OrderProgram(self.dag, machine, order, cutoff_s)
        while True:
            answer = program.solve(deadline_s - perf_counter(), self.gap / 2)
            if answer.placement is None or self.offer_placement(answer.placement):
                return answer.lower_bound_s
            for stage_groups in self.stages_too_large(answer.placement):
                program.forbid(answer.placement, stage_groups)
            program.forbid(answer.placement)

    def stages_too_large(self, placement: Placement) -> list[list[int]]:
        """Sets of groups that fit their device in no plan, whatever else the plan does."""
        found = []
        for stage in self.stages_of(placement):
            entering, leaving = _least_transfers(self.profile, stage)
            needed = memory.stage_memory_bytes(self.profile, stage, entering, leaving)
            device = self.fleet.device(stage.device)
            if needed > device.available_bytes:
                held = set(stage.nodes)
                found.append([group for group, nodes in enumerate(self.dag.members) if held & set(nodes)])
        return found

    def ceiling(self) -> float:
        """The value to beat; a plan that is slower than all nodes on the slowest device and all links is none."""
        if self.best is not None:
            return self.best.value
        links = [_bytes_per_s(self.fleet, a, b) for a, b in permutations(self.fleet.names, 2)]
        moved = sum(message.nbytes for message in self.dag.messages) * (len(self.fleet.names) + 1)
        overhead_s = max((self.profile.overhead_s.get(name, 0.0) for name in self.fleet.names), default=0.0)
        longest_s = max(times.longest() for times in stage_times(self.profile, self.fleet.names).values())
        return 2 * (longest_s + overhead_s + moved / min(links, default=np.inf)) + 1e-9

    def proven(self) -> bool:
        return self.best is not None and self.best.value * (1 - max(self.gap, _ROUNDING)) <= self.bound

    def offer_placement(self, placement: Placement) -> bool:
        """Whether the placement can run; it becomes the best if it is better."""
        stages = self.stages_of(placement)
        return self.offer(stages, direct_transfers(self.profile.graph, stages))

    def offer(self, stages: Sequence[Stage], transfers: Sequence[Transfer]) -> bool:
        if violations(self.profile, self.fleet, stages, transfers):
            return False
        value = cost.estimate(self.profile, self.fleet, stages, transfers).bottleneck_s
        if self.best is None or value < self.best.value:
            self.best = _Best(tuple(stages), tuple(transfers), value)
        return True

    def stages_of(self, placement: Placement) -> list[Stage]:
        """Stages in an order that the graph allows, empty devices left out."""
        nodes: dict[int, list[int]] = {}
        for group, device in enumerate(placement):
            nodes.setdefault(device, []).extend(self.dag.members[group])
        before: dict[int, set[int]] = {device: set() for device in nodes}
        for a, b in self.dag.edges:
            if placement[a] != placement[b]:
                before[placement[b]].add(placement[a])
        order: list[int] = []
        while len(order) < len(nodes):
            order.append(next(d for d in nodes if d not in order and before[d] <= set(order)))
        return [Stage(self.fleet.names[device], tuple(sorted(nodes[device]))) for device in order]

    def result(self, solve_s: float) -> Plan:
        if self.best is None:
            raise self.chain_error or InfeasibleError(f"no plan of {self.profile.graph.name} fits {self.fleet.name}")
        best, bound = self.best, self.bound
        if self.chain_bound is not None:
            # The chain may hand tensors on, which the programs do not cover: its own proof does.
            bound = max(self.bound_all, min(bound, self.chain_bound))
        return cost.make_plan(
            "exact",
            "throughput",
            self.profile,
            self.fleet,
            best.stages,
            best.transfers,
            lower_bound=min(best.value, bound),
            scope=Scope(Plans.ONE_STAGE_EACH),
            solve_s=solve_s,
            left_out=unused(self.fleet, best.stages, "no better plan with it was found"),
        )


def is_path(graph: Graph) -> bool:
    """Whether each node reads activations of the node before it only, so that every plan with one stage per device is a chain
    of contiguous stages, and sends the same whether directly or from stage to stage."""
    return all(
        graph.producer.get(name, CALLER) == node - 1 for node, names in enumerate(graph.activations) for name in names
    ) and all(names for names in graph.activations)


def distinct_orders(profile: Profile, fleet: Fleet) -> Iterator[Order]:
    """Orders of all devices; of those that differ only by swapping exchangeable devices, one. Devices may stay empty."""
    group_of = {name: number for number, group in enumerate(exchangeable(profile, fleet)) for name in group}
    seen = set()
    for order in permutations(range(len(fleet.names))):
        signature = tuple(group_of[fleet.names[device]] for device in order)
        if signature not in seen:
            seen.add(signature)
            yield order
        if len(seen) > MOST_ORDERS:
            return


def _bytes_per_s(fleet: Fleet, a: str, b: str) -> float:
    return fleet.link(a, b).tensor_bytes_per_s


def _machine(profile: Profile, fleet: Fleet, dag: Dag) -> Machine:
    names = fleet.names
    graph = profile.graph
    group_of = {node: group for group, nodes in enumerate(dag.members) for node in nodes}
    reads = [sum(map(graph.size_of, graph.activations_read(node))) for node in range(len(profile))]
    return Machine(
        overhead_s=tuple(profile.overhead_s.get(name, 0.0) for name in names),
        runtime_bytes=tuple(fleet.device(name).runtime_bytes for name in names),
        memory_bytes=tuple(fleet.device(name).plannable_bytes for name in names),
        per_byte_s={(a, b): fleet.link(names[a], names[b]).occupancy_s(1.0) for a, b in permutations(range(len(names)), 2)},
        source=None if fleet.source is None else names.index(fleet.source),
        parameters=tuple(
            (
                profile.memory_use.weight_copies * tensor.nbytes,
                tuple(sorted({group_of[reader] for reader in graph.consumers[name]})),
            )
            for name, tensor in graph.parameters.items()
            if tensor.nbytes and name in graph.consumers
        ),
        working_bytes=tuple(max(reads[node] + int(profile.output_bytes[node]) for node in nodes) for nodes in dag.members),
        spans=tuple(_spans(profile.span_matrix_s(name), group_of, dag) for name in names),
    )


def _spans(matrix_s: Floats | None, group_of: Mapping[int, int], dag: Dag) -> tuple[Span, ...] | None:
    """The spans of whole groups for which a device has times; None if times add up or there are too many of them."""
    if matrix_s is None or np.isfinite(matrix_s).sum() > MOST_SPANS:
        return None
    spans = []
    for start in range(len(group_of)):
        groups: set[int] = set()
        missing = 0
        for node in range(start, len(group_of)):
            if group_of[node] not in groups:
                groups.add(group_of[node])
                missing += len(dag.members[group_of[node]])
            missing -= 1
            if not missing and np.isfinite(matrix_s[start, node + 1]):
                spans.append(Span(tuple(sorted(groups)), float(matrix_s[start, node + 1])))
    return tuple(spans)


def _least_transfers(profile: Profile, stage: Stage) -> tuple[list[Transfer], list[Transfer]]:
    """What must enter and leave a stage in every plan that has it, each tensor once."""
    graph, held = profile.graph, set(stage.nodes)
    made = {name for node in stage.nodes for name in graph.nodes[node].writes}
    read = dict.fromkeys(name for node in stage.nodes for name in graph.activations_read(node) if name not in made)
    sent = tuple(name for name in made if any(reader not in held for reader in graph.consumers.get(name, ())))
    results = tuple(name for name in graph.outputs if name in made)
    entering = Transfer(CALLER, 0, tuple(read), graph.bytes_of(read))
    leaving = [Transfer(0, 1, sent, graph.bytes_of(sent))] if sent else []
    if results:
        leaving.append(Transfer(0, CALLER, results, graph.bytes_of(results)))
    return ([entering] if read else []), leaving
