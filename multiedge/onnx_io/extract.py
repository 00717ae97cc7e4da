"""One part of a model as a ModelProto: its nodes, and what they need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import onnx

from multiedge.composed import DOMAIN
from multiedge.errors import CutError
from multiedge.formats.composed import composition_text
from multiedge.graph import Graph
from multiedge.onnx_io.inner_weights import subgraphs
from multiedge.onnx_io.model_file import ModelFile
from multiedge.onnx_io.presence import Presence, presence_of
from multiedge.states import KEPT_ANSWERS, SEQUENCE

EMPTY = "nothing"
"""Output of a part that has none to give, since a runtime loads no graph without outputs. It has one value, since some
converters take an empty constant for none."""


@dataclass(frozen=True, eq=False)
class Extractor:
    """Makes parts of one model. Types are those of the model as it is: parts stay as dynamic as the whole."""

    model: ModelFile
    graph: Graph

    @cached_property
    def _functions(self) -> dict[tuple[str, str], Any]:
        return {(function.domain, function.name): function for function in self.model.proto.functions}

    @cached_property
    def _presence(self) -> dict[str, Presence]:
        return presence_of(self.graph)

    def part(self, name: str, nodes: Sequence[int], outputs: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
        """The sub-model of `nodes` that gives `outputs`, and the names of its inputs in order of first use.

        Constants that the nodes read are made again inside; initialisers are referred to as in the whole model. The sub-model
        has inputs and outputs for its states as well, which are not among the names.
        """
        own = set(nodes)
        states = [state for state in self.graph.states if self.graph.producer[state.output] in own]
        given = outputs
        outputs = (*given, *(state.output for state in states if state.output not in given))
        chosen = self._with_constants(nodes, outputs)
        made = {name for index in chosen for name in self.graph.nodes[index].writes}
        reads = dict.fromkeys(name for index in chosen for name in self.graph.nodes[index].reads)
        present = {*made, *self.model.initialisers, SEQUENCE, KEPT_ANSWERS}
        inputs = tuple(name for name in reads if name not in present)
        part = onnx.ModelProto()
        self._copy_header(part)
        part.graph.name = name
        part.graph.node.extend(self.model.graph.node[index] for index in chosen)
        self._add_initialisers(part.graph, {*reads, *outputs})
        part.graph.input.extend(self._value(tensor, name) for tensor in inputs)
        part.graph.input.extend(
            value for value in self.model.graph.input if value.name in self.model.initialisers and value.name in reads
        )
        part.graph.output.extend(self._value(tensor, name) for tensor in outputs)
        self._add_annotations(part.graph, made - set(outputs))
        self._add_functions(part)
        self._state_presence(part, inputs)
        if not outputs:
            _add_empty_output(part.graph)
        kept = {state.input for state in states}
        return part, (*(name for name in inputs if name not in kept), *((SEQUENCE,) if SEQUENCE in reads else ()))

    def _with_constants(self, nodes: Sequence[int], outputs: Iterable[str]) -> list[int]:
        """`nodes` without constants that none of them reads, and with those of other parts that one of them reads."""
        parameters, producer = self.graph.parameters, self.graph.producer
        wanted = {index for index in nodes if not set(self.graph.nodes[index].writes) <= parameters.keys()}
        pending = [*wanted, *(producer[name] for name in outputs if name in parameters and name in producer)]
        wanted.update(pending)
        while pending:
            for name in self.graph.nodes[pending.pop()].reads:
                source = producer.get(name)
                if name in parameters and source is not None and source not in wanted:
                    wanted.add(source)
                    pending.append(source)
        return sorted(wanted)

    def _copy_header(self, part: Any) -> None:
        whole = self.model.proto
        part.ir_version = whole.ir_version
        part.producer_name, part.producer_version = whole.producer_name, whole.producer_version
        part.domain, part.model_version, part.doc_string = whole.domain, whole.model_version, whole.doc_string
        part.opset_import.extend(whole.opset_import)
        part.metadata_props.extend(whole.metadata_props)

    def _value(self, name: str, part: str) -> Any:
        if name not in self.model.types:
            made_by = self.graph.producer.get(name)
            node = "the model" if made_by is None else f"node '{self.graph.nodes[made_by].name}'"
            raise CutError(
                f"{self.graph.name}: {part} cannot begin or end at '{name}', whose type {node} does not state;"
                " cut elsewhere or add a value_info for it to the model"
            )
        value = onnx.ValueInfoProto(name=name)
        value.type.CopyFrom(self.model.types[name])
        return value

    def _add_initialisers(self, part: Any, names: Iterable[str]) -> None:
        wanted = set(names)
        part.initializer.extend(tensor for tensor in self.model.graph.initializer if tensor.name in wanted)
        part.sparse_initializer.extend(tensor for tensor in self.model.graph.sparse_initializer if tensor.values.name in wanted)

    def _add_annotations(self, part: Any, made: set[str]) -> None:
        whole = self.model.graph
        part.value_info.extend(value for value in whole.value_info if value.name in made)
        part.quantization_annotation.extend(item for item in whole.quantization_annotation if item.tensor_name in made)
        part.metadata_props.extend(whole.metadata_props)

    def _state_presence(self, part: Any, inputs: Iterable[str]) -> None:
        """States in a part of a composed file what decides whether its inputs are there."""
        if self.graph.composition:
            known = {name: tuple(sorted(self._presence[name])) for name in inputs if self._presence.get(name)}
            entry = next(each for each in part.metadata_props if each.key == DOMAIN)
            entry.value = composition_text(replace(self.graph.composition, presence=known))

    def _add_functions(self, part: Any) -> None:
        """Model-local functions that the nodes call, and those that these call."""
        pending, taken = _calls(part.graph.node), set()
        while pending:
            key = pending.pop()
            if key in self._functions and key not in taken:
                taken.add(key)
                pending += _calls(self._functions[key].node)
        part.functions.extend(function for key, function in self._functions.items() if key in taken)


def _calls(nodes: Iterable[Any]) -> list[tuple[str, str]]:
    found = []
    for node in nodes:
        found.append((node.domain, node.op_type))
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                found += _calls(graph.node)
    return found


def _add_empty_output(part: Any) -> None:
    part.initializer.append(onnx.helper.make_tensor(EMPTY, onnx.TensorProto.BOOL, [1], [False]))
    part.output.append(onnx.helper.make_tensor_value_info(EMPTY, onnx.TensorProto.BOOL, [1]))
