"""Tensors that an item does not have, in requests and replies of the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")

from multiedge.composed import VOID, is_void
from multiedge.serving.absent import AbsentPlace
from multiedge.serving.inference.contract import InferReply, InferRequest, RequestError
from multiedge.serving.inference.grpc_codec import decode_request, encode_reply
from multiedge.serving.inference.repository import ModelRepository
from multiedge.serving.inference.service import InferenceService, ServerInfo
from multiedge.serving.inference.wire import Call, WireReply
from multiedge.transports.references import chained_request, made_outputs
from tests.builders.inference import Doubler

CALL = Call(lambda: True, None, lambda: True)
X, S = np.ones((1, 3), np.float32), np.array(["a"], dtype=object)


class Lacking(Doubler):
    """Answers without `t`; with `says_so`, that is no mistake."""

    def __init__(self, *, says_so: bool) -> None:
        super().__init__()
        self.may_lack_outputs = says_so

    def infer(self, request: InferRequest) -> InferReply:
        return InferReply({"y": request.inputs["x"]})


def answered(model: Doubler, outputs: list[str], inputs: dict[str, Any]) -> tuple[dict[str, Any], WireReply]:
    """What a client gets that asks for these outputs, and the reply; both went over a network."""
    repository = ModelRepository()
    repository.put(model, None)
    service = InferenceService(repository, ServerInfo("test", "1", ()), places=[AbsentPlace()])
    request = chained_request(1, inputs, outputs, [])
    request.model_name = model.name
    reply = service.infer(decode_request(type(request).FromString(request.SerializeToString())), CALL)
    message = encode_reply(reply)
    return dict(made_outputs(type(message).FromString(message.SerializeToString()), "10.0.0.7:1")), reply


def test_an_output_that_an_item_does_not_have_is_sent_without_contents() -> None:
    made, reply = answered(Lacking(says_so=True), ["t", "y"], {"x": X, "s": S})
    assert is_void(made["t"])
    assert np.array_equal(made["y"], X)
    (absent,) = [output for output in reply.outputs if output.name == "t"]
    assert (absent.array.shape, dict(absent.parameters)) == ((0,), {"absent": True})


def test_an_input_that_an_item_does_not_have_reaches_the_model_as_void() -> None:
    model = Doubler()
    answered(model, ["y"], {"x": X, "s": VOID})
    assert is_void(model.seen[0].inputs["s"])


def test_an_output_that_a_model_should_have_made_is_an_error() -> None:
    with pytest.raises(RequestError, match="the model made no output 't'"):
        answered(Lacking(says_so=False), ["t"], {"x": X, "s": S})
