"""The plan table of a model: several plans for one fleet, of which a request takes the one that suits it.

Each kind of row is a reason to have a plan: it is the fastest, the quickest for one request, that of least energy, on the
calling device alone, without the most loaded device, split over branches and joined, or sends tensors of less precision. A row
that is the plan of another one is left out, and so is one that others equal or beat in all respects, unless its kind is there
for another reason than its figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path

from multiedge.defaults import DEFAULT_ROW_KINDS, ROW_KINDS
from multiedge.errors import ConfigError, InfeasibleError, MultiedgeError, PlanError, did_you_mean
from multiedge.files import write_text
from multiedge.fleet import Encoding, Fleet
from multiedge.network.records import ONLY_ROW, Expected, NodeMemory, NodeWork
from multiedge.plan import CALLER, Plan
from multiedge.planning.cost import Shares
from multiedge.profile import Profile
from multiedge.report.graph_svg import standalone
from multiedge.report.pareto import Point, draw
from multiedge.run import plan_model

Progress = Callable[[str, float], None]

_KEPT = ("local", "first", "last", "both", "fallback")
"""Kinds that are there for another reason than their figures; fall-backs last, since other rows may do."""
PRECISION = "precision"
"""The kind of a row that runs another variant of the model."""
_APPROXIMATE = ("float16", PRECISION)
"""Kinds whose answers are others than those of the model on the fleet as it is stated."""
_SAME = 1e-9
_COSTS: Mapping[str, tuple[str, str, Callable[[Expected], float | None]]] = {
    "latency": ("latency", "s", lambda expected: expected.latency_s),
    "energy": ("energy per item", "J/item", lambda expected: expected.energy_j),
    "accuracy": (
        "wrong answers",
        "%",
        lambda expected: None if expected.accuracy is None else 100 * (1 - expected.accuracy),
    ),
}
"""What throughput is drawn against: title, unit and figure."""


@dataclass(frozen=True)
class Row:
    """A plan of the table.

    Attributes:
        name: Unique in the table.
        kind: Why it is there: one of `ROW_KINDS`, `PRECISION`, or `ONLY_ROW` for one that the user chose.
        plan: The plan.
        expected: What it promises; None in it is: not known.
        variant: Name of the model's variant that it runs; '' for the model itself.
    """

    name: str
    kind: str
    plan: Plan
    expected: Expected
    variant: str = ""

    @property
    def devices(self) -> tuple[str, ...]:
        """All devices that it needs, in the order of its stages."""
        return tuple(dict.fromkeys(device for stage in self.plan.stages for device in stage.devices))

    @property
    def is_approximate(self) -> bool:
        """Whether it rounds, or runs another variant, only to be faster; that links round may be the choice of the user."""
        return self.kind in _APPROXIMATE

    @property
    def first(self) -> tuple[str, ...]:
        """The devices to which the caller sends inputs."""
        return self._at({move.target for move in self.plan.transfers if move.source == CALLER})

    @property
    def last(self) -> tuple[str, ...]:
        """The devices from which the caller gets results."""
        return self._at({move.source for move in self.plan.transfers if move.target == CALLER})

    def _at(self, stages: set[int]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for each in sorted(stages - {CALLER}) for name in self.plan.stages[each].devices))


@dataclass(frozen=True)
class Table:
    """The rows, the most important first, and why there is none of a kind that was asked for."""

    rows: tuple[Row, ...]
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Accuracy:
    """The share of right answers as somebody measured it: of the model as it is, and of rows that round or run another variant,
    by name."""

    exact: float | None = None
    of_rows: Mapping[str, float] = field(default_factory=dict)

    def of(self, row: Row) -> float | None:
        """That of a row; of one that is not exact only if it was measured itself."""
        return self.of_rows.get(row.name, None if row.variant or _rounds(row.plan) else self.exact)


def plan_table(
    profile: Profile,
    fleet: Fleet,
    kinds: Sequence[str] = DEFAULT_ROW_KINDS,
    *,
    chosen: Plan | None = None,
    variants: Mapping[str, Profile] | None = None,
    accuracy: Accuracy = Accuracy(),
    progress: Progress = lambda step, share: None,
) -> Table:
    """The plans of a model for a fleet.

    Args:
        profile: Costs of the model.
        fleet: The devices; its `source` is the calling device, without which there is no row that is on it.
        kinds: Some of `multiedge.defaults.ROW_KINDS`, the most important first.
        chosen: A plan that comes first, as the row `ONLY_ROW`.
        variants: Costs of the model in other precisions, by the names of their rows, which come last; each has its fastest
            plan.
        accuracy: What was measured.
        progress: Called with the kind and the share of them that is done.

    Returns:
        The Table, with at least one row.

    Raises:
        ConfigError: If there is no such kind, or `accuracy` names no row.
        InfeasibleError: If there is no row at all.
    """
    for kind in kinds:
        if kind not in ROW_KINDS:
            raise ConfigError(f"rows: unknown kind '{kind}'{did_you_mean(kind, ROW_KINDS)}")
    rows = [_row(ONLY_ROW, ONLY_ROW, chosen, fleet)] if chosen else []
    absent: dict[str, str] = {}
    order = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    by_figures = [kind for kind in order if kind not in _KEPT]
    done = 0
    for some in (by_figures, sorted(order.keys() - set(by_figures), key=_KEPT.index)):
        for kind in some:
            progress(f"planning '{kind}'", done / len(order))
            _add(rows, absent, kind, _Task(profile, fleet, tuple(rows)))
            done += 1
        if some is by_figures:
            rows = _undominated(rows, absent)
    rows.sort(key=lambda row: order.get(row.kind, -1))
    for name, costs in (variants or {}).items():
        _add(rows, absent, PRECISION, _Task(costs, fleet, tuple(rows), name))
    if not rows:
        raise InfeasibleError(next(iter(absent.values()), "rows: expected at least one kind, got none"))
    rows = [replace(row, expected=replace(row.expected, accuracy=accuracy.of(row))) for row in rows]
    unknown = next((name for name in accuracy.of_rows if name not in {row.name for row in rows}), None)
    if unknown is not None:
        raise ConfigError(f"accuracy: there is no row '{unknown}'{did_you_mean(unknown, [row.name for row in rows])}")
    return Table(tuple(rows), absent)


def _add(rows: list[Row], absent: dict[str, str], kind: str, task: _Task) -> None:
    """Adds the rows of a kind whose plans are not there yet, and why there is none of it."""
    try:
        for name, plan in _MAKERS[kind](task):
            same = next((each for each in rows if _is_same(each.plan, plan)), None)
            if same is None:
                rows.append(_row(name, kind, plan, task.fleet, task.variant))
            else:
                absent[name] = f"is the plan of '{same.name}'"
    except MultiedgeError as error:
        absent[task.variant or kind] = str(error)


def _undominated(rows: list[Row], absent: dict[str, str]) -> list[Row]:
    """The rows that no other one equals or beats in all respects; notes by which one others are."""
    beaten = {row.name: better.name for row in rows if row.kind != ONLY_ROW and (better := _better(row, rows))}
    absent |= {name: f"'{better}' equals or beats it in all respects" for name, better in beaten.items()}
    return [row for row in rows if row.name not in beaten]


def expected_of(plan: Plan, fleet: Fleet | None = None) -> Expected:
    """What a plan promises; energy of each device only with the fleet. Latency is with what the executor itself takes, if that
    is known."""
    expected = plan.estimate
    latency_s = expected.latency_s if expected.expected_latency_s is None else expected.expected_latency_s
    return Expected(
        _finite(expected.fps_bound),
        _finite(latency_s),
        tuple(NodeMemory(each.device, each.planned_bytes, each.limit_bytes) for each in expected.memory),
        expected.energy_j,
        work=_work(plan, fleet) if plan.is_estimated else (),
    )


def draw_table(table: Table, folder: Path) -> list[Path]:
    """Writes pareto-latency.svg and, where they are known, pareto-energy.svg and pareto-accuracy.svg; returns the files."""
    written = []
    for kind, (title, unit, figure) in _COSTS.items():
        points = []
        for number, row in enumerate(table.rows, start=1):
            cost = figure(row.expected)
            if cost is not None and row.expected.items_per_s is not None:
                points.append(Point(number, row.name, row.expected.items_per_s, cost))
        if points:
            drawing = draw(points, "items/s", unit, "throughput", title)
            written.append(write_text(folder / f"pareto-{kind}.svg", standalone(drawing)))
    return written


# -- the kinds ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Task:
    profile: Profile
    fleet: Fleet
    earlier: tuple[Row, ...]
    variant: str = ""

    @property
    def source(self) -> str:
        """The calling device."""
        if self.fleet.source is None:
            raise ConfigError("the calling device is not known; give --source NODE, or `source:` in --devices")
        return self.fleet.source


def _fastest(task: _Task) -> Iterator[tuple[str, Plan]]:
    yield "fastest", plan_model(task.profile, task.fleet, "throughput")


def _quickest(task: _Task) -> Iterator[tuple[str, Plan]]:
    yield "quickest", plan_model(task.profile, task.fleet, "latency")


def _energy(task: _Task) -> Iterator[tuple[str, Plan]]:
    yield "energy", plan_model(task.profile, task.fleet, "energy", tolerance=0.01, time_limit_s=10.0)


def _local(task: _Task) -> Iterator[tuple[str, Plan]]:
    yield "local", plan_model(task.profile, task.fleet, "single", first_on=task.source, last_on=task.source)


def _fallback(task: _Task) -> Iterator[tuple[str, Plan]]:
    """A plan without the most loaded device of the first row, and one without each other of its devices that every row needs.
    The calling device is left out, since nobody asks without it."""
    fleet = task.fleet
    first = task.earlier[0].plan if task.earlier else plan_model(task.profile, fleet, "throughput")
    work = sorted(_work(first, fleet), key=lambda each: -each.busy_s)
    loaded = [each.node for each in work if each.busy_s and each.node != fleet.source]
    if not loaded:
        raise InfeasibleError("the calling device alone computes, and nobody asks without it")
    avoided, refused = [row.devices for row in task.earlier], None
    for number, name in enumerate(loaded):
        if number and any(name not in devices for devices in avoided):
            continue
        try:
            plan = _without(task, name)
        except InfeasibleError as error:
            refused = refused or InfeasibleError(f"without '{name}': {error}")
            continue
        avoided.append(tuple(device for stage in plan.stages for device in stage.devices))
        yield f"without-{name}", plan
    if refused:
        raise refused


def _without(task: _Task, name: str) -> Plan:
    if len(task.fleet.devices) == 1:
        raise InfeasibleError(f"{task.fleet.name} has no other device")
    return plan_model(task.profile, task.fleet.without(name), "throughput")


def _branches(task: _Task) -> Iterator[tuple[str, Plan]]:
    plan = plan_model(task.profile, task.fleet, "branches")
    chain = plan_model(task.profile, task.fleet, "latency")
    if plan.estimate.latency_s >= chain.estimate.latency_s * (1 - _SAME):
        raise InfeasibleError("no split over branches is quicker than stages one after another")
    yield "branches", plan


def _float16(task: _Task) -> Iterator[tuple[str, Plan]]:
    """The fastest plan with tensors sent as float16; those between the calling device and others as they are if they must."""
    if len(task.fleet.devices) == 1:
        raise InfeasibleError(f"{task.fleet.name} has no device to send to")
    try:
        plan = plan_model(task.profile, _rounding(task.fleet, task.fleet.names), "throughput")
    except PlanError:
        others = [name for name in task.fleet.names if name != task.fleet.source]
        plan = plan_model(task.profile, _rounding(task.fleet, others), "throughput")
    if not _rounds(plan):
        raise InfeasibleError("the fastest plan sends no tensor as float16")
    yield "float16", plan


def _rounding(fleet: Fleet, names: Sequence[str]) -> Fleet:
    """The fleet with float16 on all links between some devices."""
    links = {pair: replace(fleet.link(*pair), encoding=Encoding.FLOAT16) for pair in permutations(names, 2)}
    return replace(fleet, links={**fleet.links, **links})


def _precision(task: _Task) -> Iterator[tuple[str, Plan]]:
    yield task.variant, plan_model(task.profile, task.fleet, "throughput")


def _pinned(name: str, *, first: bool, last: bool) -> Callable[[_Task], Iterator[tuple[str, Plan]]]:
    """The quickest plan with stages on the calling device: one after another, or split over branches and joined."""

    def make(task: _Task) -> Iterator[tuple[str, Plan]]:
        pins = {"first_on": task.source if first else "", "last_on": task.source if last else ""}
        plans, refused = [], None
        for strategy in ("latency", "branches"):
            try:
                plans.append(plan_model(task.profile, task.fleet, strategy, **pins))
            except InfeasibleError as error:
                refused = refused or error
        if refused and not plans:
            raise refused
        yield name, min(plans, key=lambda plan: plan.estimate.latency_s)

    return make


_MAKERS: Mapping[str, Callable[[_Task], Iterator[tuple[str, Plan]]]] = {
    "fastest": _fastest,
    "quickest": _quickest,
    "energy": _energy,
    "local": _local,
    "fallback": _fallback,
    "branches": _branches,
    "float16": _float16,
    "first": _pinned("first", first=True, last=False),
    "last": _pinned("last", first=False, last=True),
    "both": _pinned("both", first=True, last=True),
    PRECISION: _precision,
}


# -- figures ------------------------------------------------------------------------------------------------------------


def _row(name: str, kind: str, plan: Plan, fleet: Fleet, variant: str = "") -> Row:
    return Row(name, kind, plan, expected_of(plan, fleet), variant)


def _rounds(plan: Plan) -> bool:
    return any(move.encoding is Encoding.FLOAT16 for move in plan.transfers)


def _work(plan: Plan, fleet: Fleet | None) -> tuple[NodeWork, ...]:
    """What an item takes of each device that computes or sends, on average over the paths."""
    shares = Shares.of(len(plan.stages), plan.paths)
    source = plan.estimate.source
    busy_s: dict[str, float] = {}
    sent: dict[str, float] = {source.device: float(source.sent_bytes)} if source else {}
    for stage, expected, share in zip(plan.stages, plan.estimate.stages, shares.stages, strict=True):
        for device in stage.devices:
            busy_s[device] = busy_s.get(device, 0.0) + expected.compute_s * share / len(stage.devices)
            sent[device] = sent.get(device, 0.0) + (expected.sent_bytes or 0) * share / len(stage.devices)
    return tuple(
        NodeWork(
            name, busy_s.get(name, 0.0), sent.get(name, 0.0), _joules(fleet, name, busy_s.get(name, 0.0), sent.get(name, 0.0))
        )
        for name in dict.fromkeys((*busy_s, *sent))
    )


def _joules(fleet: Fleet | None, name: str, busy_s: float, sent_bytes: float) -> float | None:
    """What an item takes beyond waiting; None where the device states no power."""
    device = fleet.by_name.get(name) if fleet else None
    if device is None or device.power is None:
        return None
    return (device.power.busy_w - device.power.idle_w) * busy_s + device.joules_per_byte * sent_bytes


def _is_same(one: Plan, other: Plan) -> bool:
    return (one.model_hash, one.stages, one.transfers, one.paths) == (
        other.model_hash,
        other.stages,
        other.transfers,
        other.paths,
    )


def _better(row: Row, rows: Sequence[Row]) -> Row | None:
    """A row that equals or beats this one in all respects: of equal ones the first stays."""
    mine, is_before = _respects(row), True
    for other in rows:
        if other is row:
            is_before = False
            continue
        theirs = _respects(other)
        is_beaten = is_before or any(a < b * (1 - _SAME) for a, b in zip(theirs, mine, strict=True))
        if is_beaten and all(a <= b * (1 + _SAME) for a, b in zip(theirs, mine, strict=True)):
            return other
    return None


def _respects(row: Row) -> tuple[float, float, float, float]:
    """Seconds per item, latency, joules and whether tensors are rounded; less is better, what is not known is inf."""
    expected = row.plan.estimate
    energy_j = math.inf if expected.energy_j is None else expected.energy_j
    return expected.bottleneck_s, expected.latency_s, energy_j, float(_rounds(row.plan))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
