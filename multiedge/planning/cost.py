"""The cost model: time, memory and energy of a placement.

All strategies, the simulator and the reports use these functions, so their figures can be compared. For stage s on device d:

    compute(s, d)  = overhead_d + sum of seconds_d[v] over the nodes v of s
    occupancy(a,b) = share(a, b) * bytes sent from a to b per item / bandwidth(a, b) / (1 - loss)
    transfer(a,b)  = latency(a, b) + occupancy(a, b)                                     for one message

Of nodes and tensors that are not there for every item, `seconds_d` and bytes are the mean over all items (`rates`).
On a device whose times do not add up over nodes, the sum is replaced by `Profile.span_s` of the nodes that it holds.
`share` is 1/2 on links that send float16, whose transfers have float32 alone (`checks`), and 1 on all others: how far zstd
compresses is not known before. Sizes and energy are those of tensors before they are encoded.

Devices compute while links carry other items, so the time per item of a pipeline, the bottleneck, is

    T = max( max over d of sum of compute(s, d) over the stages of d,
             max over links (a, b) of occupancy(a, b) )

and the latency of a link delays an item but does not lower throughput. What goes by way of the caller, on executors that do so,
takes two links, to the caller and from it. A stage on r replicas counts 1/r on each, and a
transfer between r and s replicas 1/(r s) on each of their links. Where a plan has several paths, each stage and transfer counts
with the share of the items on the paths that use it. One request alone takes the longest path through stages and
transfers. `multiedge.planning.memory` counts the memory of a device.

The executor itself takes time, too: for messages, wake-ups and the caller. Where `Profile.pipeline` states it, the expected
time per item is T with it on each device, or the caller's time if that is longer. Plans are compared by T, a lower bound.

The energy per item at full speed is, over the devices d in use,
sum of idle_w_d * T + (busy_w_d - idle_w_d) * busy_d + joules_per_byte_d * bytes sent by d.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from multiedge.errors import ProfileError
from multiedge.fleet import CALLER_NAME, Device, Encoding, Fleet, Link
from multiedge.pipeline_cost import PipelineCost
from multiedge.plan import CALLER, Estimate, Path, Plan, SourceEstimate, Stage, StageEstimate, Transfer
from multiedge.planning.memory import device_memory, memory_by_device, moves_of_one_item, stage_memory_bytes
from multiedge.profile import Profile
from multiedge.proof import Scope


def stage_compute_s(profile: Profile, stage: Stage, held: Mapping[str, tuple[int, int]] | None = None) -> float:
    """The time that a stage takes for one item.

    Args:
        profile: Costs of the model.
        stage: The stage.
        held: The nodes of all stages of each device, as `held_nodes` finds them; None if this is its only stage.

    Returns:
        Seconds on its slowest device; inf if a device cannot hold its nodes.

    Raises:
        ProfileError: If the profile has no times for one of its devices, or they are known for consecutive nodes only and the
            device holds others.
    """
    if not profile.spans:
        nodes = list(stage.nodes)
        return max(
            profile.overhead_s.get(device, 0.0) + float(profile.seconds_on(device)[nodes].sum()) for device in stage.devices
        )
    return max(compute_s(profile, stage, device, held) for device in stage.devices)


def compute_s(profile: Profile, stage: Stage, device: str, held: Mapping[str, tuple[int, int]] | None = None) -> float:
    """The time that a stage takes for one item on one of its devices.

    Args:
        profile: Costs of the model.
        stage: The stage.
        device: Name of the device.
        held: The nodes of all stages of each device, as `held_nodes` finds them; None if this is its only stage.

    Returns:
        Seconds, the overhead of a stage included.

    Raises:
        ProfileError: As for `stage_compute_s`.
    """
    overhead_s = profile.overhead_s.get(device, 0.0)
    if device not in profile.spans:
        return overhead_s + float(profile.seconds_on(device)[list(stage.nodes)].sum())
    span = held[device] if held else _hull(profile, device, [stage])
    return overhead_s + profile.span_s(device, stage.nodes[0], stage.nodes[-1] + 1, span)


def held_nodes(profile: Profile, stages: Sequence[Stage]) -> dict[str, tuple[int, int]]:
    """The nodes that each device holds, of devices whose times do not add up over nodes.

    Args:
        profile: Costs of the model.
        stages: The placement.

    Returns:
        First node and end by device name.

    Raises:
        ProfileError: If such a device holds nodes that do not follow each other.
    """
    if not profile.spans:
        return {}
    named = {device for stage in stages for device in stage.devices}
    on = {device: [stage for stage in stages if device in stage.devices] for device in sorted(named & profile.spans.keys())}
    return {device: _hull(profile, device, own) for device, own in on.items()}


def _hull(profile: Profile, device: str, stages: Sequence[Stage]) -> tuple[int, int]:
    nodes = sorted({node for stage in stages for node in stage.nodes})
    start, stop = nodes[0], nodes[-1] + 1
    if stop - start != len(nodes):
        raise ProfileError(
            f"profile of {profile.graph.name}: device '{device}' has times for consecutive nodes only, and would hold"
            f" {len(nodes)} nodes between {start} and {stop - 1}"
        )
    return start, stop


def link_between(fleet: Fleet, stages: Sequence[Stage], move: Transfer) -> tuple[str, str, Link]:
    """The devices at the ends of a transfer, and the link between them.

    Args:
        fleet: The devices.
        stages: The placement.
        move: The transfer.

    Returns:
        Names of the sender and the receiver, and their Link. For a caller without a device the link costs nothing.
    """
    source = fleet.source if move.source == CALLER else stages[move.source].device
    target = fleet.source if move.target == CALLER else stages[move.target].device
    if source is None or target is None:
        return source or CALLER_NAME, target or CALLER_NAME, Link()
    return source, target, fleet.link(source, target)


@dataclass(frozen=True)
class Shares:
    """The shares of all items that use each stage and each transfer.

    Attributes:
        stages: By number of the stage.
        hops: By (source, target) of a transfer; empty where every item uses every transfer.
    """

    stages: tuple[float, ...]
    hops: Mapping[tuple[int, int], float] = field(default_factory=dict)

    @classmethod
    def of(cls, stages: int, paths: Sequence[Path]) -> Shares:
        """The shares of a placement.

        Args:
            stages: Number of stages.
            paths: The ways of items through them; empty if every item passes every stage.

        Returns:
            The Shares.
        """
        if not paths:
            return _all(stages)
        rate = sum(path.items_per_s for path in paths)
        used, hops = [0.0] * stages, defaultdict[tuple[int, int], float](float)
        for path in paths:
            for stage in path.stages:
                used[stage] += path.items_per_s / rate
            for hop in path.steps:
                hops[hop] += path.items_per_s / rate
        return cls(tuple(used), dict(hops))

    def of_transfer(self, move: Transfer) -> float:
        """The share of the items that use a transfer.

        Args:
            move: A transfer of the plan.

        Returns:
            From 0 to 1.
        """
        return self.hops.get((move.source, move.target), 0.0) if self.hops else 1.0


@cache
def _all(stages: int) -> Shares:
    """The shares where every item passes every stage."""
    return Shares((1.0,) * stages)


def _routes(
    fleet: Fleet, stages: Sequence[Stage], move: Transfer, share_of_items: float = 1.0
) -> Iterator[tuple[str, str, float]]:
    """The (from, to) devices that a transfer takes and the share of the items on each: replicas take turns, and nothing
    is sent within a device or to a caller without a device."""
    ends = [(fleet.source,) if stage == CALLER else stages[stage].devices for stage in (move.source, move.target)]
    share = share_of_items / (len(ends[0]) * len(ends[1]))
    for source in ends[0]:
        for target in ends[1]:
            if source is not None and target is not None and source != target:
                yield source, target, share


def encodings_of(fleet: Fleet, stages: Sequence[Stage], move: Transfer) -> frozenset[Encoding]:
    """How the links of a transfer send tensors.

    Args:
        fleet: The devices.
        stages: The placement.
        move: The transfer.

    Returns:
        The encodings of its links; empty if nothing is sent over a link.
    """
    return frozenset(fleet.link(source, target).encoding for source, target, _ in _routes(fleet, stages, move))


def _encoded(fleet: Fleet, stages: Sequence[Stage], move: Transfer) -> Transfer:
    """The transfer with the encoding of its links; without one if they differ, which no check of a plan passes."""
    encodings = encodings_of(fleet, stages, move)
    return replace(move, encoding=next(iter(encodings)) if len(encodings) == 1 else Encoding.NONE)


def _encoding_notes(transfers: Sequence[Transfer]) -> list[str]:
    """What encodings mean for results and figures."""
    used = {move.encoding for move in transfers}
    lossy = "float16 between devices rounds: outputs differ from those of the whole model; multiedge check measures by how much"
    packed = "zstd between devices: times are those of sizes before compression, whose ratio is not known"
    return [text for encoding, text in ((Encoding.FLOAT16, lossy), (Encoding.ZSTD, packed)) if encoding in used]


def _legs(move: Transfer, by_caller: Collection[tuple[int, int]]) -> tuple[Transfer, ...]:
    """The messages of a transfer, one after another: two if it goes by way of the caller."""
    if (move.source, move.target) not in by_caller:
        return (move,)
    return replace(move, target=CALLER), replace(move, source=CALLER)


def _messages(
    profile: Profile, transfers: Sequence[Transfer], by_caller: Collection[tuple[int, int]], shares: Shares
) -> Iterator[tuple[Transfer, float]]:
    """The messages of an item, and the share of the items that send each. A stage sends no tensor to the caller twice."""
    returned: dict[int, set[str]] = defaultdict(set)
    for move in transfers:
        for leg in _legs(move, by_caller):
            if by_caller and leg.target == CALLER:
                names = tuple(name for name in leg.tensors if name not in returned[leg.source])
                returned[leg.source].update(names)
                leg = leg if names == leg.tensors else replace(leg, tensors=names, nbytes=profile.graph.sent_bytes_of(names))
            yield leg, shares.of_transfer(move)


def estimate(
    profile: Profile,
    fleet: Fleet,
    stages: Sequence[Stage],
    transfers: Sequence[Transfer],
    paths: Sequence[Path] = (),
    by_caller: Collection[tuple[int, int]] = (),
) -> Estimate:
    """The expected cost of a placement.

    Args:
        profile: Costs of the model.
        fleet: The devices.
        stages: The placement, without structural violations.
        transfers: Tensors between stages, and from and to the caller.
        paths: The ways of items through the stages; empty if every item passes every stage.
        by_caller: The (source, target) of transfers that go by way of the caller; all others go directly.

    Returns:
        The Estimate.

    Raises:
        ProfileError: If the profile has no times for one of the devices.
        ConfigError: If a stage names a device that the fleet has not.
    """
    held = held_nodes(profile, stages)
    compute_s = [stage_compute_s(profile, stage, held) for stage in stages]
    shares = Shares.of(len(stages), paths)
    busy_s = _busy_s(stages, compute_s, shares)
    occupied_s, sent_bytes = _traffic(fleet, stages, _messages(profile, transfers, by_caller, shares))
    bottleneck_s, bottleneck = _bottleneck(busy_s, occupied_s)
    found = Estimate(
        stages=_stage_estimates(profile, fleet, stages, transfers, compute_s, bottleneck_s, shares),
        bottleneck_s=bottleneck_s,
        bottleneck=bottleneck,
        latency_s=_slowest_path_s(fleet, stages, transfers, compute_s, paths, by_caller),
        energy_j=_energy_j(fleet, busy_s, sent_bytes, bottleneck_s),
        network_bytes=round(sum(sent_bytes.values())),
        source=_source_estimate(fleet, stages, transfers, shares, by_caller),
        memory=device_memory(fleet, memory_by_device(profile, fleet, stages, transfers, paths)),
    )
    own = profile.pipeline
    if own is None:
        return found
    own_s = own_seconds(own, stages, transfers, shares)
    hop_s = own.hop_after(found.latency_s)
    delayed_s = [seconds + hop_s + more_s - own.worker_s for seconds, more_s in zip(compute_s, own_s, strict=True)]
    with_own_s = [seconds + more_s for seconds, more_s in zip(compute_s, own_s, strict=True)]
    return replace(
        found,
        pipeline=own,
        expected_s=max(bottleneck_s, caller_seconds(own, transfers, shares), *_busy_s(stages, with_own_s, shares).values()),
        expected_latency_s=_slowest_path_s(fleet, stages, transfers, delayed_s, paths, by_caller) + hop_s,
    )


def _busy_s(stages: Sequence[Stage], stage_s: Sequence[float], shares: Shares) -> dict[str, float]:
    """The time per item of each device whose stages take so long."""
    busy_s: dict[str, float] = defaultdict(float)
    for stage, seconds, used in zip(stages, stage_s, shares.stages, strict=True):
        for device in stage.devices:
            busy_s[device] += seconds * used / len(stage.devices)
    return busy_s


def _traffic(
    fleet: Fleet, stages: Sequence[Stage], messages: Iterable[tuple[Transfer, float]]
) -> tuple[dict[tuple[str, str], float], dict[str, float]]:
    """The time per item of each link, and the bytes per item that each device sends."""
    occupied_s: dict[tuple[str, str], float] = defaultdict(float)
    sent_bytes: dict[str, float] = defaultdict(float)
    for message, used in messages:
        for source, target, share in _routes(fleet, stages, message, used):
            occupied_s[source, target] += share * fleet.link(source, target).occupancy_s(message.known_bytes)
            sent_bytes[source] += share * message.known_bytes
    return occupied_s, sent_bytes


def _bottleneck(busy_s: Mapping[str, float], occupied_s: Mapping[tuple[str, str], float]) -> tuple[float, str]:
    """The time per item of what is busiest, and what that is: a device rather than a link that takes as long."""
    device, seconds = max(busy_s.items(), key=lambda entry: entry[1])
    (source, target), link_s = max(occupied_s.items(), key=lambda entry: entry[1], default=(("", ""), 0.0))
    return (link_s, f"link '{source}' -> '{target}'") if link_s > seconds else (seconds, f"device '{device}'")


def own_seconds(own: PipelineCost, stages: Sequence[Stage], transfers: Sequence[Transfer], shares: Shares) -> list[float]:
    """What the executor itself takes for one item in each stage, on the processor of its device.

    Args:
        own: Costs of the executor.
        stages: The placement.
        transfers: Its transfers.
        shares: The shares of items that use each stage and transfer.

    Returns:
        Seconds per item that passes the stage.
    """
    seconds = []
    for index in range(len(stages)):
        entering, leaving = moves_of_one_item(index, transfers, several_paths=bool(shares.hops))
        seconds.append(own.of_worker(sum(move.known_bytes for move in (*entering, *leaving))))
    return seconds


def caller_seconds(own: PipelineCost, transfers: Sequence[Transfer], shares: Shares) -> float:
    """What the executor itself takes for one item in the process of the caller.

    Args:
        own: Costs of the executor.
        transfers: Transfers of the plan.
        shares: The shares of items that use each stage and transfer.

    Returns:
        Seconds per item, the mean over the paths.
    """
    used = [move for move in transfers if CALLER in (move.source, move.target)]
    return own.of_caller(sum(shares.of_transfer(move) * move.known_bytes for move in used))


def on_path(
    path: Path, stages: Sequence[Stage], transfers: Sequence[Transfer]
) -> tuple[tuple[Stage, ...], tuple[Transfer, ...]]:
    """The stages and transfers of one path, as a placement of its own.

    Args:
        path: The path.
        stages: The placement of all paths.
        transfers: Its transfers.

    Returns:
        The stages of the path, numbered from 0, and the transfers between them, from and to the caller.
    """
    number = {stage: index for index, stage in enumerate(path.stages)} | {CALLER: CALLER}
    moves = (
        replace(move, source=number[move.source], target=number[move.target])
        for move in transfers
        if (move.source, move.target) in path.steps
    )
    return tuple(stages[stage] for stage in path.stages), tuple(moves)


def _slowest_path_s(
    fleet: Fleet,
    stages: Sequence[Stage],
    transfers: Sequence[Transfer],
    compute_s: Sequence[float],
    paths: Sequence[Path],
    by_caller: Collection[tuple[int, int]],
) -> float:
    """The time of one item in an idle pipeline, on the path that takes longest."""
    if not paths:
        return request_latency_s(fleet, stages, transfers, compute_s, by_caller)
    return max(
        request_latency_s(
            fleet,
            *on_path(path, stages, transfers),
            [compute_s[stage] for stage in path.stages],
            {
                (path.stages.index(source), path.stages.index(target))
                for source, target in by_caller
                if {source, target} <= set(path.stages)
            },
        )
        for path in paths
    )


def request_latency_s(
    fleet: Fleet,
    stages: Sequence[Stage],
    transfers: Sequence[Transfer],
    compute_s: Sequence[float],
    by_caller: Collection[tuple[int, int]] = (),
) -> float:
    """The time of one item in an idle pipeline: a stage starts when its inputs are there and its device is free.

    Args:
        fleet: The devices.
        stages: The placement.
        transfers: Tensors between stages, and from and to the caller.
        compute_s: Time of each stage.
        by_caller: The (source, target) of transfers that go by way of the caller.

    Returns:
        Seconds.
    """

    def transfer_s(move: Transfer) -> float:
        legs = _legs(move, by_caller)
        return sum(link_between(fleet, stages, leg)[2].transfer_s(move.known_bytes) for leg in legs)

    ready = [0.0] * len(stages)
    device_free: dict[str, float] = defaultdict(float)
    finish = [0.0] * len(stages)
    done = 0.0
    for index in range(len(stages)):
        for move in transfers:
            if move.target == index:
                start = 0.0 if move.source == CALLER else finish[move.source]
                ready[index] = max(ready[index], start + transfer_s(move))
        device = stages[index].device
        finish[index] = max(ready[index], device_free[device]) + compute_s[index]
        device_free[device] = finish[index]
    for move in transfers:
        if move.target == CALLER and move.source != CALLER:
            done = max(done, finish[move.source] + transfer_s(move))
    return max([done, *finish])


def _sending(fleet: Fleet, stages: Sequence[Stage], moves: Sequence[Transfer]) -> tuple[float, int]:
    """The time of the messages, and the bytes of them that leave their device."""
    seconds = sum(link_between(fleet, stages, move)[2].transfer_s(move.known_bytes) for move in moves)
    return seconds, round(sum(share * move.known_bytes for move in moves for *_, share in _routes(fleet, stages, move)))


def _source_estimate(
    fleet: Fleet,
    stages: Sequence[Stage],
    transfers: Sequence[Transfer],
    shares: Shares,
    by_caller: Collection[tuple[int, int]],
) -> SourceEstimate | None:
    """The mean over the items of all paths."""
    if fleet.source is None:
        return None
    seconds, nbytes = 0.0, 0.0
    for move in transfers:
        leg = _legs(move, by_caller)[-1]
        if leg.source == CALLER:
            each_s, sent = _sending(fleet, stages, [leg])
            seconds += shares.of_transfer(move) * each_s
            nbytes += shares.of_transfer(move) * sent
    return SourceEstimate(fleet.source, seconds, round(nbytes))


def _stage_estimates(
    profile: Profile,
    fleet: Fleet,
    stages: Sequence[Stage],
    transfers: Sequence[Transfer],
    compute_s: Sequence[float],
    bottleneck_s: float,
    shares: Shares,
) -> tuple[StageEstimate, ...]:
    found = []
    for index, stage in enumerate(stages):
        entering, leaving = moves_of_one_item(index, transfers, several_paths=bool(shares.hops))
        transfer_s, sent_bytes = _sending(fleet, stages, leaving)
        found.append(
            StageEstimate(
                compute_s=compute_s[index],
                transfer_s=transfer_s,
                memory_bytes=fleet.device(stage.device).runtime_bytes + stage_memory_bytes(profile, stage, entering, leaving),
                memory_limit_bytes=fleet.least_memory_bytes(stage.devices),
                utilisation=compute_s[index] * shares.stages[index] / len(stage.devices) / bottleneck_s
                if bottleneck_s
                else 0.0,
                sent_bytes=sent_bytes,
            )
        )
    return tuple(found)


def _energy_j(fleet: Fleet, busy_s: dict[str, float], sent_bytes: dict[str, float], wall_s: float) -> float | None:
    def joules(device: Device) -> float | None:
        if device.power is None:
            return None
        dynamic_w = device.power.busy_w - device.power.idle_w
        sending_j = device.joules_per_byte * sent_bytes.get(device.name, 0)
        return device.power.idle_w * wall_s + dynamic_w * busy_s[device.name] + sending_j

    each = [joules(fleet.device(name)) for name in busy_s]
    known = [value for value in each if value is not None]
    return sum(known) if len(known) == len(each) else None


def make_plan(
    strategy: str,
    objective: str,
    profile: Profile,
    fleet: Fleet,
    stages: Sequence[Stage],
    transfers: Sequence[Transfer],
    *,
    lower_bound: float | None = None,
    scope: Scope | None = None,
    solve_s: float = 0.0,
    left_out: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    paths: Sequence[Path] = (),
) -> Plan:
    """The Plan of a placement, with its estimate.

    Args:
        strategy: Name of the strategy.
        objective: 'throughput', 'latency' or 'energy'.
        profile: Costs of the model.
        fleet: The devices.
        stages: The placement, without violations.
        transfers: Tensors between stages, and from and to the caller.
        lower_bound: No plan is below this value; None if nothing is proven.
        scope: The plans for which the bound holds.
        solve_s: Time that the strategy took.
        left_out: The reason for each device that is not used, by name.
        notes: Other remarks of the strategy.
        paths: The ways of items through the stages; empty if every item passes every stage.

    Returns:
        The Plan.
    """
    expected = estimate(profile, fleet, stages, transfers, paths)
    sent = tuple(_encoded(fleet, stages, move) for move in transfers)
    plan = Plan(
        strategy=strategy,
        objective=objective,
        stages=tuple(stages),
        transfers=sent,
        estimate=expected,
        value=objective_value(objective, expected),
        lower_bound=lower_bound,
        scope=scope,
        solve_s=solve_s,
        left_out=left_out or {},
        notes=(*notes, *profile.notes, *_encoding_notes(sent)),
        known=profile.knowledge_of({device for stage in stages for device in stage.devices}),
        reference=profile.reference,
        model_hash=profile.graph.model_hash,
        paths=tuple(paths),
    )
    return plan.with_names(profile.graph)


def objective_value(objective: str, expected: Estimate) -> float:
    """The value of an objective, which strategies minimise.

    Args:
        objective: 'throughput', 'latency' or 'energy'.
        expected: Expected cost of a plan.

    Returns:
        Seconds per item of the bottleneck, seconds of one request, or joules per item (inf if unknown).
    """
    if objective == "energy":
        return float("inf") if expected.energy_j is None else expected.energy_j
    return {"throughput": expected.bottleneck_s, "latency": expected.latency_s}[objective]
