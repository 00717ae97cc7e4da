"""Encoded messages come out with the types and shapes that went in, and count what they took on the way."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.errors import PipelineError
from multiedge.fleet import Encoding
from multiedge.transports.coding import as_float16, coded, expected_bytes, restored
from multiedge.transports.message import Address, Message, decode, encode

HERE = Address(1, 2, 3, 4)
ARRAYS = {
    "float32": np.linspace(-3, 3, 600, dtype=np.float32).reshape(20, 30),
    "float64": np.linspace(-3, 3, 600).reshape(30, 20),
    "int64": np.arange(600).reshape(20, 30).T,
    "bool": np.arange(600) % 3 == 0,
    "text": np.array([["a", "ü"]], dtype=object),
    "empty": np.empty((0, 3), dtype=np.float32),
    "scalar": np.array(1.5, dtype=np.float32),
    "big-endian": np.arange(4, dtype=">f4"),
}


def sent(array: np.ndarray, encoding: Encoding) -> Message:
    return decode(HERE, encode(Message(HERE, "a", (array,), encoding=encoding, log=b"[1]")))


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("encoding", Encoding)
def test_type_shape_and_values_survive_every_encoding(name: str, encoding: Encoding) -> None:
    (array,) = sent(ARRAYS[name], encoding).arrays
    assert (array.dtype, array.shape) == (ARRAYS[name].dtype, ARRAYS[name].shape)
    assert not array.flags.writeable or name == "text"
    is_rounded = encoding is Encoding.FLOAT16 and array.dtype.kind == "f" and array.dtype.itemsize == 4
    expected = ARRAYS[name].astype(np.float16).astype(array.dtype) if is_rounded else ARRAYS[name]
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(("name", "share"), [("float32", 0.5), ("float64", 1), ("int64", 1), ("bool", 1)])
def test_float16_halves_float32_alone(name: str, share: float) -> None:
    message = sent(ARRAYS[name], Encoding.FLOAT16)
    assert message.nbytes == ARRAYS[name].nbytes * share == expected_bytes([ARRAYS[name]], Encoding.FLOAT16)


def test_zstd_counts_what_is_left_of_an_array_and_expects_all_of_it() -> None:
    zeros = np.zeros(10_000, np.float32)
    assert sent(zeros, Encoding.ZSTD).nbytes < 100
    assert expected_bytes([zeros], Encoding.ZSTD) == zeros.nbytes


def test_one_message_carries_encoded_arrays_and_others() -> None:
    given = tuple(ARRAYS[name] for name in ("float32", "text", "int64"))
    message = decode(HERE, encode(Message(HERE, "a", given, encoding=Encoding.FLOAT16)))
    np.testing.assert_allclose(message.arrays[0], given[0], rtol=2**-11)
    assert [array.tolist() for array in message.arrays[1:]] == [array.tolist() for array in given[1:]]


def test_a_value_that_float16_cannot_hold_is_refused_and_infinity_is_not() -> None:
    with pytest.raises(PipelineError, match=r"up to 65504, got 70000; remove `encoding: float16`"):
        as_float16(np.array([1, 7e4, np.inf], np.float32))
    assert as_float16(np.array([np.inf, -np.inf, 65504], np.float32)).tolist() == [np.inf, -np.inf, 65504]


@pytest.mark.parametrize("shape", [(3,), (1 << 40,)])
def test_compressed_bytes_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    payload = coded(np.zeros(4, np.float32), Encoding.ZSTD)
    with pytest.raises(ValueError, match="compressed bytes"):
        restored(payload, Encoding.ZSTD, np.dtype("f4"), shape)


def test_bytes_that_are_not_compressed_are_refused() -> None:
    with pytest.raises(ValueError, match="zstd"):
        restored(np.zeros(40, np.uint8), Encoding.ZSTD, np.dtype("f4"), (4,))
