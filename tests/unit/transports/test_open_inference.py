"""The protocol's codec and our server, with fake sessions over loopback."""

import sys

import numpy as np
import pytest

pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")

import grpc

from multiedge.errors import MissingDependencyError, ModelError, PipelineError
from multiedge.serving.server import StageServer
from multiedge.transports.open_inference import SERVICE, grpc_module, infer_request, messages, pack, unpack

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_survive_the_wire_bit_by_bit(dtype):
    array = (np.arange(24).reshape(2, 3, 4) % 2).astype(dtype)
    request = messages()["ModelInferRequest"].FromString(infer_request("m", 7, {"x": array}, ["y"]).SerializeToString())
    back = unpack(request.inputs, request.raw_input_contents)["x"]
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)
    assert (request.id, request.model_name, request.outputs[0].name) == ("7", "m", "y")


def test_strings_and_empty_tensors_survive():
    tensors = {"s": np.array([["a", "héllo"], ["", "z"]], dtype=object), "none": np.zeros((0, 3), np.float32)}
    request = infer_request("m", 0, tensors, [])
    back = unpack(request.inputs, request.raw_input_contents)
    assert back["s"].tolist() == tensors["s"].tolist()
    assert back["none"].shape == (0, 3)


def test_a_type_that_the_protocol_lacks_is_named():
    with pytest.raises(PipelineError, match="tensor 'x': the Open Inference Protocol has no type for complex64"):
        infer_request("m", 0, {"x": np.zeros(1, np.complex64)}, [])


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "message"),
    [
        ("FP32", [4], b"123", "3 bytes do not fill FP32"),
        ("FP31", [1], b"1234", "unknown datatype 'FP31'"),
        ("FP32", [1], b"", "0 bytes do not fill FP32"),
        ("INT64", [-1, 2], b"x" * 16, r"tensor 'y': expected sizes from 0, got \[-1, 2\]"),
        ("INT64", [2**62, 2**62], b"x" * 16, "16 bytes do not fill INT64"),
        ("FP32", [1] * 100, b"1234", "4 bytes do not fill FP32"),
        ("BYTES", [1], b"\xff\x00\x00\x00a", "runs past the end"),
        ("BYTES", [1], b"\x01\x00", "runs past the end"),
        ("BYTES", [2], b"\x01\x00\x00\x00a", "do not fill BYTES"),
        ("BYTES", [1], b"\x01\x00\x00\x00\xff", "tensor 'y': expected strings in UTF-8"),
    ],
)
def test_damaged_contents_are_one_error(datatype, shape, raw, message):
    response = messages()["ModelInferResponse"]()
    response.outputs.add(name="y", datatype=datatype, shape=shape)
    response.raw_output_contents.append(raw)
    with pytest.raises(PipelineError, match=message):
        unpack(response.outputs, response.raw_output_contents)


@pytest.mark.parametrize(
    ("datatype", "field", "values", "dtype"),
    [
        ("BOOL", "bool_contents", [True, False], "bool"),
        ("INT8", "int_contents", [-128, 127], "int8"),
        ("INT32", "int_contents", [-(2**31), 1], "int32"),
        ("UINT16", "uint_contents", [0, 65535], "uint16"),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1], "int64"),
        ("UINT64", "uint64_contents", [0, 2**64 - 1], "uint64"),
        ("FP32", "fp32_contents", [1.5, float("inf")], "float32"),
        ("FP64", "fp64_contents", [0.1, -2.0], "float64"),
        ("BYTES", "bytes_contents", [b"a", "é".encode()], "object"),
    ],
)
def test_typed_contents_are_read(datatype, field, values, dtype):
    request = messages()["ModelInferRequest"]()
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[2, 1])
    getattr(tensor.contents, field).extend(values)
    wired = messages()["ModelInferRequest"].FromString(request.SerializeToString())
    array = unpack(wired.inputs, wired.raw_input_contents)["x"]
    expected = [value.decode() for value in values] if datatype == "BYTES" else values
    assert (array.dtype.name, array.ravel().tolist()) == (dtype, expected)
    assert array.shape == (2, 1)


@pytest.mark.parametrize(
    ("datatype", "shape", "field", "values", "message"),
    [
        ("FP32", [3], "fp32_contents", [1.0], "1 values do not fill FP32"),
        ("FP32", [2**62], "fp32_contents", [1.0], "1 values do not fill FP32"),
        ("FP32", [1], "fp64_contents", [1.0], "expected fp32_contents for FP32, got fp64_contents"),
        ("FP16", [1], "fp32_contents", [1.0], "expected raw for FP16, got fp32_contents"),
        ("FP16", [0], "fp32_contents", [], "expected raw contents for FP16, got none"),
        ("INT8", [1], "int_contents", [300], "expected values that INT8 can hold"),
        ("BYTES", [1], "bytes_contents", [b"\xff"], "expected strings in UTF-8"),
    ],
)
def test_typed_contents_that_do_not_fit_are_one_error(datatype, shape, field, values, message):
    request = messages()["ModelInferRequest"]()
    getattr(request.inputs.add(name="x", datatype=datatype, shape=shape).contents, field).extend(values)
    with pytest.raises(PipelineError, match=message):
        unpack(request.inputs, request.raw_input_contents)


def test_raw_and_typed_contents_together_and_a_tensor_given_twice_are_refused():
    request = infer_request("m", 0, {"x": np.zeros(1, np.float32)}, [])
    request.inputs[0].contents.fp32_contents.append(1.0)
    with pytest.raises(PipelineError, match="tensor 'x': expected raw or typed contents, got both"):
        unpack(request.inputs, request.raw_input_contents)
    request.inputs.add(name="x", datatype="FP32", shape=[1])
    with pytest.raises(PipelineError, match="expected each tensor once, got x, x"):
        unpack(request.inputs, request.raw_input_contents)


def test_an_empty_message_of_typed_contents_beside_raw_ones_is_accepted():
    """As MLServer sends it."""
    request = infer_request("m", 0, {"x": np.ones(1, np.float32)}, [])
    request.inputs[0].contents.SetInParent()
    assert unpack(request.inputs, request.raw_input_contents)["x"] == 1


def test_every_contents_but_none_described_is_refused():
    with pytest.raises(PipelineError, match="expected raw contents for 0 tensors, got 1"):
        unpack([], [b"1234"])


@pytest.mark.parametrize(
    ("texts", "raw"),
    [
        pytest.param([""], b"\0\0\0\0", id="empty"),
        pytest.param(["a", "é"], b"\1\0\0\0a\2\0\0\0\xc3\xa9", id="lengths-count-bytes"),
        pytest.param([7], b"\1\0\0\0" + b"7", id="a-number-among-objects"),
    ],
)
def test_strings_have_a_length_of_four_bytes_each(texts, raw):
    request = infer_request("m", 0, {"s": np.array(texts, dtype=object)}, [])
    assert request.raw_input_contents[0] == raw
    assert request.inputs[0].datatype == "BYTES"


def test_a_scalar_has_an_empty_shape():
    request = infer_request("m", 0, {"x": np.float32(2.5) * np.ones((), np.float32)}, [])
    assert list(request.inputs[0].shape) == []
    assert unpack(request.inputs, request.raw_input_contents)["x"].item() == 2.5


def test_strided_tensors_are_sent_in_order():
    strided = np.arange(12, dtype=np.int32).reshape(3, 4).T
    request = infer_request("m", 0, {"x": strided}, [])
    np.testing.assert_array_equal(unpack(request.inputs, request.raw_input_contents)["x"], strided)


def test_received_tensors_are_views_without_a_copy():
    request = infer_request("m", 0, {"x": np.zeros(4, np.float32)}, [])
    found = unpack(request.inputs, request.raw_input_contents)["x"]
    assert found.base is not None
    assert not found.flags.writeable


def test_field_numbers_are_those_of_the_protocol():
    """Hand-made bytes: field 1 'model_name', field 3 'id', field 7 'raw_input_contents', each of wire type 2."""
    request = messages()["ModelInferRequest"](model_name="m", id="7")
    request.raw_input_contents.append(b"xy")
    assert request.SerializeToString(deterministic=True) == b"\x0a\x01m" + b"\x1a\x017" + b"\x3a\x02xy"


def test_without_protobuf_or_grpc_the_remedy_is_named(monkeypatch):
    messages.cache_clear()
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(MissingDependencyError, match=r"package 'protobuf' is not installed; run: pip install '.*\[remote\]'"):
        messages()
    with pytest.raises(MissingDependencyError, match=r"package 'grpcio' is not installed; run: pip install '.*\[remote\]'"):
        grpc_module()


class Doubler:
    inputs = ("x",)
    outputs = ("y", "unused")
    closed = False

    def run(self, tensors):
        if tensors["x"].size == 0:
            raise ModelError("x is empty")
        return {"y": tensors["x"] * 2, "unused": tensors["x"]}

    def close(self):
        self.closed = True


@pytest.fixture
def served():
    session = Doubler()
    with StageServer({"stage_1": session}) as server, grpc.insecure_channel(server.address) as channel:
        yield channel
    assert session.closed


def call(channel, method, request):
    kinds = messages()
    send = kinds[f"{method}Request"].SerializeToString
    receive = kinds[f"{method}Response"].FromString
    return channel.unary_unary(f"/{SERVICE}/{method}", send, receive)(request, timeout=10)


def test_the_server_answers_what_was_asked_for(served):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    answer = call(served, "ModelInfer", infer_request("stage_1", 3, {"x": x}, ["y"]))
    made = unpack(answer.outputs, answer.raw_output_contents)
    assert answer.id == "3"
    assert list(made) == ["y"]
    assert np.array_equal(made["y"], x * 2)


def test_the_server_says_what_it_holds(served):
    kinds = messages()
    assert call(served, "ServerReady", kinds["ServerReadyRequest"]()).ready
    assert call(served, "ServerLive", kinds["ServerLiveRequest"]()).live
    assert call(served, "ModelReady", kinds["ModelReadyRequest"](name="stage_1")).ready
    assert not call(served, "ModelReady", kinds["ModelReadyRequest"](name="stage_2")).ready
    metadata = call(served, "ModelMetadata", kinds["ModelMetadataRequest"](name="stage_1"))
    assert [tensor.name for tensor in metadata.inputs] == ["x"]


def test_an_unknown_model_and_bad_input_fail_one_request_only(served):
    x = np.ones(1, np.float32)
    with pytest.raises(grpc.RpcError) as unknown:
        call(served, "ModelInfer", infer_request("stage_9", 0, {"x": x}, ["y"]))
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as bad:
        call(served, "ModelInfer", infer_request("stage_1", 0, {"x": x[:0]}, ["y"]))
    assert bad.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "x is empty" in bad.value.details()
    assert call(served, "ModelInfer", infer_request("stage_1", 1, {"x": x}, ["y"])).id == "1"


def test_the_server_binds_to_loopback_and_says_when_a_port_is_taken(served):
    with StageServer({}) as server:
        assert server.address.startswith("127.0.0.1:")
        with pytest.raises(PipelineError, match="is the port taken"):
            StageServer({}, port=server.port)


def test_pack_keeps_order():
    response = messages()["ModelInferResponse"]()
    pack(response.outputs, response.raw_output_contents, {"b": np.zeros(1), "a": np.ones(1)})
    assert [tensor.name for tensor in response.outputs] == ["b", "a"]
