"""The model of a step: its ends, its sizes bound to those of what it reads, and the types that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from multiedge.errors import ConfigError, shape_text
from multiedge.graph import Dim, Tensor
from multiedge.onnx_io.model_file import ModelFile
from multiedge.onnx_io.runtime_types import types_of
from multiedge.onnx_io.types import tensor_of


@dataclass(frozen=True)
class BoundModel:
    """A model whose inputs have the sizes of the tensors that they read.

    Attributes:
        file: The model as it is.
        proto: The model with these sizes; of its other sizes the names begin with that of the step.
        outputs: What it makes, by name.
        has_free_rows: Whether the first dimension of each input and output is open, so that items can be put together.
    """

    file: ModelFile
    proto: Any
    outputs: Mapping[str, Tensor]
    has_free_rows: bool


def inputs_of(model: ModelFile) -> dict[str, Tensor]:
    """What the caller of the model gives, with sizes as the file declares them."""
    return {
        value.name: tensor_of(value.name, value.type) for value in model.graph.input if value.name not in model.initialisers
    }


def fitted(declared: Tensor, given: Tensor, sizes: dict[str, Dim]) -> None:
    """Checks that a model's input takes a tensor, and adds the sizes that this fixes to `sizes`.

    Raises:
        ConfigError: If it does not; the finding and the remedy, without a place.
    """
    takes = f"takes {declared.dtype} {shape_text(declared.shape)}, got {given.dtype} {shape_text(given.shape)}"
    if declared.dtype is not None and given.dtype is not None and declared.dtype != given.dtype:
        raise ConfigError(f"{takes}; add 'cast: {declared.dtype}'")
    if declared.shape is None or given.shape is None:
        return
    if len(declared.shape) != len(given.shape):
        raise ConfigError(f"{takes}; add 'reshape: {_wanted(declared)}'")
    for axis, (wanted, size) in enumerate(zip(declared.shape, given.shape, strict=True)):
        if isinstance(wanted, int) and isinstance(size, str):
            raise ConfigError(f"{takes}, whose size '{size}' varies; export the model with axis {axis} open")
        if isinstance(wanted, int) and isinstance(size, int) and wanted != size:
            raise ConfigError(f"{takes}; {_remedy(declared, given)}")
        if isinstance(wanted, str) and size is not None and sizes.setdefault(wanted, size) != size:
            raise ConfigError(f"{takes}, but its size '{wanted}' is {sizes[wanted]} in another input; give both the same size")


def _wanted(declared: Tensor) -> list[int]:
    """The shape as that of a reshape, with -1 for the first open size."""
    shape = [size if isinstance(size, int) else -1 for size in declared.shape or ()]
    return [size if size != -1 or -1 not in shape[:axis] else 0 for axis, size in enumerate(shape)]


def _remedy(declared: Tensor, given: Tensor) -> str:
    """The adapter that would change the shape, where one can."""
    wanted, shape = declared.shape or (), given.shape or ()
    if len(wanted) == 4 and wanted[:2] == shape[:2]:
        return f"add 'resize: [{wanted[2]}, {wanted[3]}]'"
    if sorted(map(str, wanted)) == sorted(map(str, shape)):
        axes = []
        for size in wanted:
            axes.append(next(axis for axis, other in enumerate(shape) if other == size and axis not in axes))
        return f"add 'transpose: {axes}'"
    return "read another tensor, or change its shape by a reshape, a resize or a transform"


def bound_model(step: str, model: ModelFile, given: Mapping[str, Tensor]) -> BoundModel:
    """The model of a step with the sizes of the tensors that it is given, which fit its inputs.

    Args:
        step: Name of the step.
        model: Its model.
        given: The tensor of each input, by name.

    Returns:
        The BoundModel.
    """
    declared = inputs_of(model)
    sizes: dict[str, Dim] = {}
    for name, tensor in given.items():
        fitted(declared[name], tensor, sizes)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    graph = proto.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                _set(dim, sizes.get(dim.dim_param) or f"{step}.{dim.dim_param}")
    for value in graph.input:
        if value.name in given and value.type.HasField("tensor_type"):
            _set_shape(value.type.tensor_type, given[value.name].shape)
    types = types_of(proto, model.path.parent)
    outputs = {value.name: tensor_of(value.name, types.get(value.name, value.type)) for value in graph.output}
    for value in graph.output:
        if value.name in types:
            value.type.CopyFrom(types[value.name])
    made = [tensor_of(value.name, value.type) for value in model.graph.output]
    ends = [tensor.shape for tensor in (*declared.values(), *made)]
    has_free_rows = not any(shape is not None and (not shape or isinstance(shape[0], int)) for shape in ends)
    return BoundModel(model, proto, outputs, has_free_rows)


def _set_shape(tensor: Any, shape: tuple[Dim, ...] | None) -> None:
    if shape is None:
        return
    del tensor.shape.dim[:]
    tensor.shape.SetInParent()
    for size in shape:
        _set(tensor.shape.dim.add(), size)


def _set(dim: Any, size: Dim) -> None:
    if isinstance(size, int):
        dim.dim_value = size
    elif size is not None:
        dim.dim_param = size
