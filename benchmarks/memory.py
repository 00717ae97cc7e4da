"""Planned memory against the peaks that workers reach, part by part.

    python benchmarks/memory.py [MODEL ...] [--parts 2 3] [--items 30] [--json FILE]

Each model is split into parts of equal work; each part runs in a worker of its own (`processes`, nothing emulated). Planned is
the cost model's figure for the device with the default size of the runtime, seen is the worker's VmHWM, loading included.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import onnx

from benchmarks.models import path_of
from benchmarks.page import Benchmark
from benchmarks.record import Figure, Measure, Record, Row, add_option
from benchmarks.tables import case, figure, table
from multiedge.errors import MultiedgeError
from multiedge.executors import open_pipeline
from multiedge.executors.workers.options import Emulation
from multiedge.fleet import DEFAULT_RUNTIME_BYTES, Device, Fleet
from multiedge.onnx_io import read_graph, write_parts
from multiedge.onnx_io.items import random_items
from multiedge.run import plan_model, profile_model

MODELS = ("vit_b16", "efficientnet_lite0", "light_squeezenet", "vgg19")
PARTS = (2, 3)
AIM = 0.10


def measure(models: Sequence[str], parts: Sequence[int], items: int) -> list[Row]:
    """A row for each part of each split."""
    rows: list[Row] = []
    for model in models:
        for number in parts:
            print(f"{model} in {number} parts", file=sys.stderr, flush=True)
            try:
                rows += split(model, number, items)
            except (MultiedgeError, LookupError) as error:
                rows.append(Row({"model": model, "parts": number, "part": "-"}, failure=str(error)))
    return rows


def split(model: str, parts: int, items: int) -> list[Row]:
    """The rows of one model in so many parts."""
    devices = [Device(f"d{number + 1}", speed=1.0, runtime_bytes=DEFAULT_RUNTIME_BYTES) for number in range(parts)]
    fleet = Fleet(tuple(devices))
    with tempfile.TemporaryDirectory(prefix="multiedge-memory-") as folder:
        graph = read_graph(_weighted(path_of(model), Path(folder)))
        plan = plan_model(profile_model(graph, fleet, reference="declared"), fleet, "equal_flops")
        manifest = write_parts(graph, plan, Path(folder) / "parts")
        with open_pipeline(manifest, fleet, "processes", emulation=Emulation.none(), record_events=False) as pipeline:
            results, measurements = pipeline.map(random_items(manifest, items))
    for result in results:
        result.require()
    seen = {memory.device: memory for memory in measurements.memory}
    rows = []
    for number, stage in enumerate(plan.stages):
        planned, peak = plan.estimate.stages[number].memory_bytes, seen[stage.device].peak_bytes
        figures = {"planned_bytes": Figure(planned)}
        if peak:
            figures |= {"seen_bytes": Figure(peak), "error": Figure(planned / peak - 1)}
        rows.append(Row({"model": model, "parts": parts, "part": number + 1}, figures))
    return rows


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


def section(record: Record) -> str:
    """What the record says, and its table."""
    errors = [error for row in record.rows if (error := row.median("error")) is not None]
    within = sum(abs(error) <= AIM for error in errors)
    columns = [
        case("model"),
        case("parts"),
        case("part"),
        figure("planned_bytes", "planned, MiB", ".1f", 2.0**-20),
        figure("seen_bytes", "VmHWM, MiB", ".1f", 2.0**-20),
        figure("error", "error, %", "+.1f", 100),
    ]
    return (
        f"The plan is within {AIM:.0%} of the worker's peak for {within} of {len(errors)} parts; the worker with the largest"
        f" difference is {max(errors, key=abs, default=0.0):+.1%} off.\n\n{table(columns, record.rows)}"
    )


BENCHMARK = Benchmark(
    "memory",
    "Planned memory against measured peaks",
    {
        "planned_bytes": Measure("B", "memory of the device by the cost model"),
        "seen_bytes": Measure("B", "VmHWM of the worker at the end of the run"),
        "error": Measure("1", "planned over seen, less one"),
    },
    section,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"ONNX files or names (default: {' '.join(MODELS)})")
    parser.add_argument("--parts", type=int, nargs="+", default=list(PARTS))
    parser.add_argument("--items", type=int, default=30)
    add_option(parser)
    args = parser.parse_args()
    settings = {"items": args.items, "runtime_bytes": DEFAULT_RUNTIME_BYTES}
    return BENCHMARK.finish(settings, lambda: measure(args.models, args.parts, args.items), args.json)


if __name__ == "__main__":
    sys.exit(main())
