"""Outputs that a server keeps: found by key, released, and bounded in size and time."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.serving.kept import LONGEST_S, KeptOutputs


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def array(nbytes):
    return np.zeros(nbytes, np.uint8)


def test_a_tensor_is_found_by_its_key_until_it_is_released():
    kept = KeptOutputs(100)
    key, other = kept.put(array(10)), kept.put(array(20))
    assert (kept.get(key).nbytes, kept.nbytes) == (10, 30)
    kept.release([key, "unknown"])
    with pytest.raises(KeyError):
        kept.get(key)
    assert kept.get(other).nbytes == 20


def test_older_tensors_make_room_for_a_new_one_of_any_size():
    kept = KeptOutputs(100)
    keys = [kept.put(array(nbytes)) for nbytes in (40, 40, 40)]
    assert kept.nbytes == 80
    with pytest.raises(KeyError):
        kept.get(keys[0])
    assert kept.get(kept.put(array(500))).nbytes == 500
    assert kept.nbytes == 500


def test_what_nobody_fetched_for_long_is_forgotten():
    clock = Clock()
    kept = KeptOutputs(100, clock)
    kept.put(array(10))
    clock.now_s = LONGEST_S + 1
    kept.put(array(20))
    assert kept.nbytes == 20
