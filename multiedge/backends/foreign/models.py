"""ONNX models as converters of other Pythons take them, and the names that these leave out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SUFFIX = ".json"
"""What is appended to the name of the converted file. An adapter reads the file, and imports nothing of this library."""


def state_defaults(model: Any) -> None:
    """Changes how an onnx.ModelProto states defaults, and no value: some converters refuse pooling that states dilations of 1,
    and some need the strides and dilations of convolutions."""
    from onnx import helper

    for node in model.graph.node:
        stated = {attribute.name: attribute for attribute in node.attribute}
        if "Pool" in node.op_type and "dilations" in stated and set(stated["dilations"].ints) == {1}:
            node.attribute.remove(stated["dilations"])
        if node.op_type == "Conv" and "kernel_shape" in stated:
            ones = [1] * len(stated["kernel_shape"].ints)
            node.attribute.extend(helper.make_attribute(name, ones) for name in ("strides", "dilations") if name not in stated)


def write_names(model: Any, target: Path) -> None:
    """Writes the names of an onnx.ModelProto beside `target`: `inputs` and `outputs`, in the model's order."""
    weights = {tensor.name for tensor in model.graph.initializer}
    names = {
        "inputs": [value.name for value in model.graph.input if value.name not in weights],
        "outputs": [value.name for value in model.graph.output],
    }
    target.with_name(f"{target.name}{SUFFIX}").write_text(json.dumps(names), encoding="utf-8")
