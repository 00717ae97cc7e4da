"""Kept tensors in the protocol's messages: what is written is read, and what is no address is refused."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.errors import PipelineError

pytest.importorskip("google.protobuf", reason="the extra `remote` (grpcio, protobuf) is not installed")

from multiedge.transports.open_inference import messages, pack
from multiedge.transports.references import (
    KeptTensor,
    add_released,
    chained_request,
    given_inputs,
    made_outputs,
    pack_kept,
    released,
    to_keep,
)

KEPT = KeptTensor("10.0.0.7:8081", "0af3")
ARRAY = np.arange(3, dtype=np.float32)


def parsed(message):
    """The message after its way over a network."""
    return type(message).FromString(message.SerializeToString())


def test_a_request_holds_arrays_and_kept_tensors_and_what_is_to_stay():
    request = parsed(chained_request(4, {"x": ARRAY, "k": KEPT}, ["y", "z"], ["z"]))
    arrays, kept = given_inputs(request)
    assert list(arrays) == ["x"]
    np.testing.assert_array_equal(arrays["x"], ARRAY)
    assert kept == {"k": KEPT}
    assert [output.name for output in request.outputs] == ["y", "z"]
    assert to_keep(request) == {"z"}


def test_an_answer_holds_arrays_and_the_keys_of_what_stayed():
    response = messages()["ModelInferResponse"]()
    pack(response.outputs, response.raw_output_contents, {"y": ARRAY})
    pack_kept(response, {"z": "0af3"})
    made = made_outputs(parsed(response), "10.0.0.7:8081")
    np.testing.assert_array_equal(made["y"], ARRAY)
    assert made["z"] == KEPT


@pytest.mark.parametrize("keys", [[], ["a"], ["a", "b"]])
def test_released_keys_come_with_the_next_request(keys):
    request = chained_request(1, {}, [], [])
    add_released(request, keys)
    assert released(parsed(request)) == tuple(keys)


@pytest.mark.parametrize("text", ["", "key", "host/key", ":80/key", "host:x/key", "host:80/", "host:80/../../x", "host:80/a b"])
def test_what_is_no_kept_tensor_is_refused(text):
    with pytest.raises(PipelineError, match="expected a kept tensor as host:port/key"):
        KeptTensor.parse(text)
