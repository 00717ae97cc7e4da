"""Requests to a served stage, damaged in any way, are decoded or refused."""

from __future__ import annotations

import random

import numpy as np
import pytest
from google.protobuf.message import DecodeError

from multiedge.errors import MultiedgeError
from multiedge.graph import Tensor
from tests.builders.fuzzing import mutated

pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")

from multiedge.serving.inference.grpc_codec import decode_request
from multiedge.serving.signature import Signature
from multiedge.transports.open_inference import infer_request, messages

SIGNATURE = Signature({"x": Tensor("x", "float32", (2, 3)), "s": Tensor("s", "object", None)}, {"y": Tensor("y")})
FEW, MANY = 500, 10_000


def examples() -> list[bytes]:
    tensors = {"x": np.ones((2, 3), np.float32), "s": np.array(["a", "héllo"], dtype=object)}
    raw, typed = infer_request("m", 1, tensors, ["y"]), infer_request("m", 1, tensors, ["y"])
    del typed.raw_input_contents[:]
    raw.parameters.add(key="timeout").value.int64_param = 1000
    raw.outputs[0].parameters.add(key="shared_memory_region").value.string_param = "r"
    typed.inputs[0].contents.fp32_contents.extend([1.0] * 6)
    typed.inputs[1].contents.bytes_contents.extend([b"a", b"b"])
    return [raw.SerializeToString(), typed.SerializeToString()]


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_damaged_request_is_decoded_or_refused(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    generator, good = random.Random("messages"), examples()
    refused = 0
    for _ in range(count):
        try:
            request = decode_request(messages()["ModelInferRequest"].FromString(mutated(generator.choice(good), generator)))
            SIGNATURE.require_inputs({tensor.name: tensor.array for tensor in request.inputs if tensor.array is not None})
            SIGNATURE.require_outputs(output.name for output in request.outputs)
        except (DecodeError, MultiedgeError):  # gRPC itself answers what cannot be decoded
            refused += 1
    assert refused > count / 10
    with capsys.disabled():
        print(f"\nrequests: {count} inputs, {refused} refused")
