"""Plans as JSON data: what `multiedge plan --json` prints and what `plan.json` holds under "plan".

All times are seconds, all sizes bytes. `nodes` are half-open ranges of indices in topological order; `first_node` and
`last_node` are indices too, both inclusive. A number that is not known is null.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from multiedge.errors import PlanError, describe
from multiedge.fleet import Encoding
from multiedge.formats.fields import Field, Kind
from multiedge.formats.pipeline_cost import pipeline_cost_to_json, read_pipeline_cost
from multiedge.formats.profile import plain_data
from multiedge.plan import (
    CALLER,
    Baseline,
    DeviceMemory,
    Estimate,
    MeasuredAccuracy,
    Path,
    Plan,
    Runtime,
    SourceEstimate,
    Stage,
    StageEstimate,
    Transfer,
)
from multiedge.proof import Plans, Scope, scope_in_words
from multiedge.quantity import Knowledge
from multiedge.step_costs import StepCost, StepSize

VERSION = 1
PLAN = Kind("plan", PlanError, "write it anew with: multiedge plan")
MOST_NODES = 1 << 24
"""A larger index of a node is an error."""
NO_LIMIT_BYTES = 1 << 62
"""What files of earlier releases hold where there is no limit."""


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON data; names that the plan does not hold (see `Plan.with_names`) are null."""
    expected = plan.estimate
    ends = plan.stage_ends or ((None, None),) * len(plan.stages)
    data = {
        "version": VERSION,
        "model": plan.model,
        "model_hash": plan.model_hash,
        "strategy": plan.strategy,
        "objective": plan.objective,
        "value": _number(plan.value),
        "lower_bound": _number(plan.lower_bound),
        "gap": _number(plan.gap),
        "bound_scope": plan.bound_scope,
        "scope": _scope(plan.scope) if plan.scope else None,
        "solve_s": plan.solve_s,
        "bottleneck_s": expected.bottleneck_s,
        "bottleneck": expected.bottleneck,
        "fps_bound": _number(expected.fps_bound),
        "latency_s": expected.latency_s,
        "fps_expected": _number(expected.fps_expected),
        "expected_s": _number(expected.expected_s),
        "expected_latency_s": _number(expected.expected_latency_s),
        "pipeline": pipeline_cost_to_json(expected.pipeline),
        "energy_j": _number(expected.energy_j),
        "network_bytes": expected.network_bytes,
        "source": _source(expected.source) if expected.source else None,
        "memory": [asdict(each) for each in expected.memory],
        "stages": [_stage(*each) for each in zip(plan.stages, expected.stages, ends, strict=True)],
        "transfers": [transfer_to_json(move) for move in plan.transfers],
        "paths": [{"stages": list(path.stages), "items_per_s": path.items_per_s} for path in plan.paths],
        "left_out": dict(plan.left_out),
        "notes": list(plan.notes),
        "best_single_device": _baseline(plan.baseline) if plan.baseline else None,
        "input_shapes": {name: list(shape) for name, shape in plan.input_shapes.items()},
        "free_batch": list(plan.free_batch),
        "measured_sizes": list(plan.measured_sizes),
        "batch": plan.batch,
        "options": plain_data(plan.options),
        "known": plan.known.value,
        "reference": plan.reference,
    }
    runtimes = {device: asdict(runtime) for device, runtime in plan.runtimes.items()}
    sequences = plan.sequences if plan.sequences > 1 else None
    accuracy = asdict(plan.accuracy) if plan.accuracy else None
    steps = [_step(cost) for cost in plan.steps]
    optional = {
        "runtimes": runtimes,
        "accuracy": accuracy,
        "recomputed": list(plan.recomputed),
        "sequences": sequences,
        "steps": steps,
    }
    return {**data, **{key: value for key, value in optional.items() if value}}


def _step(cost: StepCost) -> dict[str, Any]:
    size = cost.size
    times_s = {"latency_s": cost.latency_s, "interval_s": cost.interval_s, "full_latency_s": cost.full_latency_s}
    return {"tokens": size.tokens, "context": size.context, **times_s}


def _read_step(data: Field) -> StepCost:
    size = StepSize(data["tokens"].integer(1), data["context"].integer(1))
    latency_s = data["latency_s"].number()
    full_latency_s = data["full_latency_s"].optional(Field.number, latency_s)
    return StepCost(size, latency_s, data["interval_s"].number(), full_latency_s)


def _scope(scope: Scope) -> dict[str, Any]:
    return {
        "plans": scope.plans.value,
        "replicas": scope.replicas,
        "least_fps": scope.least_fps,
        "most_latency_s": scope.most_latency_s,
        "most_memory_bytes": scope.most_memory_bytes,
        "first_on": scope.first_on or None,
        "last_on": scope.last_on or None,
        "words": scope.words,
    }


def _source(source: SourceEstimate) -> dict[str, Any]:
    return {"device": source.device, "transfer_s": source.transfer_s, "sent_bytes": source.sent_bytes}


def _baseline(baseline: Baseline) -> dict[str, Any]:
    return {
        "device": baseline.device or None,
        "value": _number(baseline.value),
        "known": baseline.known.value,
        "expected_s": _number(baseline.expected_s),
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
        "sent_bytes": expected.sent_bytes,
    }


def _number(value: float | None) -> float | None:
    """JSON knows no infinity: what has no finite value is null."""
    return None if value is None or not math.isfinite(value) else value


def plan_from_json(data: object, place: str = "plan") -> Plan:
    """The plan that `plan_to_json` wrote; PlanError that names the field if something is missing or of another kind."""
    return read_plan(Field(data, place, PLAN))


def plan_or_none(data: Field) -> Plan | None:
    """The plan in a field; None where it is missing, null or empty, as files of runs without a plan have it."""
    return read_plan(data) if data.given and data.value != {} else None


def read_plan(data: Field) -> Plan:
    """The plan in a field of a file, whose kind of error it raises."""
    if not isinstance(data.value, Mapping):
        raise data.expected("a plan")
    if data["version"].value != VERSION:
        raise data.error(f"expected a plan of version {VERSION}, got {describe(data['version'].value)}")
    value = data["value"].optional(Field.number)
    stages = data["stages"].items()
    ends = tuple((_name(stage["first_node_name"]), _name(stage["last_node_name"])) for stage in stages)
    return Plan(
        strategy=data["strategy"].text(),
        objective=data["objective"].text(),
        stages=tuple(_read_stage(stage) for stage in stages),
        transfers=read_transfers(data["transfers"], len(stages)),
        estimate=_read_estimate(data),
        value=math.inf if value is None else value,
        lower_bound=data["lower_bound"].optional(Field.number),
        scope=data["scope"].optional(_read_scope, scope_in_words(data["bound_scope"].text())),
        solve_s=data["solve_s"].number(),
        left_out=data["left_out"].mapping_of(Field.text),
        notes=data["notes"].list_of(Field.text),
        model_hash=data["model_hash"].text(),
        model=_name(data["model"]),
        stage_ends=ends if any(map(any, ends)) else (),
        baseline=data["best_single_device"].optional(_read_baseline),
        input_shapes=data["input_shapes"].optional(lambda shapes: shapes.mapping_of(_shape), {}),
        free_batch=data["free_batch"].optional(lambda names: names.list_of(Field.text), ()),
        measured_sizes=data["measured_sizes"].optional(lambda names: names.list_of(Field.text), ()),
        batch=data["batch"].optional(lambda batch: batch.integer(1), 1),
        runtimes=data["runtimes"].optional(lambda devices: devices.mapping_of(_read_runtime), {}),
        sequences=data["sequences"].optional(lambda count: count.integer(1), 1),
        recomputed=data["recomputed"].optional(lambda names: names.list_of(Field.text), ()),
        accuracy=data["accuracy"].optional(_read_accuracy),
        steps=data["steps"].optional(lambda steps: steps.list_of(_read_step), ()),
        options=data["options"].optional(lambda options: options.mapping_of(Field.data), {}),
        known=_known(data["known"]),
        reference=_name(data["reference"]),
        paths=data["paths"].optional(lambda paths: paths.list_of(lambda path: _read_path(path, len(stages))), ()),
    )


def _read_scope(data: Field) -> Scope:
    return Scope(
        plans=data["plans"].enum(Plans),
        replicas=data["replicas"].boolean(),
        least_fps=data["least_fps"].optional(Field.number),
        most_latency_s=data["most_latency_s"].optional(Field.number),
        most_memory_bytes=data["most_memory_bytes"].optional(Field.count),
        first_on=_name(data["first_on"]),
        last_on=_name(data["last_on"]),
        words=data["words"].text(),
    )


def _read_path(path: Field, stages: int) -> Path:
    numbers = path["stages"].list_of(lambda number: number.integer(0, stages - 1), least=1)
    if list(numbers) != sorted(set(numbers)):
        raise path["stages"].expected("numbers of stages, ascending")
    rate = path["items_per_s"].number()
    if rate <= 0:
        raise path["items_per_s"].expected("a rate above 0")
    return Path(numbers, rate)


def _read_runtime(data: Field) -> Runtime:
    return Runtime(data["backend"].text(), data["version"].text(), data["precision"].text())


def _read_accuracy(data: Field) -> MeasuredAccuracy:
    reference, value, limit = (data[name].number(least=0) for name in ("reference", "value", "limit"))
    return MeasuredAccuracy(data["kind"].text(), data["items"].count(), reference, value, limit)


def _read_baseline(data: Field) -> Baseline:
    return Baseline(
        _name(data["device"]),
        data["value"].optional(Field.number),
        _known(data["known"]),
        data["expected_s"].optional(Field.number),
    )


def _known(field: Field) -> Knowledge:
    return field.optional(lambda known: known.enum(Knowledge), Knowledge.ESTIMATED)


def _name(field: Field) -> str:
    """A name for people, '' where there is none."""
    return field.optional(Field.text, "")


def _read_stage(stage: Field) -> Stage:
    ranges = stage["nodes"].list_of(lambda pair: pair.pair_of(_index), least=1)
    nodes = tuple(node for start, stop in ranges for node in range(start, stop))
    return Stage(stage["device"].text(), nodes, stage["replicas"].list_of(Field.text))


def _shape(field: Field) -> tuple[int, ...]:
    return field.list_of(Field.count)


def _index(field: Field) -> int:
    return field.integer(0, MOST_NODES)


def transfer_to_json(move: Transfer) -> dict[str, Any]:
    """A transfer as plans and manifests list it; without an encoding as earlier releases wrote it."""
    data = {"source": move.source, "target": move.target, "tensors": list(move.tensors), "nbytes": move.nbytes}
    return data if move.encoding is Encoding.NONE else {**data, "encoding": move.encoding.value}


def read_transfers(moves: Field, stages: int) -> tuple[Transfer, ...]:
    """The messages between that many stages, as plans and manifests list them."""
    return tuple(
        Transfer(
            move["source"].integer(CALLER, stages - 1),
            move["target"].integer(CALLER, stages - 1),
            move["tensors"].list_of(Field.text),
            move["nbytes"].optional(Field.count),
            move["encoding"].optional(lambda field: field.enum(Encoding), Encoding.NONE),
        )
        for move in moves.items()
    )


def known_limit(nbytes: int | None) -> int | None:
    """A limit of memory as files hold it; None for no limit, which earlier releases wrote as a number of bytes."""
    return None if nbytes is None or nbytes >= NO_LIMIT_BYTES else nbytes


def _read_estimate(data: Field) -> Estimate:
    return Estimate(
        stages=data["stages"].list_of(_read_stage_estimate),
        bottleneck_s=data["bottleneck_s"].number(),
        bottleneck=data["bottleneck"].text(),
        latency_s=data["latency_s"].number(),
        energy_j=data["energy_j"].optional(Field.number),
        network_bytes=data["network_bytes"].count(),
        source=data["source"].optional(_read_source),
        memory=data["memory"].list_of(_read_memory) if data["memory"].given else _memory_of_stages(data["stages"].items()),
        pipeline=data["pipeline"].optional(read_pipeline_cost),
        expected_s=data["expected_s"].optional(Field.number),
        expected_latency_s=data["expected_latency_s"].optional(Field.number),
    )


def _read_memory(data: Field) -> DeviceMemory:
    return DeviceMemory(
        data["device"].text(),
        data["planned_bytes"].count(),
        known_limit(data["limit_bytes"].optional(Field.count)),
        data["margin"].number(least=0),
    )


def _memory_of_stages(stages: Sequence[Field]) -> tuple[DeviceMemory, ...]:
    """For earlier files, which state the memory of stages only: of the devices with one stage, others are not known."""
    expected = [(device, _read_stage_estimate(stage)) for stage in stages for device in _read_stage(stage).devices]
    held = Counter(device for device, _ in expected)
    return tuple(
        DeviceMemory(device, stage.memory_bytes, stage.memory_limit_bytes)
        for device, stage in expected
        if held[device] == 1 and stage.memory_bytes
    )


def _read_source(data: Field) -> SourceEstimate:
    return SourceEstimate(data["device"].text(), data["transfer_s"].number(), data["sent_bytes"].count())


def _read_stage_estimate(stage: Field) -> StageEstimate:
    return StageEstimate(
        compute_s=stage["compute_s"].number(),
        transfer_s=stage["transfer_s"].number(),
        memory_bytes=stage["memory_bytes"].count(),
        memory_limit_bytes=known_limit(stage["memory_limit_bytes"].optional(Field.count)),
        utilisation=stage["utilisation"].number(),
        sent_bytes=stage["sent_bytes"].optional(Field.count),
    )
