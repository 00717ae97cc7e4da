"""Bodies of requests over HTTP, damaged in any way, are decoded or refused in one line; good ones keep their tensors."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from multiedge.errors import MultiedgeError
from multiedge.serving.inference.http_codec import decode_request, encode_reply, json_size
from multiedge.serving.inference.wire import MadeOutput, WireReply, WireRequest
from multiedge.transports.open_inference import DATATYPES, datatype_of, dtype_of
from tests.builders.fuzzing import mutated

FEW, MANY = 500, 10_000
TYPES = [name for name in DATATYPES if name != "BYTES"]


def refusal(body: bytes, header: str) -> str:
    """Why a body is refused; '' if it is decoded. Every other error passes through."""
    try:
        decode_request("m", "", body, json_size(body, header))
    except MultiedgeError as error:
        return str(error)
    return ""


def described(name: str, array: np.ndarray, is_binary: bool) -> tuple[dict[str, object], bytes]:
    """An input, and its contents after the JSON."""
    about = {"name": name, "datatype": datatype_of(array.dtype.name), "shape": list(array.shape)}
    if not is_binary:
        return about | {"data": array.tolist() if array.ndim else [array.item()]}, b""
    return about | {"parameters": {"binary_data_size": array.nbytes}}, array.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_array_is_the_same_after_its_way_in_json_or_binary(data: st.DataObject) -> None:
    dtype = dtype_of(data.draw(st.sampled_from(TYPES)))
    elements = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else None
    shape = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    array = data.draw(arrays.arrays(dtype, shape, elements=arrays.from_dtype(dtype, **elements) if elements else None))
    is_binary = data.draw(st.booleans())
    about, contents = described("x", array, is_binary)
    head = json.dumps({"inputs": [about]}).encode()
    request = decode_request("m", "", head + contents, len(head) if is_binary else None)
    np.testing.assert_array_equal(request.inputs[0].array, array)
    asked = WireRequest("m", "", "", (), (), {"binary_data_output": is_binary})
    reply = encode_reply(WireReply("m", "", "", (MadeOutput("x", array),), {}), asked)
    back = decode_request("m", "", reply.content.replace(b'"outputs"', b'"inputs"', 1), _shorter(reply.json_bytes))
    np.testing.assert_array_equal(back.inputs[0].array, array)
    assert back.inputs[0].array.dtype == array.dtype


def _shorter(json_bytes: int | None) -> int | None:
    """'inputs' has one letter less than 'outputs'."""
    return None if json_bytes is None else json_bytes - 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("name", "datatype", "shape", "data", "parameters")


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)), st.sampled_from(FIELDS), JSON, st.binary(max_size=20))
def test_a_field_of_any_value_is_read_or_refused_in_one_line(fields: dict, field: str, value: object, rest: bytes) -> None:
    good = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}
    for inputs in ([fields], [good | {field: value}], value):
        head = json.dumps({"inputs": inputs}).encode()
        assert "\n" not in refusal(head + rest, str(len(head)))


def examples() -> list[tuple[bytes, int]]:
    inputs = [described("x", np.ones((2, 3), np.float32), True), described("i", np.arange(4), False)]
    head = json.dumps({"id": "1", "inputs": [about for about, _ in inputs], "outputs": [{"name": "y"}]}).encode()
    return [(head + b"".join(contents for _, contents in inputs), len(head))]


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_damaged_body_is_decoded_or_refused(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    generator, good = random.Random("bodies"), examples()
    refused = 0
    for _ in range(count):
        body, size = generator.choice(good)
        damaged = mutated(body, generator)
        header = str(size + generator.choice((0, 0, 0, len(damaged) - len(body), 1)))
        line = refusal(damaged, header)
        assert "\n" not in line
        refused += bool(line)
    assert refused > count / 4
    with capsys.disabled():
        print(f"\nbodies: {count} inputs, {refused} refused")
