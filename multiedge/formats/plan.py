"""Plans as JSON data: what `multiedge plan --json` prints and what `plan.json` holds under "plan".

All times are seconds, all sizes bytes. `nodes` are half-open ranges of indices in topological order; `first_node` and
`last_node` are indices too, both inclusive. A number that is not known is null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from multiedge.errors import PlanError
from multiedge.plan import Estimate, Plan, Stage, StageEstimate, Transfer

VERSION = 1
NO_LIMIT_BYTES = 1 << 62
"""What files of earlier releases hold where there is no limit."""


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON data; names that the plan does not hold (see `Plan.with_names`) are null."""
    expected = plan.estimate
    ends = plan.stage_ends or ((None, None),) * len(plan.stages)
    return {
        "version": VERSION,
        "model": plan.model,
        "model_hash": plan.model_hash,
        "strategy": plan.strategy,
        "objective": plan.objective,
        "value": _number(plan.value),
        "lower_bound": _number(plan.lower_bound),
        "gap": _number(plan.gap),
        "bound_scope": plan.bound_scope,
        "solve_s": plan.solve_s,
        "bottleneck_s": expected.bottleneck_s,
        "bottleneck": expected.bottleneck,
        "fps_bound": _number(expected.fps_bound),
        "latency_s": expected.latency_s,
        "energy_j": _number(expected.energy_j),
        "network_bytes": expected.network_bytes,
        "stages": [_stage(*each) for each in zip(plan.stages, expected.stages, ends, strict=True)],
        "transfers": [
            {"source": move.source, "target": move.target, "tensors": list(move.tensors), "nbytes": move.nbytes}
            for move in plan.transfers
        ],
        "left_out": dict(plan.left_out),
        "notes": list(plan.notes),
    }


def _stage(stage: Stage, expected: StageEstimate, ends: tuple[str | None, str | None]) -> dict[str, Any]:
    first_name, last_name = ends
    return {
        "device": stage.device,
        "replicas": list(stage.replicas),
        "first_node": stage.nodes[0],
        "last_node": stage.nodes[-1],
        "first_node_name": first_name,
        "last_node_name": last_name,
        "nodes": [list(pair) for pair in stage.ranges],
        "compute_s": expected.compute_s,
        "transfer_s": expected.transfer_s,
        "memory_bytes": expected.memory_bytes,
        "memory_limit_bytes": expected.memory_limit_bytes,
        "utilisation": expected.utilisation,
    }


def _number(value: float | None) -> float | None:
    """JSON knows no infinity: what has no finite value is null."""
    return None if value is None or not math.isfinite(value) else value


def plan_from_json(data: Mapping[str, Any], place: str = "plan") -> Plan:
    """The plan that `plan_to_json` wrote; PlanError that names the field if something is missing or of another kind."""
    version = data.get("version") if isinstance(data, Mapping) else None
    if version != VERSION:
        raise PlanError(f"{place}: expected a plan of version {VERSION}, got {version!r}; write it anew with: multiedge plan")
    fields = _Fields(data, place)
    stages = [_Fields(entry, f"{place}.stages[{index}]") for index, entry in enumerate(fields.get("stages", list))]
    moves = [_Fields(entry, f"{place}.transfers[{index}]") for index, entry in enumerate(fields.get("transfers", list))]
    objective = fields.get("objective", str)
    return Plan(
        strategy=fields.get("strategy", str),
        objective=objective,
        stages=tuple(_read_stage(stage) for stage in stages),
        transfers=tuple(_read_transfer(move) for move in moves),
        estimate=_read_estimate(fields, stages),
        value=math.inf if fields.optional("value") is None else fields.number("value"),
        lower_bound=fields.optional("lower_bound"),
        bound_scope=fields.get("bound_scope", str),
        solve_s=fields.number("solve_s"),
        left_out=fields.get("left_out", dict),
        notes=tuple(fields.get("notes", list)),
        model_hash=fields.get("model_hash", str),
        model=fields.text("model"),
        stage_ends=_read_ends(stages),
    )


def _read_ends(stages: Sequence[_Fields]) -> tuple[tuple[str, str], ...]:
    ends = tuple((stage.text("first_node_name"), stage.text("last_node_name")) for stage in stages)
    return ends if any(map(any, ends)) else ()


class _Fields:
    """A JSON object whose fields are checked as they are read."""

    def __init__(self, data: Any, place: str) -> None:
        if not isinstance(data, Mapping):
            raise PlanError(f"{place}: expected an object, got {type(data).__name__}")
        self.data = data
        self.place = place

    def get(self, key: str, kind: type | tuple[type, ...]) -> Any:
        if key not in self.data:
            raise PlanError(f"{self.place}.{key}: missing")
        if not isinstance(self.data[key], kind) or isinstance(self.data[key], bool):
            raise PlanError(f"{self.place}.{key}: expected {_kind_name(kind)}, got {self.data[key]!r}")
        return self.data[key]

    def number(self, key: str) -> float:
        return float(self.get(key, (int, float)))

    def text(self, key: str) -> str:
        """A text that may be missing: '' then."""
        return "" if self.data.get(key) is None else str(self.get(key, str))

    def optional(self, key: str) -> float | None:
        return None if self.data.get(key) is None else self.number(key)


def _kind_name(kind: type | tuple[type, ...]) -> str:
    return (
        "a number" if isinstance(kind, tuple) else {str: "a text", int: "a whole number", list: "a list"}.get(kind, "an object")
    )


def _read_stage(stage: _Fields) -> Stage:
    ranges = stage.get("nodes", list)
    if not all(isinstance(pair, Sequence) and len(pair) == 2 and all(isinstance(end, int) for end in pair) for pair in ranges):
        raise PlanError(f"{stage.place}.nodes: expected pairs of indices such as [[0, 12]], got {ranges!r}")
    nodes = tuple(node for start, stop in ranges for node in range(start, stop))
    return Stage(stage.get("device", str), nodes, tuple(stage.get("replicas", list)))


def read_limit(nbytes: float | None) -> int | None:
    """A limit of memory as files hold it; None if there is none."""
    return None if nbytes is None or nbytes >= NO_LIMIT_BYTES else int(nbytes)


def _read_transfer(move: _Fields) -> Transfer:
    return Transfer(move.get("source", int), move.get("target", int), tuple(move.get("tensors", list)), move.get("nbytes", int))


def _read_estimate(fields: _Fields, stages: Sequence[_Fields]) -> Estimate:
    return Estimate(
        stages=tuple(
            StageEstimate(
                compute_s=stage.number("compute_s"),
                transfer_s=stage.number("transfer_s"),
                memory_bytes=stage.get("memory_bytes", int),
                memory_limit_bytes=read_limit(stage.optional("memory_limit_bytes")),
                utilisation=stage.number("utilisation"),
            )
            for stage in stages
        ),
        bottleneck_s=fields.number("bottleneck_s"),
        bottleneck=fields.get("bottleneck", str),
        latency_s=fields.number("latency_s"),
        energy_j=fields.optional("energy_j"),
        network_bytes=fields.get("network_bytes", int),
    )
