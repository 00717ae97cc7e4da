"""Copies that callers keep: their memory serves again only after nothing refers to them any more."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from multiedge.executors.flow.copies import LEAST_BYTES, MOST_KEPT, Copies


def large(value: float) -> np.ndarray:
    return np.full((2, LEAST_BYTES // 8), value)


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("array", [large(1.5), np.arange(3), np.array(["a", "b"], dtype=object), np.array(2.0)], ids=repr)
def test_a_copy_is_equal_writable_and_apart_from_its_origin(array: np.ndarray) -> None:
    copy = Copies().of(array)
    assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(copy, array)
    assert copy.flags.writeable
    assert not np.shares_memory(copy, array)


def test_the_memory_of_a_copy_that_has_gone_is_used_again() -> None:
    copies = Copies()
    first = copies.of(large(1.0))
    place = address(first)
    del first
    again = copies.of(large(2.0))
    assert address(again) == place
    assert again.min() == again.max() == 2.0


@pytest.mark.parametrize(
    "derive",
    [
        pytest.param(lambda copy: copy[0], id="row"),
        pytest.param(lambda copy: copy.T[3:], id="transposed"),
        pytest.param(lambda copy: copy.reshape(-1).view(np.uint64), id="other-type"),
        pytest.param(memoryview, id="memoryview"),
        pytest.param(lambda copy: np.frombuffer(copy, dtype=np.uint8), id="frombuffer"),
        pytest.param(lambda copy: np.from_dlpack(copy), id="dlpack"),
    ],
)
def test_memory_is_not_used_again_while_a_view_of_the_copy_exists(derive: object) -> None:
    copies = Copies()
    view = derive(copies.of(large(1.0)))  # type: ignore[operator]
    before = np.array(view)
    others = [copies.of(large(2.0)) for _ in range(3)]
    gc.collect()
    np.testing.assert_array_equal(np.array(view), before)
    assert len({address(other) for other in others}) == 3


def test_a_bounded_amount_of_memory_is_kept() -> None:
    copies = Copies()
    held = [copies.of(large(float(number))) for number in range(3 * MOST_KEPT)]
    held.clear()
    for size in range(50):
        copies.of(np.zeros(LEAST_BYTES + size, dtype=np.uint8))
    assert sum(len(pieces) for pieces in copies._unused.values()) <= MOST_KEPT + 8
