"""Targets of the Open Inference Protocol: samples that cannot be, and answers that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multiedge.errors import ConfigError
from multiedge.graph import Tensor
from multiedge.load.open_inference import OpenInferenceHttp, sample_arrays
from multiedge.load.place import parse_place
from tests.builders.load_servers import asked_server

DESCRIBED = {"name": "net", "extensions": [], "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]}
INPUTS = {"x": Tensor("x", "float32", (None, 3))}


def answer_of(fields: str = "", **changes: Any) -> bytes:
    """An answer with one output, changed so; None leaves a field out."""
    output = {"name": "y", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0], **changes}
    given = {name: value for name, value in output.items() if value is not None}
    return f"HTTP/1.1 200 OK\r\n{fields}\r\n{json.dumps({'outputs': [given]})}".encode()


@pytest.fixture(scope="module")
def target() -> OpenInferenceHttp:
    with asked_server(DESCRIBED) as server:
        return OpenInferenceHttp(parse_place(f"{server.url}/v2/models/net"), samples=1)


def test_an_answer_gives_its_outputs(target: OpenInferenceHttp) -> None:
    reading = target.read(answer_of())
    assert (reading.error, reading.outputs["y"].tolist()) == ("", [1.0, 2.0])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(answer_of(shape=[3]), "cannot reshape array of size 2 into shape (3,)", id="another-shape"),
        pytest.param(answer_of(data=["a", "b"]), "could not convert string to float", id="text"),
        pytest.param(answer_of("Inference-Header-Content-Length: x\r\n"), "invalid literal for int()", id="no-length"),
        pytest.param(answer_of(data=None), "expected the values of the output", id="no-data"),
    ],
)
def test_an_answer_that_does_not_fit_is_an_error_of_its_item(target: OpenInferenceHttp, answer: bytes, reason: str) -> None:
    reading = target.read(answer)
    assert reason in reading.error
    assert "\n" not in reading.error
    assert not reading.outputs


def test_a_number_of_samples_beside_inputs_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((1, 3), np.float32))
    inputs = (str(tmp_path / "a.npz"),)
    assert len(sample_arrays(INPUTS, inputs, None, 0)) == 1
    with pytest.raises(ConfigError, match="samples: has no effect"):
        sample_arrays(INPUTS, inputs, 5, 0)


def test_random_samples_are_as_many_as_are_asked_for() -> None:
    assert [len(sample_arrays(INPUTS, (), count, 0)) for count in (None, 5)] == [16, 5]
    with pytest.raises(ConfigError, match="samples: expected 1 or more, got 0"):
        sample_arrays(INPUTS, (), 0, 0)
