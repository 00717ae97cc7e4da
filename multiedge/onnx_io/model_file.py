"""An ONNX file as a ModelProto whose large weights are references, and what is needed to cut it."""

from __future__ import annotations

import hashlib
import heapq
import mmap
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from multiedge.errors import ModelError, no_such
from multiedge.onnx_io.inner_weights import bodies, captures, inline_inner_weights, lift_inner_weights
from multiedge.onnx_io.runtime_types import types_of
from multiedge.onnx_io.types import open_sizes
from multiedge.onnx_io.weights import Reference, inline, is_external, reference
from multiedge.onnx_io.wire import without_weights

_SAMPLE_BYTES = 2048
"""What is hashed at either end of each large weight."""

_SIZES_BYTES = 512
_INTEGERS = frozenset({onnx.TensorProto.INT32, onnx.TensorProto.INT64})

RANDOM_OPERATORS = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
"""Operators that make something new at every run although nothing goes in."""


@dataclass(frozen=True, eq=False)
class ModelFile:
    """`proto` has every node named, and large initialisers external; `references` holds where those lie."""

    path: Path
    proto: onnx.ModelProto
    references: Mapping[str, Reference]
    structure_hash: str = field(repr=False)

    @property
    def graph(self) -> Any:
        return self.proto.graph

    @cached_property
    def types(self) -> dict[str, Any]:
        """TypeProto by name of everything whose type is known."""
        return types_of(self.proto, self.path.parent)

    @cached_property
    def initialisers(self) -> dict[str, Any]:
        """TensorProto or SparseTensorProto by name."""
        dense = {tensor.name: tensor for tensor in self.graph.initializer}
        return {**dense, **{tensor.values.name: tensor for tensor in self.graph.sparse_initializer}}

    @cached_property
    def constants(self) -> frozenset[str]:
        """Names of initialisers and of all tensors that are made from these alone: known before any input is."""
        known = set(self.initialisers)
        for node in self.graph.node:
            if not _has_random(node) and all(name in known for name in (*node.input, *captures(node)) if name):
                known.update(name for name in node.output if name)
        return frozenset(known)

    @cached_property
    def model_hash(self) -> str:
        """SHA-256 over the structure and, of each large weight, its size and both ends: milliseconds for any size.

        Two models that differ only in the middle of a large weight have one hash; retraining changes the ends as well.
        """
        digest = hashlib.sha256(self.structure_hash.encode())
        for name, place in sorted(self.references.items()):
            digest.update(f"{name}:{place.length}".encode())
            with place.file.open("rb") as file:
                for offset in (place.offset, max(place.offset, place.offset + place.length - _SAMPLE_BYTES)):
                    file.seek(offset)
                    digest.update(file.read(min(_SAMPLE_BYTES, place.length)))
        return digest.hexdigest()


def open_model(path: str | os.PathLike[str]) -> ModelFile:
    """The model in `path` with its weights left on disk; ModelError, one line, if it is none.

    Reading and then cutting a model opens it twice; the last one is kept for as long as its file is the same.
    """
    path = Path(path)
    try:
        found = path.stat()
    except FileNotFoundError:
        raise ModelError(no_such(path, "model file")) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    if path.suffix in (".yaml", ".yml"):
        raise ModelError(f"{path}: is YAML; expected an ONNX model; of a workflow, read what multiedge.compose returns")
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ModelError(f"{path}: is no regular file, but a pipe or a device; expected an ONNX model")
    return _open(path, found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1)
def _open(path: Path, inode: int, size: int, mtime_ns: int) -> ModelFile:
    proto = _parse(path, _structure(path))
    if not proto.graph.node and not proto.graph.output:
        raise ModelError(f"{path}: holds no graph; is it an ONNX model?")
    lift_inner_weights(proto)
    files: dict[str, tuple[Path, int]] = {}
    external = [tensor for tensor in proto.graph.initializer if is_external(tensor)]
    try:
        references = {tensor.name: reference(tensor, path.parent, files) for tensor in external}
        _inline_sizes(external, references)
        inline_inner_weights(proto.graph, path.parent)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    structure_hash = hashlib.sha256(_without_locations(proto)).hexdigest()
    open_sizes(proto.graph)
    order_nodes(proto.graph, str(path))
    name_nodes(proto.graph)
    model = ModelFile(path, proto, references, structure_hash)
    delay_constants(model)
    return model


def _structure(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise ModelError(f"{path}: is empty; expected an ONNX model")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
                return without_weights(data, path.name)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    except ModelError as error:
        raise ModelError(f"{path}: is no ONNX model, or a damaged one: {error}") from None


def _parse(path: Path, structure: bytes) -> Any:
    try:
        return onnx.ModelProto.FromString(structure)
    except DecodeError as error:
        raise ModelError(f"{path}: is no ONNX model, or a damaged one: {error}") from error


def _without_locations(proto: onnx.ModelProto) -> bytes:
    """The structure as bytes in which it does not matter where weights lie, so that a renamed file keeps its hash."""
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    for tensor in bare.graph.initializer:
        del tensor.external_data[:]
    return bytes(bare.SerializeToString(deterministic=True))


def _inline_sizes(external: Iterable[onnx.TensorProto], references: dict[str, Reference]) -> None:
    """Reads short lists of integers into the structure: shape inference needs their values, as of the shape of a Reshape."""
    for tensor in external:
        if tensor.data_type in _INTEGERS and len(tensor.dims) <= 1 and references[tensor.name].length <= _SIZES_BYTES:
            inline(tensor, references.pop(tensor.name))


def _has_random(node: onnx.NodeProto) -> bool:
    if node.op_type in RANDOM_OPERATORS:
        return True
    return any(_has_random(child) for graph in bodies(node) for child in graph.node)


def order_nodes(graph: onnx.GraphProto, place: str) -> None:
    """Sorts the nodes topologically if they are not, as stably as can be; ModelError that names nodes on a cycle, or
    tensors that no node or more than one makes."""
    made_by: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in made_by:
                raise ModelError(f"{place}: tensor '{name}' is made twice, by nodes {made_by[name]} and {index}")
            made_by[name] = index
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    given |= {tensor.values.name for tensor in graph.sparse_initializer}
    needs = [[name for name in (*node.input, *captures(node)) if name] for node in graph.node]
    for index, names in enumerate(needs):
        for name in names:
            if name not in made_by and name not in given:
                raise ModelError(f"{place}: node {index} '{graph.node[index].name}' reads '{name}', which no node makes")
    for value in graph.output:
        if value.name not in made_by and value.name not in given:
            raise ModelError(f"{place}: output '{value.name}' is made by no node")
    if all(made_by.get(name, -1) < index for index, names in enumerate(needs) for name in names):
        return
    order = _topological([{made_by[name] for name in names if name in made_by} for names in needs])
    if len(order) < len(graph.node):
        stuck = sorted(set(range(len(graph.node))) - set(order))[:3]
        shown = ", ".join(f"{index} '{graph.node[index].name}'" for index in stuck)
        raise ModelError(f"{place}: the graph has a cycle; nodes on or behind it: {shown}")
    _reorder(graph, order)


def _topological(before: list[set[int]]) -> list[int]:
    after: list[list[int]] = [[] for _ in before]
    for index, sources in enumerate(before):
        for source in sources:
            after[source].append(index)
    missing = [len(sources) for sources in before]
    ready = [index for index, count in enumerate(missing) if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for follower in after[index]:
            missing[follower] -= 1
            if missing[follower] == 0:
                heapq.heappush(ready, follower)
    return order


def _reorder(graph: onnx.GraphProto, order: list[int]) -> None:
    nodes = [graph.node[index] for index in order]
    if order != list(range(len(order))):
        copies = []
        for node in nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copies.append(copy)
        del graph.node[:]
        graph.node.extend(copies)


def name_nodes(graph: onnx.GraphProto) -> None:
    """Gives every node a name of its own, so that a runtime's profile and a plan name the same node."""
    seen = {node.name for node in graph.node}
    used: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in used:
            name = f"{node.op_type}_{index}"
            while name in seen:
                name += "_"
            node.name = name
            seen.add(name)
        used.add(node.name)


def delay_constants(model: ModelFile) -> None:
    """Moves nodes that make constants to just before the first node that reads them, so that each goes where it is used."""
    nodes = model.graph.node
    constant = [all(name in model.constants for name in node.output if name) and any(node.output) for node in nodes]
    if not any(constant):
        return
    home = {name: index for index, node in enumerate(nodes) for name in node.output if name and constant[index]}
    order: list[int] = []
    placed: set[int] = set()

    def place(index: int) -> None:
        pending = [index]
        while pending:
            top = pending[-1]
            if top in placed:
                pending.pop()
                continue
            reads = (*nodes[top].input, *captures(nodes[top]))
            first = list(dict.fromkeys(home[name] for name in reads if name in home and home[name] not in placed))
            if first:
                pending.extend(reversed(first))
            else:
                placed.add(pending.pop())
                order.append(top)

    for index in range(len(nodes)):
        if not constant[index]:
            place(index)
    for index in range(len(nodes)):
        place(index)
    _reorder(model.graph, order)
