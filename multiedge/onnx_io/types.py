"""Types of all tensors of a model: what the file states, completed by shape inference without weights."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, checker, helper, shape_inference

from multiedge.errors import ConfigError, did_you_mean
from multiedge.graph import Dim, Tensor
from multiedge.onnx_io.fold import MAX_ROUNDS, fixed_shape, fold_sizes
from multiedge.onnx_io.segments import composition_of

_HALF_BYTE = (TensorProto.INT4, TensorProto.UINT4, getattr(TensorProto, "FLOAT4E2M1", -1))


def infer(proto: onnx.ModelProto) -> dict[str, Any]:
    """TypeProto by name for everything whose type is known, without a change to `proto`.

    Where sizes are computed by nodes and stay unknown, these nodes are worked out and inference goes on behind them.
    """
    types = _infer_once(proto)
    if _all_known(proto, types):
        return types
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    # Before version 4 an initialiser counts only if it is listed as an input as well, which folded sizes are not.
    copy.ir_version = max(copy.ir_version, 4)
    for _ in range(MAX_ROUNDS):
        if not fold_sizes(copy, types):
            break
        # What was known stays: a node that is folded away takes its neighbours' shapes with it.
        types.update({name: kind for name, kind in _infer_once(copy).items() if fixed_shape(types.get(name)) is None})
        if _all_known(copy, types):
            break
    return types


def _all_known(proto: onnx.ModelProto, types: Mapping[str, Any]) -> bool:
    """Whether every tensor that a node makes has a shape without unknown sizes; sequences and maps have none to know."""
    kinds = [types.get(name) for node in proto.graph.node for name in node.output if name]
    return all(kind is not None and (not kind.HasField("tensor_type") or fixed_shape(kind) is not None) for kind in kinds)


def _infer_once(proto: onnx.ModelProto) -> dict[str, Any]:
    try:
        inferred = shape_inference.infer_shapes(proto, data_prop=True)
    except (shape_inference.InferenceError, checker.ValidationError, RuntimeError, ValueError):
        # A model may be sound and yet hold an operator that inference does not know; what the file states must do.
        inferred = proto
    graph = inferred.graph
    types = {value.name: value.type for value in (*graph.value_info, *graph.output, *graph.input)}
    types = {name: kind for name, kind in types.items() if kind.WhichOneof("value")}
    return {**_masks(graph, types), **types}


def _masks(graph: onnx.GraphProto, types: Mapping[str, Any]) -> dict[str, Any]:
    """Types of the masks of Dropout, which inference leaves out before opset 10: those of its input.

    A mask that nothing reads is never made. It is taken as one value, as onnxruntime does: digests of public suites have it so.
    """
    masks = [node for node in graph.node if node.op_type == "Dropout" and not node.domain and len(node.output) > 1]
    if not masks:
        return {}
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kinds = {node.output[1]: types[node.input[0]] for node in masks if node.output[1] and node.input[0] in types}
    return {
        name: kind if name in read else helper.make_tensor_type_proto(kind.tensor_type.elem_type, [])
        for name, kind in kinds.items()
    }


def with_shapes(
    proto: onnx.ModelProto, shapes: Mapping[str, Sequence[int]], place: str, initialisers: Container[str] = ()
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """A copy of `proto` whose inputs have the given shapes and otherwise a batch of 1, and the inputs whose batch was open.

    Symbolic sizes that follow are put in everywhere, and in a composed model the typical ones of sizes that vary. Without
    anything to put in, `proto` itself is returned.
    """
    composition = composition_of(proto)
    sizes: dict[str, int] = dict(composition.typical_sizes) if composition else {}
    free = _free_batch(proto.graph, {*shapes, *_varying(proto.graph, sizes)}, initialisers)
    if not shapes and not free and not sizes:
        return proto, ()
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    inputs = {value.name: value for value in copy.graph.input}
    for name, shape in shapes.items():
        if name not in inputs:
            raise ConfigError(f"{place}: no input '{name}' to give a shape{did_you_mean(name, inputs)}")
        _bind(inputs[name], shape, sizes, place)
    taken: list[tuple[str, str]] = []
    for name in free:
        batch = inputs[name].type.tensor_type.shape.dim[0]
        if batch.dim_param not in sizes or batch.dim_param in {other for _, other in taken}:
            taken.append((name, batch.dim_param))
            if batch.dim_param:
                sizes[batch.dim_param] = 1
            batch.dim_value = 1
    for value in (*copy.graph.input, *copy.graph.output, *copy.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    return copy, tuple(name for name, _ in taken)


def _varying(graph: onnx.GraphProto, sizes: Container[str]) -> list[str]:
    """Inputs whose first dimension is one of the sizes."""
    first = {value.name: value.type.tensor_type.shape.dim[:1] for value in graph.input}
    return [name for name, dims in first.items() if any(dim.dim_param in sizes for dim in dims)]


def _free_batch(graph: onnx.GraphProto, shapes: Container[str], initialisers: Container[str]) -> list[str]:
    """Inputs without a given shape whose first dimension is open; of vectors only those that share it with a larger input."""
    found: list[tuple[str, str]] = []
    vectors: list[tuple[str, str]] = []
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name in shapes or value.name in initialisers or not dims or dims[0].HasField("dim_value"):
            continue
        (found if len(dims) > 1 else vectors).append((value.name, dims[0].dim_param))
    names = {size for _, size in found if size}
    wanted = {name for name, _ in found} | {name for name, size in vectors if size in names}
    return [value.name for value in graph.input if value.name in wanted]


def open_sizes(graph: onnx.GraphProto) -> None:
    """Clears sizes of -1 and 0: exporters write them for dimensions that they leave open."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value <= 0:
                dim.ClearField("dim_value")


def _bind(value: Any, shape: Sequence[int], sizes: dict[str, int], place: str) -> None:
    declared = value.type.tensor_type.shape.dim
    known = value.type.tensor_type.HasField("shape")
    fits = not known or (
        len(declared) == len(shape)
        and all(not dim.HasField("dim_value") or dim.dim_value == size for dim, size in zip(declared, shape, strict=False))
    )
    if not fits or any(int(size) != size or size < 0 for size in shape):
        wanted = [dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else "?") for dim in declared]
        raise ConfigError(f"{place}: input '{value.name}' has shape {wanted}, which {list(shape)} does not fit")
    if not known:
        value.type.tensor_type.shape.SetInParent()
        for _ in shape:
            declared.add()
    for dim, size in zip(declared, shape, strict=True):
        if dim.dim_param and sizes.setdefault(dim.dim_param, int(size)) != size:
            raise ConfigError(f"{place}: size '{dim.dim_param}' is given as {sizes[dim.dim_param]} and as {size}")
        dim.dim_value = int(size)


def tensor_of(name: str, kind: Any) -> Tensor:
    """A Tensor noun from a TypeProto; without one only the name is known."""
    which = kind.WhichOneof("value") if kind is not None else None
    if which is None:
        return Tensor(name)
    if which != "tensor_type":
        return Tensor(name, which.removesuffix("_type").replace("_", " "))
    shape = _shape(kind.tensor_type) if kind.tensor_type.HasField("shape") else None
    return Tensor(name, dtype_name(kind.tensor_type.elem_type), shape, _nbytes(kind.tensor_type.elem_type, shape))


def _shape(tensor: onnx.TensorProto) -> tuple[Dim, ...]:
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in tensor.shape.dim)


def parameter_of(name: str, element: int, dims: Sequence[int]) -> Tensor:
    shape = tuple(int(size) for size in dims)
    return Tensor(name, dtype_name(element), shape, _nbytes(element, shape))


@cache
def dtype_name(element: int) -> str | None:
    """numpy's name of an element type; None if it is not stated."""
    if element == TensorProto.UNDEFINED or element not in TensorProto.DataType.values():
        return None
    if element in _HALF_BYTE:
        return str(TensorProto.DataType.Name(element)).lower()
    return str(np.dtype(helper.tensor_dtype_to_np_dtype(element)).name)


def _nbytes(element: int, shape: tuple[Dim, ...] | None) -> int | None:
    if shape is None or dtype_name(element) is None or element == TensorProto.STRING:
        return None
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) < len(shape):
        return None
    if element in _HALF_BYTE:
        return (math.prod(sizes) + 1) // 2
    return math.prod(sizes) * _item_bytes(element)


@cache
def _item_bytes(element: int) -> int:
    return int(np.dtype(helper.tensor_dtype_to_np_dtype(element)).itemsize)
