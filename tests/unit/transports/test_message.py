"""A message comes out of its bytes as it went in, and its arrays are views that nobody can write to."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.transports.message import (
    ALIGNMENT,
    GATHERED_BYTES,
    Address,
    Message,
    decode,
    encode,
    gather,
    join_logs,
    log_row,
    log_rows,
    plan_layout,
)

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


@pytest.mark.parametrize(
    ("array", "texts"),
    [
        pytest.param(np.array(["a", "bc"]), ["a", "bc"], id="unicode"),
        pytest.param(np.array([b"a", b"bc"]), ["a", "bc"], id="bytes"),
        pytest.param(np.array([b"a", np.str_("b")], dtype=object), ["a", "b"], id="objects-of-both"),
        pytest.param(np.array(["", '"', "\n", "\0", "é", "😀"], dtype=object), ["", '"', "\n", "\0", "é", "😀"], id="odd"),
        pytest.param(np.empty(0, dtype=object), [], id="none"),
    ],
)
def test_texts_arrive_as_objects(array: np.ndarray, texts: list[str]) -> None:
    (found,) = decode(HERE, encode(Message(HERE, arrays=(array,)))).arrays
    assert found.dtype == object
    assert found.tolist() == texts


def test_a_single_text_keeps_its_shape_of_a_scalar() -> None:
    (found,) = decode(HERE, encode(Message(HERE, arrays=(np.array("word", dtype=object),)))).arrays
    assert (found.shape, found.item()) == ((), "word")


@pytest.mark.parametrize("dtype", [">f4", ">i8"])
def test_byte_order_survives(dtype: str) -> None:
    (found,) = decode(HERE, encode(Message(HERE, arrays=(np.array([1, 2, 3], dtype=dtype),)))).arrays
    assert found.dtype.str == dtype
    assert found.tolist() == [1, 2, 3]


def test_figures_that_are_no_numbers_survive() -> None:
    array = np.array([np.nan, np.inf, -np.inf, -0.0])
    (found,) = decode(HERE, encode(Message(HERE, arrays=(array,)))).arrays
    assert found.tobytes() == array.tobytes()


def test_a_message_without_arrays_has_no_bytes_of_payload() -> None:
    assert Message(HERE).nbytes == 0
    assert Message(HERE, arrays=(np.zeros(3, dtype=np.float32), np.zeros((2, 0)))).nbytes == 12
    assert decode(HERE, encode(Message(HERE))).arrays == ()


def test_room_in_front_is_left_free() -> None:
    sent = Message(HERE, "a", (np.arange(3),))
    buffer = encode(sent, room=28)
    assert buffer[:28] == bytes(28)
    assert decode(HERE, memoryview(buffer)[28:]).arrays[0].tolist() == [0, 1, 2]


def test_a_message_is_decoded_out_of_a_larger_buffer() -> None:
    """A slot of shared memory is larger than its message and holds rests of earlier ones."""
    sent = Message(HERE, "a", (np.arange(3),), "", 1.0, 2.0, b'["x"]')
    assert decode(HERE, encode(sent) + b"\xff" * 1000).arrays[0].tolist() == [0, 1, 2]


def test_layouts_that_repeat_are_still_distinguished_by_shape_and_kind() -> None:
    arrays = [np.zeros((2, 3)), np.zeros((3, 2)), np.zeros(6), np.zeros(6, dtype=np.int64), np.zeros((2, 3))]
    found = [decode(HERE, encode(Message(HERE, arrays=(array,)))).arrays[0] for array in arrays]
    assert [(each.shape, each.dtype) for each in found] == [(each.shape, each.dtype) for each in arrays]


def test_the_rest_of_a_message_survives() -> None:
    sent = Message(HERE, "a", (), "it broke", 1.5, 2.5, log_row("compute", 0, "a", 1.0, 1.25, 0, ""))
    assert decode(HERE, encode(sent)) == sent


def test_received_arrays_are_read_only_views_of_the_buffer() -> None:
    buffer = encode(Message(HERE, arrays=(np.zeros(3, dtype=np.uint8),)))
    (found,) = decode(HERE, buffer).arrays
    buffer[plan_layout(Message(HERE, arrays=(found,)))[0].offsets[0]] = 7
    assert found.tolist() == [7, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_payloads_are_aligned() -> None:
    layout, _ = plan_layout(Message(HERE, arrays=(np.zeros(3), np.zeros(5, dtype=np.uint8))))
    assert [offset % ALIGNMENT for offset in (*layout.offsets, layout.stop)] == [0, 0, 0]


def test_large_arrays_are_gathered_without_a_copy() -> None:
    small, large = np.arange(3), np.arange(GATHERED_BYTES)
    sent = Message(HERE, "a", (small, large, large, small), log=b'["x"]')
    pieces = gather(sent, room=5)
    assert [len(piece) for piece in pieces if np.shares_memory(np.frombuffer(piece, np.uint8), large)] == [large.nbytes] * 2
    assert all(pieces)
    assert b"".join(pieces)[5:] == encode(sent)


def test_logs_grow_row_by_row() -> None:
    first, second = log_row("compute", 0, "a", 1.0, 1.25, 0, ""), log_row("transfer", 1, "b", 1.25, 1.5, 8, "a")
    assert log_rows(join_logs((b"", first, second))) == [
        ["compute", 0, "a", 1.0, 1.25, 0, ""],
        ["transfer", 1, "b", 1.25, 1.5, 8, "a"],
    ]
    assert log_rows(b"") == []
