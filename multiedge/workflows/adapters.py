"""What adapters make of a tensor, and the ONNX nodes that do it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from multiedge.errors import ConfigError, shape_text
from multiedge.graph import Dim, Tensor
from multiedge.workflows.workflow import Adapter, Cast, Normalise, Reshape, Resize, Transpose

OPSET = 18
"""The version of ONNX's operators that adapters are made of."""

_FLOATS = ("float16", "float32", "float64")
_CHANNEL_AXIS = 1


@singledispatch
def result_of(adapter: Adapter, tensor: Tensor) -> Tensor:
    """What the adapter makes of a tensor, as far as its shape is known.

    Raises:
        ConfigError: If it cannot be applied to such a tensor; the finding and the remedy, without a place.
    """
    raise NotImplementedError(type(adapter).__name__)


@result_of.register
def _(adapter: Cast, tensor: Tensor) -> Tensor:
    if tensor.dtype == adapter.dtype:
        raise ConfigError(f"cast: the tensor is {adapter.dtype} already; leave the cast out")
    return replace(tensor, dtype=adapter.dtype)


@result_of.register
def _(adapter: Transpose, tensor: Tensor) -> Tensor:
    if tensor.shape is None:
        return tensor
    if len(adapter.axes) != len(tensor.shape):
        raise ConfigError(
            f"transpose: expected {len(tensor.shape)} axes for {shape_text(tensor.shape)}, got {len(adapter.axes)}"
        )
    return replace(tensor, shape=tuple(tensor.shape[axis] for axis in adapter.axes))


@result_of.register
def _(adapter: Reshape, tensor: Tensor) -> Tensor:
    shape = tensor.shape
    if shape is not None and any(size == 0 and axis >= len(shape) for axis, size in enumerate(adapter.shape)):
        raise ConfigError(f"reshape: a 0 keeps the size of its axis, and {shape_text(shape)} has no such axis; give the size")
    sizes: list[Dim] = [_kept(shape, axis) if size == 0 else size for axis, size in enumerate(adapter.shape)]
    known, count = tensor.known_shape, _count(sizes)
    if -1 not in sizes:
        if known is not None and count is not None and count != math.prod(known):
            raise ConfigError(
                f"reshape: {shape_text(shape)} has {math.prod(known)} values, {list(sizes)} has {count}; use -1 once"
            )
        return replace(tensor, shape=tuple(sizes))
    rest: Dim = None
    if known is not None and count is not None:
        if not count or math.prod(known) % count:
            raise ConfigError(
                f"reshape: the {math.prod(known)} values of {shape_text(shape)} do not fill {list(sizes)}; change it"
            )
        rest = math.prod(known) // count
    return replace(tensor, shape=tuple(rest if size == -1 else size for size in sizes))


@result_of.register
def _(adapter: Resize, tensor: Tensor) -> Tensor:
    if tensor.dtype not in (None, *_FLOATS):
        raise ConfigError(f"resize: expected float values, got {tensor.dtype}; put 'cast: float32' before it")
    if tensor.shape is None:
        return tensor
    if len(tensor.shape) != 4:
        raise ConfigError(
            f"resize: expected images as [n, channels, height, width], got {shape_text(tensor.shape)}; put a reshape before it"
        )
    return replace(tensor, shape=(*tensor.shape[:2], adapter.height, adapter.width))


@result_of.register
def _(adapter: Normalise, tensor: Tensor) -> Tensor:
    if tensor.dtype not in (None, *_FLOATS):
        raise ConfigError(f"normalise: expected float values, got {tensor.dtype}; put 'cast: float32' before it")
    count = len(adapter.mean)
    if count > 1 and tensor.shape is not None:
        channels = tensor.shape[_CHANNEL_AXIS] if len(tensor.shape) > _CHANNEL_AXIS else 0
        if isinstance(channels, int) and channels != count:
            raise ConfigError(
                f"normalise: expected {count} channels in axis {_CHANNEL_AXIS}, got {shape_text(tensor.shape)};"
                " put a transpose before it, or give one number"
            )
    return tensor


def _kept(shape: tuple[Dim, ...] | None, axis: int) -> Dim:
    return None if shape is None else shape[axis]


def _count(sizes: Sequence[Dim]) -> int | None:
    """The product without the -1; None if a size is not known."""
    known = [size for size in sizes if isinstance(size, int) and size != -1]
    return math.prod(known) if len(known) == sum(size != -1 for size in sizes) else None


@dataclass
class Nodes:
    """Nodes and their constants, under names that begin with `prefix`."""

    prefix: str
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def add(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """The name of what a new node makes."""
        name = f"{self.prefix}/{len(self.nodes)}_{op_type.lower()}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: Any) -> str:
        """The name of a new constant."""
        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


@singledispatch
def add_nodes(adapter: Adapter, nodes: Nodes, source: str, tensor: Tensor) -> str:
    """Adds the nodes of an adapter of `tensor`, which is named `source`, and returns the name of the result."""
    raise NotImplementedError(type(adapter).__name__)


@add_nodes.register
def _(adapter: Cast, nodes: Nodes, source: str, tensor: Tensor) -> str:
    return nodes.add("Cast", source, to=helper.np_dtype_to_tensor_dtype(np.dtype(adapter.dtype)))


@add_nodes.register
def _(adapter: Transpose, nodes: Nodes, source: str, tensor: Tensor) -> str:
    return nodes.add("Transpose", source, perm=list(adapter.axes))


@add_nodes.register
def _(adapter: Reshape, nodes: Nodes, source: str, tensor: Tensor) -> str:
    return nodes.add("Reshape", source, nodes.constant(np.array(adapter.shape, dtype=np.int64)))


@add_nodes.register
def _(adapter: Resize, nodes: Nodes, source: str, tensor: Tensor) -> str:
    sizes = nodes.constant(np.array([adapter.height, adapter.width], dtype=np.int64))
    return nodes.add("Resize", source, "", "", sizes, axes=[2, 3], mode="linear")


@add_nodes.register
def _(adapter: Normalise, nodes: Nodes, source: str, tensor: Tensor) -> str:
    rank = len(tensor.shape or ())
    shape = (-1,) + (1,) * (rank - 1 - _CHANNEL_AXIS) if len(adapter.mean) > 1 else ()
    mean, std = (
        nodes.constant(np.array(each, dtype=tensor.dtype or "float32").reshape(shape)) for each in (adapter.mean, adapter.std)
    )
    return nodes.add("Div", nodes.add("Sub", source, mean), std)
