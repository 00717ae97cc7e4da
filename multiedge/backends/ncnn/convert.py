"""From an ONNX file to ncnn's `.param` and `.bin` with pnnx, and the names and shapes of the model's own inputs and outputs."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from multiedge.errors import ModelError, one_line
from multiedge.files import temporary_folder
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Field, Kind
from multiedge.graph import Graph, Tensor
from multiedge.onnx_io.reader import declared_graph

KIND = Kind("interface of a converted model", ModelError, "convert again with: multiedge convert --again")
TYPES = {"float32": "f32", "int32": "i32"}
"""pnnx's names of the types that ncnn holds."""
FOREIGN = ("pnnx.", "aten::", "torch.", "prim::", "Tensor.", "F.", "nn.")
"""How layers begin that pnnx leaves to PyTorch since ncnn has no such operator."""


@dataclass(frozen=True)
class Value:
    """An input or output of the model.

    Attributes:
        name: In the ONNX file.
        blob: In ncnn's file.
        shape: With one item where the batch is open.
        dtype: numpy's name.
    """

    name: str
    blob: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Interface:
    """Inputs and outputs of a converted model in the order of the ONNX file; `batch_is_free` where all have an open batch."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    batch_is_free: bool


def read_interface(path: Path) -> Interface:
    """What the conversion has written beside the `.param` file; ModelError if it is missing or damaged."""
    data = read_json(path.with_suffix(".json"), KIND)
    return Interface(data["inputs"].list_of(_value), data["outputs"].list_of(_value), data["batch_is_free"].boolean())


def convert(python: Path, source: Path, target: Path) -> None:
    """Writes `target`, its `.bin` with float32 weights, and the interface beside them.

    ModelError if pnnx or ncnn knows no such model. `python` is that of the environment with pnnx.
    """
    interface = interface_of(declared_graph(source), source)
    sizes = ",".join(f"[{','.join(map(str, value.shape))}]{TYPES[value.dtype]}" for value in interface.inputs)
    with temporary_folder("ncnn-") as folder:
        onnx.save(onnx.load(source), folder / "whole.onnx")  # pnnx reads weights in a file of their own wrongly
        places = {
            "pnnxparam": folder / "pnnx.param",
            "pnnxbin": folder / "pnnx.bin",
            "pnnxpy": folder / "pnnx.py",
            "pnnxonnx": folder / "pnnx.onnx",
            "ncnnparam": target,
            "ncnnbin": target.with_suffix(".bin"),
            "ncnnpy": folder / "ncnn.py",
        }
        words = [f"{name}={path}" for name, path in places.items()]
        command = [str(_program(python)), str(folder / "whole.onnx"), f"inputshape={sizes}", "fp16=0", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode < 0:
        stopped = subprocess.CalledProcessError(done.returncode, command)
        raise ModelError(f"{source}: pnnx was stopped by signal {-done.returncode}") from stopped
    if done.returncode != 0 or not target.is_file():
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ModelError(f"{source}: pnnx cannot convert this file: {one_line(RuntimeError(last))}")
    _require_known_layers(source, target)
    target.with_suffix(".json").write_text(json.dumps(_data(interface), indent=1), encoding="utf-8")


def interface_of(graph: Graph, source: Path) -> Interface:
    """Names, shapes and types; ModelError for sizes besides the batch that are open, and for types that ncnn does not hold."""
    values = {name: graph.tensors[name] for name in (*graph.inputs, *graph.outputs)}
    free = [bool(value.shape) and not isinstance(value.shape[0], int) for value in values.values() if value.shape is not None]
    inputs = tuple(_fixed(values[name], f"in{place}", source) for place, name in enumerate(graph.inputs))
    outputs = tuple(_fixed(values[name], f"out{place}", source) for place, name in enumerate(graph.outputs))
    return Interface(inputs, outputs, all(free))


def _fixed(value: Tensor, blob: str, source: Path) -> Value:
    if value.dtype not in TYPES:
        raise ModelError(f"{source}: '{value.name}': ncnn holds {' and '.join(TYPES)}, got {value.dtype}; use another backend")
    dims = list(value.shape or ())
    if dims and not isinstance(dims[0], int):
        dims[0] = 1
    sizes = tuple(size for size in dims if isinstance(size, int))
    if value.shape is None or len(sizes) < len(dims):
        raise ModelError(
            f"{source}: '{value.name}': ncnn needs fixed sizes, got {list(value.shape or ())}; fix them in the model"
        )
    return Value(value.name, blob, sizes, str(value.dtype))


def _require_known_layers(source: Path, target: Path) -> None:
    """ModelError that names the first operator which pnnx has left as it was: ncnn would refuse the file without a reason."""
    for line in target.read_text(encoding="utf-8").splitlines()[2:]:
        kind = line.split()[0] if line.split() else ""
        if kind.startswith(FOREIGN):
            raise ModelError(f"{source}: ncnn has no operator {kind}; use another backend for this part")


def _program(python: Path) -> Path:
    """The program in the package `pnnx` of an environment."""
    return next(python.parent.parent.glob("lib/python*/site-packages/pnnx/pnnx"))


def _data(interface: Interface) -> dict[str, Any]:
    def listed(values: tuple[Value, ...]) -> list[dict[str, Any]]:
        return [{"name": each.name, "blob": each.blob, "shape": list(each.shape), "dtype": each.dtype} for each in values]

    inputs, outputs = listed(interface.inputs), listed(interface.outputs)
    return {"inputs": inputs, "outputs": outputs, "batch_is_free": interface.batch_is_free}


def _value(field: Field) -> Value:
    shape = field["shape"].list_of(Field.count)
    return Value(field["name"].text(), field["blob"].text(), shape, field["dtype"].text())
