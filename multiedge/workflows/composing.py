"""A workflow as one ONNX file: the nodes of its models under names of their own, and nodes of `multiedge.composed` between
them. Weights stay where they are: the file refers to them through hard links beside it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from multiedge.composed import (
    ADAPTERS_SUFFIX,
    DOMAIN,
    FIRST_OF,
    GATE_SUFFIX,
    OUTPUT_SUFFIX,
    SEPARATOR,
    TRANSFORM,
    VERSION,
    WHEN,
    Call,
    Composition,
    Segment,
    segment_of,
)
from multiedge.errors import ConfigError
from multiedge.files import cache_folder, make_owned_folder
from multiedge.formats.composed import call_attributes, composition_text
from multiedge.graph import Tensor
from multiedge.onnx_io.inner_weights import captures
from multiedge.onnx_io.names import renamed_model
from multiedge.onnx_io.segments import ONNX_DOMAIN
from multiedge.onnx_io.weight_files import linked_or_copied
from multiedge.onnx_io.weights import Reference
from multiedge.workflows.adapters import OPSET, Nodes, add_nodes, result_of
from multiedge.workflows.functions import source_of
from multiedge.workflows.rates import rates_of
from multiedge.workflows.reading import Checked, read_workflow
from multiedge.workflows.workflow import Deployment, FirstOf, Function, Model, Source, Step

MIN_IR_VERSION = 8
"""The oldest version of the format that has all that compose writes."""
ASK = "multiedge.workflows.deployed:ask"
"""The function that a step with a deployment calls."""


def compose(path: str | os.PathLike[str], folder: Path | None = None) -> Path:
    """The ONNX file of a workflow. It is kept in a cache, and found there again for as long as nothing has changed.

    Args:
        path: The workflow.yaml.
        folder: The folder of the cache; by default the user's.

    Returns:
        The path of the file, whose name is that of the workflow.

    Raises:
        WorkflowError: If the workflow has mistakes; all of them.
        ConfigError: If the file cannot be read, or nothing can be written to the cache.
    """
    return _kept(_Composer(read_workflow(path)), folder or cache_folder("workflows"))


def _kept(composer: _Composer, cache: Path) -> Path:
    """The composed file in the cache, written if it is not there."""
    proto, references = composer.model()
    name = composer.name
    home = cache / _digest(proto, references)
    path = home / f"{name}.onnx"
    if path.is_file():
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
        draft = make_owned_folder(cache)
    except OSError as error:
        raise _refusal(cache, error) from error
    try:
        linked_or_copied(draft, references.values()).place(name, proto, references)
        draft.rename(home)
    except OSError as error:
        if not path.is_file():  # otherwise another process was faster
            raise _refusal(cache, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def _refusal(cache: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{cache}: composed workflows cannot be kept here: {error.strerror}; set XDG_CACHE_HOME to another folder"
    )


def _digest(proto: Any, references: Mapping[str, Reference]) -> str:
    """Of the structure, and of the files that have the weights; not of all of their bytes, which would take as long as they
    are."""
    digest = hashlib.sha256(proto.SerializeToString(deterministic=True))
    for name, place in sorted(references.items()):
        status = place.file.stat()
        digest.update(f"{name}:{place}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


class _Composer:
    """Builds the file step by step."""

    def __init__(self, checked: Checked) -> None:
        self._checked = checked
        self._workflow = checked.workflow
        self._rates = rates_of(checked.workflow)
        self._segments: dict[str, Segment] = {}
        self._proto = onnx.ModelProto(ir_version=MIN_IR_VERSION, producer_name="multiedge")
        self._references: dict[str, Reference] = {}
        self._names = {source: _tensor_name(source) for source in checked.tensors}
        self._names |= {source: name for name, source in reversed([*self._workflow.outputs.items()]) if source.step}

    @property
    def name(self) -> str:
        return self._workflow.name

    def model(self) -> tuple[Any, dict[str, Reference]]:
        """The file, and where its large weights are, by the names of its initialisers."""
        graph = self._proto.graph
        graph.name = self.name
        for step in self._workflow.steps:
            self._add(step)
        self._add_ends()
        used = _prune(graph)
        self._references = {name: place for name, place in self._references.items() if name in used}
        kept = {segment_of(node.name) for node in graph.node}
        segments = {name: segment for name, segment in self._segments.items() if name in kept}
        assumed = tuple(step.name for step in self._workflow.steps if step.when and step.when.rate is None)
        composition = Composition(segments, self._workflow.sizes, assumed)
        helper.set_model_props(self._proto, {DOMAIN: composition_text(composition)})
        self._proto.opset_import.extend(helper.make_opsetid(*item) for item in sorted(self._opsets(segments).items()))
        return self._proto, self._references

    def _opsets(self, segments: Mapping[str, Segment]) -> dict[str, int]:
        """The newest version of each domain: what a reader that knows nothing of segments takes all nodes for."""
        opsets = {DOMAIN: VERSION, "": 1}
        for segment in segments.values():
            for domain, version in segment.opsets.items():
                domain = "" if domain == ONNX_DOMAIN else domain
                opsets[domain] = max(version, opsets.get(domain, 0))
        return opsets

    def _add(self, step: Step) -> None:
        given = self._inputs(step)
        if isinstance(step.work, Model):
            self._add_model(step, given)
        elif isinstance(step.work, FirstOf):
            candidates = [self._names[source] for source in step.work.candidates]
            self._add_own(step, FIRST_OF, candidates)
        else:
            self._add_own(step, TRANSFORM, list(given.values()), **call_attributes(_call(step, step.work)))

    def _inputs(self, step: Step) -> dict[str, str]:
        """The tensor that each input of the step reads, behind its condition and its adapters."""
        names = {name: self._names[edge.source] for name, edge in step.inputs.items()}
        if step.when:
            names = self._gated(step, names)
        nodes = Nodes(f"{step.name}{ADAPTERS_SUFFIX}")
        for name, edge in step.inputs.items():
            tensor = self._checked.tensors[edge.source]
            for adapter in edge.adapters:
                names[name] = add_nodes(adapter, nodes, names[name], tensor)
                tensor = result_of(adapter, tensor)
                self._declare(names[name], tensor)
        if nodes.nodes:
            self._proto.graph.node.extend(nodes.nodes)
            self._proto.graph.initializer.extend(nodes.constants)
            self._segments[nodes.prefix] = Segment({ONNX_DOMAIN: OPSET}, self._rates[step.name])
        return names

    def _gated(self, step: Step, names: Mapping[str, str]) -> dict[str, str]:
        """The inputs behind the condition of the step; a tensor that several of them read passes it once."""
        assert step.when is not None
        segment = f"{step.name}{GATE_SUFFIX}"
        behind = {name: f"{segment}{SEPARATOR}{name}" for name in dict.fromkeys(names.values())}
        for edge in step.inputs.values():
            self._declare(behind[self._names[edge.source]], self._checked.tensors[edge.source])
        self._add_node(
            segment,
            WHEN,
            [self._names[step.when.source], *behind],
            list(behind.values()),
            self._rates[step.name],
            **step.when.condition.attributes(),
        )
        return {name: behind[before] for name, before in names.items()}

    def _add_own(self, step: Step, op_type: str, inputs: list[str], **attributes: Any) -> None:
        """A step that is one node of this project's domain."""
        made = [source for source in self._checked.tensors if source.step == step.name]
        for source in made:
            self._declare(self._names[source], self._checked.tensors[source])
        self._add_node(
            step.name, op_type, inputs, [self._names[source] for source in made], self._rates[step.name], **attributes
        )

    def _add_node(
        self, segment: str, op_type: str, inputs: list[str], outputs: list[str], rate: float, **attributes: Any
    ) -> None:
        name = f"{segment}{SEPARATOR}{op_type}"
        self._proto.graph.node.append(helper.make_node(op_type, inputs, outputs, name, domain=DOMAIN, **attributes))
        self._segments[segment] = Segment(rate=rate)

    def _add_model(self, step: Step, given: Mapping[str, str]) -> None:
        bound = self._checked.models[step.name]
        made = {source.tensor: self._names[source] for source in self._checked.tensors if source.step == step.name}
        part, rename = renamed_model(bound.proto, step.name, given, made)
        graph = self._proto.graph
        graph.node.extend(part.graph.node)
        graph.initializer.extend(part.graph.initializer)
        graph.sparse_initializer.extend(part.graph.sparse_initializer)
        graph.quantization_annotation.extend(part.graph.quantization_annotation)
        graph.value_info.extend((*part.graph.value_info, *part.graph.output))
        self._proto.functions.extend(part.functions)
        self._proto.ir_version = max(self._proto.ir_version, part.ir_version)
        self._references |= {rename(name): place for name, place in bound.file.references.items()}
        opsets = {item.domain or ONNX_DOMAIN: item.version for item in part.opset_import}
        self._segments[step.name] = Segment(opsets, self._rates[step.name], step.batch, step.timeout_s)

    def _add_ends(self) -> None:
        graph = self._proto.graph
        graph.input.extend(_value(name, tensor) for name, tensor in self._workflow.inputs.items())
        for name, source in self._workflow.outputs.items():
            if self._names[source] != name:
                segment = f"{name}{OUTPUT_SUFFIX}"
                graph.node.append(helper.make_node("Identity", [self._names[source]], [name], f"{segment}{SEPARATOR}Identity"))
                self._segments[segment] = Segment({ONNX_DOMAIN: OPSET}, self._rates.get(source.step, 1.0))
            graph.output.append(_value(name, self._checked.tensors[source]))
        ends = {value.name for value in (*graph.input, *graph.output)}
        inner = {value.name: value for value in graph.value_info if value.name not in ends}
        del graph.value_info[:]
        graph.value_info.extend(inner.values())

    def _declare(self, name: str, tensor: Tensor) -> None:
        self._proto.graph.value_info.append(_value(name, tensor))


def _tensor_name(source: Source) -> str:
    return f"{source.step}{SEPARATOR}{source.tensor}" if source.step else source.tensor


def _call(step: Step, work: Function | Deployment) -> Call:
    """The function of a step, with the names of what it takes and returns."""
    keywords, results = tuple(step.inputs), tuple(work.results)
    if isinstance(work, Deployment):
        return Call(ASK, keywords, results, {"url": work.url, "model": work.model, "results": list(results)})
    return Call(work.name, keywords, results, work.options, source_of(work))


def _value(name: str, tensor: Tensor) -> Any:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_value_info(name, element, None if tensor.shape is None else list(tensor.shape))


def _prune(graph: Any) -> set[str]:
    """Removes what no output depends on; returns the names that are left."""
    used = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if not used.isdisjoint(node.output):
            used.update((*node.input, *captures(node)))
            kept.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    used |= {name for node in copies for name in node.output}
    del graph.node[:]
    graph.node.extend(copies)
    _keep(graph.initializer, [tensor.name for tensor in graph.initializer], used)
    _keep(graph.sparse_initializer, [tensor.values.name for tensor in graph.sparse_initializer], used)
    _keep(graph.value_info, [value.name for value in graph.value_info], used)
    _keep(graph.quantization_annotation, [item.tensor_name for item in graph.quantization_annotation], used)
    return used


def _keep(entries: Any, names: Sequence[str], used: Container[str]) -> None:
    """Removes the entries whose names are not used."""
    for index in reversed(range(len(names))):
        if names[index] not in used:
            del entries[index]
