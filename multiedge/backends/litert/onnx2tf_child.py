"""Converts one ONNX file with onnx2tf: `python onnx2tf_child.py MODEL FOLDER`.

It is run by the interpreter of an environment of its own, and imports nothing of this library. It writes `model.tflite`, and
`names.json` with the model's inputs and outputs in order, each with the name of its tensor in the converted file, or null for
an input that the converter has removed. The layouts of inputs stay those of the ONNX file. Outputs of convolutions may have the
channels last: `axes` has, for such an output, the axes with which it is to be transposed.

Where the batch is open and the converted file cannot take two items, it is made again for one; `is_single` in `names.json` says
so.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

PREFIX = "serving_default_"


def main(source: str, folder: str) -> None:
    import onnx

    graph = onnx.load(source, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in weights]
    outputs = [value.name for value in graph.output]
    is_open = all(is_batch(value) for value in (*graph.output, *(each for each in graph.input if each.name in inputs)))
    source = simplified(source, Path(folder))
    path = converted(source, Path(folder) / "made", inputs)
    is_single = is_open and not takes_two(path)
    if is_single:
        path = converted(source, Path(folder) / "single", inputs, batch_size=1)
    names = {**names_of(path, inputs, outputs), "is_single": is_single}
    names["axes"] = axes_of(source, path, names)
    (Path(folder) / "names.json").write_text(json.dumps(names, indent=1), encoding="utf-8")
    path.rename(Path(folder) / "model.tflite")


def simplified(source: str, folder: Path) -> str:
    """A file with constants folded, or the file itself. onnx2tf would do it three times, with any `onnxsim` that is on PATH."""
    import onnx
    import onnxsim

    try:
        with contextlib.redirect_stdout(sys.stderr):
            model, is_right = onnxsim.simplify(onnx.load(source))
        onnx.save(model, str(folder / "simplified.onnx"))
    except Exception as error:  # what it cannot simplify is converted as it is
        print(f"not simplified: {error}", file=sys.stderr)
        return source
    return str(folder / "simplified.onnx") if is_right else source


def converted(source: str, folder: Path, inputs: list[str], **options: int) -> Path:
    """The file with float32 numbers."""
    import onnx2tf

    with contextlib.redirect_stdout(sys.stderr):
        onnx2tf.convert(
            input_onnx_file_path=source,
            output_folder_path=str(folder),
            keep_shape_absolutely_input_names=inputs,
            not_use_onnxsim=True,
            non_verbose=True,
            **options,
        )
    (path,) = folder.glob("*_float32.tflite")
    return path


def is_batch(value: Any) -> bool:
    """Whether the first dimension of an input or output is open."""
    dims = value.type.tensor_type.shape.dim
    return len(dims) > 0 and not dims[0].HasField("dim_value")


def takes_two(path: Path) -> bool:
    """Whether the file can compute two items, as far as its sizes tell."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    try:
        for each in interpreter.get_input_details():
            interpreter.resize_tensor_input(each["index"], [2, *map(int, each["shape"][1:])], strict=True)
        interpreter.allocate_tensors()
        interpreter.invoke()
    except (RuntimeError, ValueError):
        return False
    return all(interpreter.get_tensor(each["index"]).shape[0] == 2 for each in interpreter.get_output_details())


def names_of(path: Path, inputs: list[str], outputs: list[str]) -> dict[str, Any]:
    """The tensor of each input and output in the file. ValueError for an output that is not in it."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    given = {plain(each["name"]): each["name"] for each in interpreter.get_input_details()}
    made = {plain(each["name"]): each["name"] for each in interpreter.get_output_details()}
    lost = [name for name in outputs if name not in made]
    if lost:
        raise ValueError(f"output '{lost[0]}' is not in the converted file, which has {', '.join(sorted(made))}")
    return {"inputs": {name: given.get(name) for name in inputs}, "outputs": {name: made[name] for name in outputs}}


def axes_of(source: str, path: Path, names: dict[str, Any]) -> dict[str, list[int]]:
    """The axes of each output that is to be transposed: those with which one run is nearest to onnxruntime's."""
    import numpy as np
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    given = {each["name"]: each for each in interpreter.get_input_details()}
    made = {each["name"]: each["index"] for each in interpreter.get_output_details()}
    random, feed = np.random.default_rng(0), {}
    for name, known in names["inputs"].items():
        if known is not None:
            feed[name] = random.standard_normal(given[known]["shape"]).astype(given[known]["dtype"])
            interpreter.set_tensor(given[known]["index"], feed[name])
    interpreter.invoke()
    reference = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    used = {value.name: feed[value.name] for value in reference.get_inputs() if value.name in feed}
    expected = dict(zip(names["outputs"], reference.run(list(names["outputs"]), used), strict=True))
    axes = {name: nearest(expected[name], interpreter.get_tensor(made[known])) for name, known in names["outputs"].items()}
    return {name: each for name, each in axes.items() if each != sorted(each)}


def nearest(expected: Any, made: Any) -> list[int]:
    """The axes, in order or with the last one moved to the second place, with which `made` is nearest to what is expected."""
    import numpy as np

    same = list(range(made.ndim))
    moved = [0, made.ndim - 1, *range(1, made.ndim - 1)] if made.ndim > 2 else same
    fitting = [each for each in (same, moved) if made.transpose(each).shape == expected.shape]
    if not fitting:
        return same
    return min(fitting, key=lambda each: float(np.abs(made.transpose(each).astype("f8") - expected.astype("f8")).sum()))


def plain(name: str) -> str:
    """The name in the ONNX file: signatures put a word before it and a number behind it."""
    return name.removeprefix(PREFIX).rsplit(":", 1)[0] if name.startswith(PREFIX) else name


if __name__ == "__main__":
    main(*sys.argv[1:])
