"""MindSpore Lite: Huawei's runtime for devices, on CPUs so far, in a process of Python 3.7.

Its package is published for that Python. An environment with it is set up on first use, and sessions compute in a process of it
(`multiedge.backends.foreign`): each run copies inputs and outputs through a pipe. Memory of that process is not counted.

Its converter is wrong on some networks without an error, such as EfficientNet-Lite0: those do not pass the comparison.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiedge.backends.contract import Backend
from multiedge.backends.foreign.environment import Environment
from multiedge.backends.foreign.session import Adapter, ForeignSession
from multiedge.files import temporary_folder
from multiedge.fleet import Device

VERSION, PYTHON = "2.0.0", "3.7"
ADAPTER = Path(__file__).parent / "foreign" / "mindspore_adapter.py"


@dataclass(frozen=True)
class MindSporeLiteBackend(Backend):
    """Opens `.mindir` files, and converts ONNX files to them, on a device's threads, in float32.

    `python` is an interpreter of Python 3.7 ('': one that is found here).
    """

    formats = (".mindir",)
    tolerances = {"float32": 1e-3}  # noqa: RUF012

    python: str = ""

    @property
    def version(self) -> str:
        """The version that is set up."""
        return VERSION

    @property
    def adapter(self) -> Adapter:
        """The runtime in its environment."""
        packages = (f"mindspore-lite=={VERSION}", "numpy==1.21.6")
        return Adapter("MindSpore Lite", ADAPTER, Environment("mindspore-lite", PYTHON, packages, self.python))

    def prepare(self) -> None:
        self.adapter.environment.set_up()

    def open(self, path: Path, device: Device | None = None) -> ForeignSession:
        return self.adapter.open(path, device)

    def convert(self, source: Path, target: Path) -> None:
        """Writes `target`, and beside it the names of its inputs and outputs in order."""
        import onnx

        model = onnx.load(source)
        weights = {tensor.name for tensor in model.graph.initializer}
        names = {
            "inputs": [value.name for value in model.graph.input if value.name not in weights],
            "outputs": [value.name for value in model.graph.output],
        }
        _state_defaults(model)
        with temporary_folder("mindspore-") as folder:
            onnx.save(model, folder / source.name)
            self.adapter.convert(folder / source.name, target)
        target.with_name(f"{target.name}.json").write_text(json.dumps(names), encoding="utf-8")


def _state_defaults(model: Any) -> None:
    """Its converter refuses pooling that states dilations of 1, and needs the strides and dilations of convolutions."""
    from onnx import helper

    for node in model.graph.node:
        stated = {attribute.name: attribute for attribute in node.attribute}
        if "Pool" in node.op_type and "dilations" in stated and set(stated["dilations"].ints) == {1}:
            node.attribute.remove(stated["dilations"])
        if node.op_type == "Conv" and "kernel_shape" in stated:
            ones = [1] * len(stated["kernel_shape"].ints)
            node.attribute.extend(helper.make_attribute(name, ones) for name in ("strides", "dilations") if name not in stated)
