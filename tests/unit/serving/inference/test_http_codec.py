"""Bodies of HTTP: what they hold as values, and one line for what is wrong with them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from multiedge.errors import MultiedgeError
from multiedge.serving.inference.contract import RequestError
from multiedge.serving.inference.http_codec import decode_request, encode_reply, json_size
from multiedge.serving.inference.wire import GivenTensor, MadeOutput, WantedOutput, WireReply, WireRequest


def tensor(**changes):
    return {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2.5, 3, 4]} | changes


def body(*inputs, **more):
    return json.dumps({"inputs": list(inputs)} | more).encode()


def decoded(data, size=None):
    return decode_request("m", "", data, size)


@pytest.mark.parametrize(
    ("datatype", "values", "expected"),
    [
        ("FP32", [1, 2.5, 3, 4], np.array([[1, 2.5], [3, 4]], np.float32)),
        ("FP32", [[1, 2.5], [3, 4]], np.array([[1, 2.5], [3, 4]], np.float32)),
        ("FP16", [1, 2.5, 3, 4], np.array([[1, 2.5], [3, 4]], np.float16)),
        ("INT8", [-128, 127, 0, 1], np.array([[-128, 127], [0, 1]], np.int8)),
        ("UINT64", [2**64 - 1, 2**63, 2**63, 2**63], np.array([[2**64 - 1, 2**63], [2**63, 2**63]], np.uint64)),
        ("BOOL", [True, False, True, True], np.array([[True, False], [True, True]])),
        ("BYTES", ["a", "é", "", "b"], np.array([["a", "é"], ["", "b"]], dtype=object)),
        ("BYTES", [["a", "é"], ["", "b"]], np.array([["a", "é"], ["", "b"]], dtype=object)),
    ],
)
def test_data_in_json_may_be_flat_or_nested(datatype, values, expected):
    given = decoded(body(tensor(datatype=datatype, data=values))).inputs[0]
    assert given.array.dtype == expected.dtype
    np.testing.assert_array_equal(given.array, expected)


@pytest.mark.parametrize(("shape", "data"), [([0, 3], []), ([], [1.0])])
def test_a_tensor_without_elements_and_one_without_dimensions_are_read(shape, data):
    assert decoded(body(tensor(shape=shape, data=data))).inputs[0].array.shape == tuple(shape)


def test_binary_contents_follow_the_json_in_the_order_of_the_inputs():
    one, two = np.arange(4, dtype=np.float32), np.array([1, 2], np.int64)
    head = body(
        {"name": "a", "datatype": "FP32", "shape": [4], "parameters": {"binary_data_size": 16}},
        tensor(),
        {"name": "b", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}},
    )
    request = decoded(head + one.tobytes() + two.tobytes(), len(head))
    np.testing.assert_array_equal(request.inputs[0].array, one)
    np.testing.assert_array_equal(request.inputs[2].array, two)
    assert request.inputs[1].array.shape == (2, 2)


def test_id_parameters_and_wanted_outputs_are_read():
    request = decoded(
        body(tensor(), id="17", parameters={"a": 1, "b": True, "c": 0.5, "d": "t", "e": None}, outputs=[{"name": "y"}])
    )
    assert (request.model, request.id) == ("m", "17")
    assert request.parameters == {"a": 1, "b": True, "c": 0.5, "d": "t"}
    assert request.outputs == (WantedOutput("y"),)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "request: not valid JSON: expecting value at column 1"),
        (b"[" * 100_000, "request: not valid JSON: nested too deeply"),
        (b"[1]", "request: expected a mapping of id, parameters, inputs, outputs, got a list of 1"),
        (b"{}", "request: inputs: missing; expected a list"),
        (b'{"input": []}', "request: unknown key 'input'; did you mean 'inputs'?"),
        (body({"name": "x"}, id=3), "request: id: expected a text, got 3"),
        (body(tensor(datatype="FP31")), "request: inputs[0].datatype: unknown value 'FP31'; did you mean 'FP"),
        (body(tensor(shape=[-1, 2])), "request: inputs[0].shape[0]: expected a whole number from 0, got -1"),
        (body(tensor(shape=[2**70])), "request: inputs[0].shape[0]: expected a whole number from 0, got a whole number"),
        (
            body(tensor(shape=[3, 2])),
            "request: inputs[0].data: expected values for shape [3, 2], flat or nested, got",
        ),
        (body(tensor(data=[[1, 2], [3]])), "request: inputs[0].data: expected lists of the same length at each level"),
        (body(tensor(data=[1, 2, 3, "4"])), "request: inputs[0].data: expected values of FP32, got others"),
        (body(tensor(data=[1, 2, 3, None])), "request: inputs[0].data: expected values of FP32, got others"),
        (body(tensor(data=[1e300, 2, 3, 4])), "request: inputs[0].data: expected values that FP32 can hold"),
        (body(tensor(datatype="INT8", data=[1, 2, 3, 128])), "request: inputs[0].data: expected values that INT8 can hold"),
        (body(tensor(datatype="UINT8", data=[1, 2, 3, -1])), "request: inputs[0].data: expected values that UINT8 can hold"),
        (body(tensor(datatype="INT32", data=[1, 2, 3, 4.5])), "request: inputs[0].data: expected values of INT32, got others"),
        (body(tensor(datatype="BYTES")), "request: inputs[0].data: expected texts, got others"),
        (body(tensor(data=4)), "request: inputs[0].data: expected a list of values, got 4"),
        (body(tensor(datatype=None)), "unknown datatype ''"),
        (body(tensor(parameters={"a": [1]})), "request: inputs[0].parameters.a: expected a text, got a list of 1"),
        (
            body(tensor(parameters={"binary_data_size": 16})),
            "request: inputs[0]: binary_data_size: expected at most the 0 bytes that are left, got 16",
        ),
    ],
)
def test_a_damaged_body_is_one_line(data, line):
    with pytest.raises(MultiedgeError) as caught:
        decoded(data)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("declared", "rest", "line"),
    [
        (12, bytes(12), "tensor 'x': 12 bytes do not fill FP32 (2, 2)"),
        (16, bytes(20), "request: expected 16 bytes after the JSON, got 20"),
        (16, bytes(12), "request: inputs[0]: binary_data_size: expected at most the 12 bytes that are left, got 16"),
        (-1, bytes(12), "request: inputs[0]: binary_data_size: expected at most the 12 bytes that are left, got -1"),
    ],
)
def test_binary_contents_of_another_size_are_one_line(declared, rest, line):
    head = body({"name": "x", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": declared}})
    with pytest.raises(MultiedgeError) as caught:
        decoded(head + rest, len(head))
    assert str(caught.value) == line


@pytest.mark.parametrize("header", ["-1", "11", "abc", "9" * 5000, "", "1e1", "٣"])
def test_a_length_of_the_json_that_is_none_is_one_line(header):
    with pytest.raises(RequestError, match="Inference-Header-Content-Length: expected at most the 10 bytes of the body, got"):
        json_size(bytes(10), header)
    assert json_size(bytes(10), "10") == 10
    assert json_size(bytes(10), None) is None


def reply(*outputs):
    return WireReply("m", "1", "17", outputs, {"row": "local"})


def request(outputs=(), **parameters):
    return WireRequest("m", "", "17", (GivenTensor("x", "FP32", (), None),), outputs, parameters)


def test_outputs_are_json_unless_binary_data_are_requested():
    y, t = np.array([[1.5]], np.float32), np.array(["a"], dtype=object)
    answer = encode_reply(reply(MadeOutput("y", y), MadeOutput("t", t)), request())
    assert answer.json_bytes is None
    assert json.loads(answer.content) == {
        "model_name": "m",
        "model_version": "1",
        "id": "17",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [1.5]},
            {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["a"]},
        ],
        "parameters": {"row": "local"},
    }


@pytest.mark.parametrize(
    "asked",
    [request(binary_data_output=True), request((WantedOutput("y", {"binary_data": True}),))],
    ids=["of all outputs", "of one output"],
)
def test_binary_outputs_follow_the_json(asked):
    y = np.arange(3, dtype=np.float32)
    answer = encode_reply(reply(MadeOutput("y", y)), asked)
    assert answer.content[answer.json_bytes :] == y.tobytes()
    assert json.loads(answer.content[: answer.json_bytes])["outputs"] == [
        {"name": "y", "datatype": "FP32", "shape": [3], "parameters": {"binary_data_size": 12}}
    ]


def test_what_json_cannot_state_is_refused_with_the_remedy():
    with pytest.raises(RequestError, match="output 'y' has values that JSON cannot state; request binary data"):
        encode_reply(reply(MadeOutput("y", np.array([np.nan], np.float32))), request())
