"""The figures of a plan: time per item, latency, energy, bytes sent, and memory of each device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from multiedge.fleet import Device, Encoding, Fleet, Link
from multiedge.plan import CALLER, Path, Plan, Stage, Transfer
from multiedge.verification.model import Model
from multiedge.verification.ways import Way, ways_of


@dataclass(frozen=True)
class Figures:
    """What a plan costs.

    Attributes:
        bottleneck_s: Time per item of the busiest device or link.
        latency_s: Time of one item alone.
        energy_j: Energy per item at full rate; None if a device in use declares no power.
        network_bytes: Bytes between devices per item.
        memory_bytes: Peak by device.
    """

    bottleneck_s: float
    latency_s: float
    energy_j: float | None
    network_bytes: float
    memory_bytes: dict[str, int]

    def value(self, objective: str) -> float | None:
        """The figure that an objective makes small."""
        return {"throughput": self.bottleneck_s, "latency": self.latency_s, "energy": self.energy_j}[objective]


def figures_of(plan: Plan, model: Model, fleet: Fleet) -> Figures:
    """The cost of a plan as its own transfers move tensors."""
    return figures(model, fleet, plan.stages, plan.transfers, plan.paths)


def figures(
    model: Model, fleet: Fleet, stages: Sequence[Stage], transfers: Sequence[Transfer], paths: Sequence[Path] = ()
) -> Figures:
    """The cost of a placement.

    Args:
        model: The model and its costs.
        fleet: The devices.
        stages: The placement, without errors of structure.
        transfers: Tensors between stages, and from and to the caller.
        paths: The ways of items through the stages; empty if every item passes every stage.

    Returns:
        The Figures.
    """
    ways = ways_of(len(stages), transfers, paths)
    seconds = [max(_compute_s(model, stages, stage, device) for device in stage.devices) for stage in stages]
    busy: dict[str, float] = defaultdict(float)
    sent: dict[tuple[str, str], float] = defaultdict(float)
    for way in ways:
        for index in way.stages:
            for device in stages[index].devices:
                busy[device] += way.share * seconds[index] / len(stages[index].devices)
        for move in way.transfers:
            ends = list(product(_places(fleet, stages, move.source), _places(fleet, stages, move.target)))
            for a, b in ends:
                if a is not None and b is not None and a != b:
                    sent[a, b] += way.share * round(model.sent_bytes(move.tensors)) / len(ends)
    bottleneck_s = max([*busy.values(), *(nbytes / rate(fleet.link(*ends)) for ends, nbytes in sent.items())])
    return Figures(
        bottleneck_s,
        max(_latency_s(model, fleet, stages, way, seconds) for way in ways),
        _energy_j(fleet, busy, sent, bottleneck_s),
        sum(sent.values()),
        _memory(model, fleet, stages, transfers, has_paths=bool(paths)),
    )


def rate(link: Link) -> float:
    """Bytes of tensors, before they are encoded, that arrive over a link per second."""
    return link.bandwidth_bytes_per_s * (1.0 - link.loss) / (0.5 if link.encoding is Encoding.FLOAT16 else 1.0)


def _compute_s(model: Model, stages: Sequence[Stage], stage: Stage, device: str) -> float:
    """Where times do not add up, the nodes take their share of the time of all nodes that the device holds."""
    profile, seconds = model.profile, model.profile.seconds[device]
    overhead_s, own_s = profile.overhead_s.get(device, 0.0), float(seconds[list(stage.nodes)].sum())
    if device not in profile.spans:
        return overhead_s + own_s
    held = sorted({node for other in stages if device in other.devices for node in other.nodes})
    held_s = float(seconds[held].sum())
    share = own_s / held_s if held_s > 0 else len(stage.nodes) / len(held)
    return overhead_s + share * profile.spans[device].seconds(held[0], held[-1] + 1)


def _places(fleet: Fleet, stages: Sequence[Stage], stage: int) -> tuple[str | None, ...]:
    return (fleet.source,) if stage == CALLER else stages[stage].devices


def _latency_s(model: Model, fleet: Fleet, stages: Sequence[Stage], way: Way, seconds: Sequence[float]) -> float:
    """When the last stage and the last result are done: the longest path, stages of one device one after another."""

    def way_s(move: Transfer) -> float:
        a, b = (_places(fleet, stages, end)[0] for end in (move.source, move.target))
        if a is None or b is None or a == b:
            return 0.0
        return fleet.link(a, b).latency_s + round(model.sent_bytes(move.tensors)) / rate(fleet.link(a, b))

    done = {CALLER: 0.0}
    for index in way.stages:
        arrivals = [done[move.source] + way_s(move) for move in way.transfers if move.target == index]
        before = [done[other] for other in way.stages if other < index and stages[other].device == stages[index].device]
        done[index] = max([0.0, *arrivals, *before]) + seconds[index]
    return max([*done.values(), *(done[move.source] + way_s(move) for move in way.transfers if move.target == CALLER)])


def _energy_j(fleet: Fleet, busy: dict[str, float], sent: dict[tuple[str, str], float], bottleneck_s: float) -> float | None:
    total = 0.0
    for name, busy_s in busy.items():
        device = fleet.device(name)
        if device.power is None:
            return None
        nbytes = sum(value for (source, _), value in sent.items() if source == name)
        total += device.power.busy_w * busy_s + device.power.idle_w * (bottleneck_s - busy_s)
        total += device.joules_per_byte * nbytes
    return total


def _memory(
    model: Model, fleet: Fleet, stages: Sequence[Stage], transfers: Sequence[Transfer], *, has_paths: bool
) -> dict[str, int]:
    needed: dict[str, int] = {}
    for index, stage in enumerate(stages):
        entering = [move for move in transfers if move.target == index]
        leaving = [move for move in transfers if move.source == index]
        if has_paths:  # an item takes one of those that carry the same tensors
            entering, leaving = (list({move.tensors: move for move in moves}.values()) for moves in (entering, leaving))
        nbytes = stage_bytes(model, stage.nodes, index, [*entering, *leaving])
        for device in stage.devices:
            needed[device] = needed.get(device, fleet.device(device).runtime_bytes) + nbytes
    return needed


def stage_bytes(model: Model, nodes: Sequence[int], index: int, transfers: Sequence[Transfer]) -> int:
    """The peak of a stage without the runtime: the copies of its parameters that stay, and the larger of loading and running.

    Running takes the arena for the most activations that exist while one node runs, and the messages that wait; loading the
    copies of a parameter while it is packed, and the second versions of those that are folded.

    Args:
        model: The model and its costs.
        nodes: The stage's nodes, ascending.
        index: Number of the stage in the transfers.
        transfers: Tensors between stages.

    Returns:
        Bytes.
    """
    entered = {name for move in transfers if move.target == index for name in move.tensors}
    kept = {name for move in transfers if move.source == index and move.target != CALLER for name in move.tensors}
    use = model.profile.memory_use
    loading = [model.loading_bytes(node) for node in nodes]
    buffers = sum(model.nbytes(move.tensors) for move in transfers if index in (move.source, move.target))
    running = use.working_copies * _peak_bytes(model, nodes, entered, kept) + use.buffered_items * buffers
    parameters = set[str]().union(*(model.parameters[node] for node in nodes))
    packed = max(copies for copies, _ in loading) + sum(twice for _, twice in loading)
    return use.weight_copies * model.nbytes(parameters) + max(running, packed)


def most_bytes(device: Device) -> int | None:
    """The most that a plan may take on a device, the runtime included: its memory over 1 + margin; None without a limit."""
    return None if device.memory_bytes is None else int(device.memory_bytes / (1 + Fraction(str(device.memory_margin))))


def _peak_bytes(model: Model, nodes: Sequence[int], entered: set[str], kept: set[str]) -> int:
    """The most bytes of activations while one node runs: those that exist before it and are needed from it on, and its own."""
    at = {node: place for place, node in enumerate(nodes)}
    change = [0] * (len(nodes) + 1)
    for name in entered.union(*(model.writes[node] for node in nodes)):
        born = 0 if name in entered else at[model.maker[name]] + 1
        read = [at[node] for node in model.readers.get(name, ()) if node in at]
        end = len(nodes) if name in kept else max(read, default=-1) + 1
        if end > born:
            change[born] += model.nbytes([name])
            change[end] -= model.nbytes([name])
    live = peak = 0
    for place, node in enumerate(nodes):
        live += change[place]
        peak = max(peak, live + int(model.written_bytes[node]))
    return peak
