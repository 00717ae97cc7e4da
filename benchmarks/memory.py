"""Planned memory against the peaks that workers reach, part by part; and whether plans at their smallest limit run.

    python benchmarks/memory.py [MODEL ...] [--backends NAME ...] [--parts 2 3] [--items 30] [--json FILE]

Each model is split into parts of equal work; each part runs in a worker of its own (`processes`, nothing emulated). Planned is
the cost model's figure for the device with the default size of its runtime, seen is the worker's VmHWM, loading included.
Backends that convert run the models with trained weights alone.
Then the devices get the smallest memory, the same on each, for which a plan is called feasible with the default margin, and
that plan runs with the limits emulated: `seen` is the largest peak, which must not be above the limit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import onnx

from benchmarks.models import path_of
from benchmarks.page import Benchmark
from benchmarks.record import Figure, Measure, Record, Row, add_option
from benchmarks.tables import Column, case, figure, table
from multiedge.errors import MultiedgeError
from multiedge.executors import open_pipeline
from multiedge.executors.workers.options import Emulation
from multiedge.fleet import DEFAULT_MEMORY_MARGIN, REFERENCE_BACKEND, Device, Fleet, default_runtime_bytes
from multiedge.graph import Graph
from multiedge.measurements import Measurements
from multiedge.onnx_io import read_graph, write_parts
from multiedge.onnx_io.items import random_items
from multiedge.plan import Plan
from multiedge.run import plan_model, profile_model
from partitioners.engine.remedy import least_memory_bytes

AIMED = ("vit_b16", "efficientnet_lite0", "light_squeezenet", "vgg19")
MODELS = (*AIMED, "light_densenet121", "squeezenet")
REFERENCE_ONLY = ("light_squeezenet", "vgg19", "light_densenet121")
"""Not for backends that convert: random weights give values of which some conversions are wrong."""
BACKENDS = (REFERENCE_BACKEND, "openvino", "mnn", "litert", "ncnn")
PARTS = (2, 3)
AIM = 0.10
LIMIT = "at the limit"
WITH_LIMITS = Emulation(speed=False, links=False, affinity=False)


def measure(models: Sequence[str], backends: Sequence[str], parts: Sequence[int], items: int) -> list[Row]:
    """A row for each part of each split with each backend."""
    cases = [
        (backend, model, number)
        for backend in backends
        for model in models
        if backend == REFERENCE_BACKEND or model not in REFERENCE_ONLY
        for number in parts
    ]
    rows: list[Row] = []
    for backend, model, number in cases:
        print(f"{model} in {number} parts, {backend}", file=sys.stderr, flush=True)
        try:
            rows += split(model, number, items, backend)
        except (MultiedgeError, LookupError) as error:
            rows.append(Row({"model": model, "parts": number, "part": "-", "backend": backend}, failure=str(error)))
    return rows


def split(model: str, parts: int, items: int, backend: str) -> list[Row]:
    """The rows of one model in so many parts."""
    size = default_runtime_bytes(backend)
    device = Device("d", speed=1.0, backend=backend, runtime_bytes=size, memory_margin=DEFAULT_MEMORY_MARGIN)
    fleet = Fleet(tuple(replace(device, name=f"d{number + 1}") for number in range(parts)))
    with tempfile.TemporaryDirectory(prefix="multiedge-memory-") as folder:
        graph = read_graph(_weighted(path_of(model), Path(folder)))
        plan = plan_model(profile_model(graph, fleet), fleet, "equal_flops")
        measurements = _run(graph, plan, fleet, Path(folder) / "parts", items, Emulation.none())
        at_limit = smallest_limit(graph, fleet, Path(folder) / "limited", items)
    seen = {memory.device: memory.peak_bytes for memory in measurements.memory}
    rows = []
    for number, stage in enumerate(plan.stages):
        planned, peak = plan.estimate.planned_bytes[stage.device], seen[stage.device]
        figures = {"planned_bytes": Figure(planned)}
        if peak:
            figures |= {"seen_bytes": Figure(peak), "error": Figure(planned / peak - 1)}
        rows.append(Row({"model": model, "parts": parts, "part": number + 1, "backend": backend}, figures))
    return [*rows, Row({"model": model, "parts": parts, "part": LIMIT, "backend": backend}, at_limit)]


def smallest_limit(graph: Graph, fleet: Fleet, folder: Path, items: int) -> dict[str, Figure]:
    """What happens with the least memory, the same on each device, for which a plan is feasible."""
    profile = profile_model(graph, fleet)
    limit = least_memory_bytes(profile, fleet)
    limited = fleet.with_memory_cap(limit)
    plan = plan_model(profile, limited)
    measurements = _run(graph, plan, limited, folder, items, WITH_LIMITS)
    largest = max(memory.peak_bytes or 0 for memory in measurements.memory)
    return {
        "limit_bytes": Figure(limit),
        "planned_bytes": Figure(max(plan.estimate.planned_bytes.values())),
        "seen_bytes": Figure(largest),
        "used": Figure(largest / limit),
        "faults": Figure(len(measurements.faults)),
    }


def _run(graph: Graph, plan: Plan, fleet: Fleet, folder: Path, items: int, emulation: Emulation) -> Measurements:
    """Of a run in which every item was answered."""
    manifest = write_parts(graph, plan, folder)
    with open_pipeline(manifest, fleet, "processes", emulation=emulation, record_events=False) as pipeline:
        results, measurements = pipeline.map(random_items(manifest, items))
    for result in results:
        result.require()
    return measurements


def _weighted(path: Path, folder: Path) -> Path:
    """The model itself, or, if it computes its weights from shapes (`light_*`), a copy in `folder` with seeded weights."""
    model = onnx.load(path, load_external_data=False)
    shapes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.data_type == 7}
    constants = [node for node in model.graph.node if node.op_type == "ConstantOfShape" and node.input[0] in shapes]
    if not constants:
        return path
    rng = np.random.default_rng(0)
    for node in constants:
        values = 0.02 * rng.standard_normal(shapes[node.input[0]].astype(int)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, node.output[0]))
        model.graph.node.remove(node)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)
    target = folder / path.name
    onnx.save(model, target)
    return target


def _backend_of(row: Row) -> str:
    """The row's backend; records of before there were several name none."""
    return str(row.case.get("backend", REFERENCE_BACKEND))


def _within(rows: Sequence[Row]) -> str:
    """Of how many parts the planned memory is near the peak, for each backend."""
    texts = []
    for backend in dict.fromkeys(map(_backend_of, rows)):
        errors = [error for row in rows if _backend_of(row) == backend and (error := row.median("error")) is not None]
        if errors:
            texts.append(f"{sum(abs(error) <= AIM for error in errors)} of {len(errors)} with {backend}")
    return ", ".join(texts)


def section(record: Record) -> str:
    """What the record says, and its table."""
    errors = {id(row): error for row in record.rows if (error := row.median("error")) is not None}
    aimed = [errors[id(row)] for row in record.rows if id(row) in errors and row.case["model"] in AIMED]
    above = 1 / (1 + min(errors.values(), default=0.0)) - 1
    parts = [row for row in record.rows if row.case["part"] != LIMIT]
    limits = [row for row in record.rows if row.case["part"] == LIMIT]
    held = sum((used := row.median("used")) is not None and used <= 1 and not row.median("faults") for row in limits)
    backend = Column("backend", _backend_of)
    columns = [
        case("model"),
        backend,
        case("parts"),
        case("part"),
        figure("planned_bytes", "planned, MiB", ".1f", 2.0**-20),
        figure("seen_bytes", "VmHWM, MiB", ".1f", 2.0**-20),
        figure("error", "error, %", "+.1f", 100),
    ]
    at_limit = [
        case("model"),
        backend,
        case("parts"),
        figure("limit_bytes", "limit, MiB", ".1f", 2.0**-20),
        figure("planned_bytes", "planned, MiB", ".1f", 2.0**-20),
        figure("seen_bytes", "VmHWM, MiB", ".1f", 2.0**-20),
        figure("used", "used, %", ".0f", 100),
        figure("faults", "faults", ".0f"),
    ]
    return (
        f"The plan is within {AIM:.0%} of the worker's peak for {_within(parts)}"
        f" ({sum(abs(error) <= AIM for error in aimed)} of {len(aimed)} parts of {', '.join(AIMED)});"
        f" the largest peak is {above:.1%} above its plan.\n\n{table(columns, parts)}\n\n"
        f"At the smallest limit for which a plan is called feasible, {held} of {len(limits)} plans run without a fault, and"
        f" with each peak below the limit:\n\n{table(at_limit, limits)}"
    )


BENCHMARK = Benchmark(
    "memory",
    "Planned memory against measured peaks",
    {
        "planned_bytes": Measure("B", "memory of the device by the cost model"),
        "seen_bytes": Measure("B", "VmHWM of the worker at the end of the run"),
        "error": Measure("1", "planned over seen, less one"),
        "limit_bytes": Measure("B", "the least memory of each device for which a plan is feasible"),
        "used": Measure("1", "the largest peak over the limit"),
        "faults": Measure("1", "faults of the run with limits"),
    },
    section,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"ONNX files or names (default: {' '.join(MODELS)})")
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS), help=f"default: {' '.join(BACKENDS)}")
    parser.add_argument("--parts", type=int, nargs="+", default=list(PARTS))
    parser.add_argument("--items", type=int, default=30)
    add_option(parser)
    args = parser.parse_args()
    sizes = {f"runtime_bytes of {name}": default_runtime_bytes(name) for name in args.backends}
    settings = {"items": args.items, "memory_margin": DEFAULT_MEMORY_MARGIN, **sizes}
    return BENCHMARK.finish(settings, lambda: measure(args.models, args.backends, args.parts, args.items), args.json)


if __name__ == "__main__":
    sys.exit(main())
