"""What a composed file computes, the plain way: segment by segment with onnxruntime, functions by calling them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort

from multiedge.composed import FIRST_OF, TRANSFORM, VOID, Condition, is_void
from multiedge.formats.composed import call_of
from multiedge.onnx_io.model_file import open_model
from multiedge.onnx_io.segments import composition_of, model_of, runs_of

WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def run_composed(path: Path, item: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a composed file, whose models are small: a void one is `VOID`."""
    model = open_model(path)
    composition = composition_of(model.proto)
    assert composition is not None
    graph = model.proto.graph
    values = dict(item)
    wanted = {name for run in runs_of(graph) for name in run.reads} | {value.name for value in graph.output}
    for run in runs_of(graph):
        if run.is_own:
            values.update(_own(run.nodes[0], values))
        elif any(is_void(values[name]) for name in run.reads if name in values):
            values.update(dict.fromkeys(run.makes, VOID))
        else:
            segment = model_of(run, model.proto, composition.segments[run.segment].opsets, model.types, wanted)
            options = ort.SessionOptions()
            options.add_session_config_entry(WEIGHTS_FOLDER, str(path.parent.resolve()))
            session = ort.InferenceSession(segment.SerializeToString(), options, providers=["CPUExecutionProvider"])
            feed = {value.name: values[value.name] for value in session.get_inputs()}
            values.update(zip((value.name for value in session.get_outputs()), session.run(None, feed), strict=True))
    return {value.name: values[value.name] for value in graph.output}


def _own(node: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    given = [values[name] for name in node.input]
    if node.op_type == FIRST_OF:
        return {node.output[0]: next((each for each in given if not is_void(each)), VOID)}
    if any(map(is_void, given)):
        return dict.fromkeys(node.output, VOID)
    texts = {key: _text(value) for key, value in attributes.items()}
    if node.op_type == TRANSFORM:
        return _called(node, texts, given)
    holds = Condition.of(texts).holds(given[0])
    return {name: value if holds else VOID for name, value in zip(node.output, given[1:], strict=True)}


def _called(node: Any, attributes: Mapping[str, Any], given: list[Any]) -> dict[str, Any]:
    call = call_of(attributes, node.name)
    names: dict[str, Any] = {}
    exec(compile(call.source, node.name, "exec"), names)
    made = names[call.function](**dict(zip(call.keywords, given, strict=True)), **call.options)
    return {name: made[key] for name, key in zip(node.output, call.results, strict=True)}


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return [_text(each) for each in value] if isinstance(value, list) else value
