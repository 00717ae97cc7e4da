"""Paddle Lite 2.13rc0 for `serve`, with X2Paddle and PaddlePaddle, which make its models; it runs with Python 3.10.

Beside a converted file is another, with '.json' appended to its name, with the names of its inputs and outputs in order:
X2Paddle replaces them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

import numpy as np


def convert(source: str, target: str) -> None:
    from paddlelite.lite import Opt
    from x2paddle.convert import onnx2paddle

    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, folder)  # X2Paddle imports the module that it writes
        onnx2paddle(source, folder, disable_feedback=True)
        made = os.path.join(folder, "inference_model")
        tool = Opt()
        tool.set_model_file(os.path.join(made, "model.pdmodel"))
        tool.set_param_file(os.path.join(made, "model.pdiparams"))
        tool.set_valid_places("x86")
        tool.set_model_type("naive_buffer")
        tool.set_optimize_out(target.rsplit(".", 1)[0])
        tool.run()


class Model:
    """An optimised model on one thread of the CPU."""

    def __init__(self, path: str) -> None:
        from paddlelite.lite import MobileConfig, create_paddle_predictor

        with open(path + ".json", encoding="utf-8") as file:
            names = json.load(file)
        self.inputs, self.outputs = names["inputs"], names["outputs"]
        config = MobileConfig()
        config.set_model_from_file(path)
        self._predictor = create_paddle_predictor(config)

    def run(self, arrays: list[Any]) -> list[Any]:
        for place, array in enumerate(arrays):
            self._predictor.get_input(place).from_numpy(np.ascontiguousarray(array))
        self._predictor.run()
        return [np.array(self._predictor.get_output(place).numpy()) for place in range(len(self.outputs))]


def open_model(path: str, threads: int) -> Model:
    if threads != 1:
        raise ValueError(f"expected 1 thread, got {threads}: its Python has no setting for others")
    return Model(path)
