"""A message comes out of its bytes as it went in, and its arrays are views that nobody can write to."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.transports.message import ALIGNMENT, Address, Message, decode, encode, join_logs, log_row, log_rows, plan_layout

HERE = Address(epoch=1, transfer=2, ticket=3, sequence=4)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_numbers_survive(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype=dtype)
    (found,) = decode(HERE, encode(Message(HERE, arrays=(array,)))).arrays
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)


def test_strided_arrays_and_strings_survive_side_by_side() -> None:
    strided, text = np.arange(12).reshape(3, 4).T, np.array([["a", "ü"]], dtype=object)
    found = decode(HERE, encode(Message(HERE, arrays=(strided, text, strided)))).arrays
    for array, expected in zip(found, (strided, text, strided), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_the_rest_of_a_message_survives() -> None:
    sent = Message(HERE, "a", (), "it broke", 1.5, 2.5, log_row("compute", 0, "a", 1.0, 1.25, 0, ""))
    assert decode(HERE, encode(sent)) == sent


def test_received_arrays_are_read_only_views_of_the_buffer() -> None:
    buffer = encode(Message(HERE, arrays=(np.zeros(3, dtype=np.uint8),)))
    (found,) = decode(HERE, buffer).arrays
    buffer[plan_layout(Message(HERE, arrays=(found,)))[1][0][0]] = 7
    assert found.tolist() == [7, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_payloads_are_aligned() -> None:
    _, payloads, size = plan_layout(Message(HERE, arrays=(np.zeros(3), np.zeros(5, dtype=np.uint8))))
    assert [offset % ALIGNMENT for offset, _ in payloads] == [0, 0]
    assert size % ALIGNMENT == 0


def test_logs_grow_row_by_row() -> None:
    first, second = log_row("compute", 0, "a", 1.0, 1.25, 0, ""), log_row("transfer", 1, "b", 1.25, 1.5, 8, "a")
    assert log_rows(join_logs((b"", first, second))) == [
        ["compute", 0, "a", 1.0, 1.25, 0, ""],
        ["transfer", 1, "b", 1.25, 1.5, 8, "a"],
    ]
    assert log_rows(b"") == []
