"""Types that onnx's own inference cannot find, from onnxruntime, which knows the operators of its own domains."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from multiedge.composed import FIRST_OF, WHEN, Composition
from multiedge.onnx_io.segments import Run, composition_of, model_of, runs_of
from multiedge.onnx_io.types import infer

_ELEMENTS = {
    "float": TensorProto.FLOAT,
    "double": TensorProto.DOUBLE,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
    **{f"{sign}int{bits}": getattr(TensorProto, f"{sign}INT{bits}".upper()) for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"

log = logging.getLogger(__name__)


def types_of(proto: Any, folder: Path) -> dict[str, Any]:
    """TypeProto by name of everything whose type is known; `folder` is where the model's weights lie.

    A session is made only where onnx leaves a type open, as it does behind operators of other domains. The segments of a
    composed model have operators of different versions: each is a model of its own.
    """
    composition = composition_of(proto)
    return _types_of_model(proto, folder) if composition is None else _types_of_segments(proto, folder, composition)


def _types_of_segments(proto: Any, folder: Path, composition: Composition) -> dict[str, Any]:
    graph = proto.graph
    types = {
        value.name: value.type for value in (*graph.value_info, *graph.output, *graph.input) if value.type.WhichOneof("value")
    }
    wanted = {value.name for value in graph.output}
    runs = list(runs_of(graph))
    wanted |= {name for run in runs for name in run.reads}
    for run in runs:
        if run.is_own:
            types.update(_own_types(run, types))
            continue
        model = model_of(run, proto, composition.segments[run.segment].opsets, types, wanted)
        types.update(_types_of_model(model, folder))
    return types


def _own_types(run: Run, types: Mapping[str, Any]) -> dict[str, Any]:
    """What When and FirstOf pass on, with the sizes that it has before them; what a Transform makes is declared."""
    (node,) = run.nodes
    passed = {WHEN: zip(node.output, node.input[1:], strict=False), FIRST_OF: zip(node.output, node.input, strict=False)}
    return {name: types[source] for name, source in passed.get(node.op_type, ()) if source in types}


def _types_of_model(proto: Any, folder: Path) -> dict[str, Any]:
    types = infer(proto)
    open_ones = [name for node in proto.graph.node for name in node.output if name and name not in types]
    said = _from_runtime(proto, folder, open_ones) if open_ones else {}
    return {**said, **infer(_with_types(proto, said))} if said else types


def _with_types(proto: Any, types: Mapping[str, Any]) -> Any:
    """A copy of the model that states these types, so that inference goes on behind operators that it does not know."""
    copy, read = onnx.ModelProto(), _read(proto)
    copy.CopyFrom(proto)
    copy.graph.value_info.extend(onnx.ValueInfoProto(name=name, type=types[name]) for name in types if name in read)
    return copy


def _read(proto: Any) -> set[str]:
    """The tensors that a node or the caller reads."""
    return {name for node in proto.graph.node for name in node.input} | {value.name for value in proto.graph.output}


def _from_runtime(proto: Any, folder: Path, names: Sequence[str]) -> Mapping[str, Any]:
    """The types that onnxruntime has for `names`; nothing if it is absent or cannot load the model."""
    try:
        import onnxruntime as ort
    except ImportError:
        return {}
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.add_session_config_entry(_WEIGHTS_FOLDER, str(folder.resolve()))
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        session = ort.InferenceSession(
            probe.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # a class per status code, all direct children of Exception; the types then stay unknown
        log.debug("no types from onnxruntime: %s", error)
        return {}
    read = _read(proto)
    said = {value.name: _type(value.type, _shape(value.shape, value.name in read)) for value in session.get_outputs()}
    return {name: said[name] for name in names if said.get(name) is not None}


def _shape(said: Sequence[int | str | None], is_read: bool) -> Sequence[int | str | None] | None:
    """None where onnxruntime says [], which it does of a scalar and of a tensor of any rank.

    The size of one that nothing reads, such as the mask of an old Dropout, is of no interest, and must not be asked for."""
    return said if said or not is_read else None


def _type(text: str, shape: Sequence[int | str | None] | None) -> Any | None:
    """A TypeProto from onnxruntime's text such as 'tensor(float)' or 'seq(tensor(int64))'; None for any other text."""
    match = re.fullmatch(r"(seq\()?tensor\((\w+)\)\)?", text)
    if match is None or match[2] not in _ELEMENTS:
        return None
    if match[1]:
        return helper.make_sequence_type_proto(helper.make_tensor_type_proto(_ELEMENTS[match[2]], None))
    return helper.make_tensor_type_proto(_ELEMENTS[match[2]], shape if shape is None else list(shape))
