"""A package from outside: modules and entry points in a folder that is put onto the import path, as pip would install them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent


def install(folder: Path, name: str, modules: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]) -> Path:
    """Writes the modules of package `name` and its metadata to `folder`, and returns the folder.

    `entry_points` are 'module:attribute' texts by group and name.
    """
    package = folder / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    for module, source in modules.items():
        (package / f"{module}.py").write_text(dedent(source))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


NUMPY_BACKEND = '''
    """A runtime that is slow and right: onnx's reference evaluator. It opens `.npm` files, which `convert` writes."""

    from dataclasses import dataclass
    from typing import Literal

    from multiedge.backends.contract import Backend, Provider
    from multiedge.errors import ModelError

    HEADER = b"npm1"


    class NumpySession:
        provider = Provider("numpy")
        batch_is_free = False

        def __init__(self, evaluator, gain):
            self.evaluator, self.gain = evaluator, gain
            self.inputs, self.outputs = tuple(evaluator.input_names), tuple(evaluator.output_names)

        def run(self, tensors):
            values = self.evaluator.run(None, {name: tensors[name] for name in self.inputs})
            return {name: value * self.gain for name, value in zip(self.outputs, values, strict=True)}

        def close(self):
            self.evaluator = None


    @dataclass(frozen=True)
    class NumpyBackend(Backend):
        """`gain` multiplies what a stage makes; `mode` changes nothing."""

        formats = (".npm",)
        gain: float = 1.0
        mode: Literal["plain", "careful"] = "plain"

        @property
        def version(self):
            return "7.0"

        def convert(self, source, target):
            import onnx

            model = onnx.load(str(source))
            if len(model.graph.node) > 1000:
                raise ModelError(f"{source}: is too large for numpy")
            target.write_bytes(HEADER + model.SerializeToString())

        def open(self, path, device=None):
            import onnx
            from onnx.reference import ReferenceEvaluator

            data = path.read_bytes()
            if not data.startswith(HEADER):
                raise ModelError(f"{path}: expected an .npm file")
            return NumpySession(ReferenceEvaluator(onnx.ModelProto.FromString(data[len(HEADER) :])), self.gain)
'''
"""The module of a backend from outside."""

IDLE_METRIC = '''
    """A metric of the time that devices do not compute."""

    from multiedge.metrics import LOWER, Figure, metric


    @metric("s", LOWER, "longest time that a device does not compute in the timed window")
    def idle(measurements, context):
        each = {device: measurements.wall_s - measurements.busy_s(device) for device in measurements.devices}
        return Figure(max(each.values()), by_device=each) if each else None


    @metric("1", LOWER, "stages of the plan")
    def stages(measurements, context):
        return len(context.plan.stages) if context.plan else None


    @metric("1", LOWER, "always fails")
    def failing(measurements, context):
        return 1 / 0


    @metric("1", LOWER, "always wrong")
    def wrong(measurements, context):
        return "many"


    def bare(measurements, context):
        return 1.0
'''
"""The module of metrics from outside: two good ones, one that fails, one that returns a text, and one that is no Metric."""
