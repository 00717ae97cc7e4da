"""MindSpore Lite 2.0.0 for `serve`: it imports numpy besides, and runs with Python 3.7.

Beside a converted file is another, with '.json' appended to its name, with the names of its outputs: the runtime tells them
only once it has computed.
"""

from __future__ import annotations

import json
from typing import Any

import mindspore_lite as mslite
import numpy as np


def convert(source: str, target: str) -> None:
    converter = mslite.Converter()
    converter.save_type = mslite.ModelType.MINDIR
    converter.convert(fmk_type=mslite.FmkType.ONNX, model_file=source, output_file=target.rsplit(".", 1)[0])


class Model:
    """A MindIR file on the CPU."""

    def __init__(self, path: str, threads: int) -> None:
        context = mslite.Context()
        context.target = ["cpu"]
        context.cpu.thread_num = threads
        context.cpu.precision_mode = "enforce_fp32"
        self._model = mslite.Model()
        self._model.build_from_file(path, mslite.ModelType.MINDIR, context)
        given = {tensor.name: tensor for tensor in self._model.get_inputs()}
        with open(path + ".json", encoding="utf-8") as file:
            names = json.load(file)
        self.inputs, self.outputs = names["inputs"], names["outputs"]
        self._given = [given[name] for name in self.inputs]

    def run(self, arrays: list[Any]) -> list[Any]:
        shapes = [list(array.shape) for array in arrays]
        if shapes != [tensor.shape for tensor in self._given]:
            self._model.resize(self._given, shapes)
        for tensor, array in zip(self._given, arrays):  # noqa: B905  # strict came after Python 3.7
            tensor.set_data_from_numpy(np.ascontiguousarray(array))
        made = {tensor.name: tensor.get_data_to_numpy() for tensor in self._model.predict(self._given)}
        return [made[name] for name in self.outputs]


def open_model(path: str, threads: int) -> Model:
    return Model(path, threads)
