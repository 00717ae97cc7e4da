"""Shared-memory rings: slots that are used again, senders that do not meet, and memory that runs out."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multiedge.errors import PipelineError
from multiedge.transports import rundir, shared_memory
from multiedge.transports.message import ArraySpec
from multiedge.transports.shared_memory import SharedMemoryEndpoint
from tests.builders.endpoints import message, receive, sequences
from tests.builders.full_disks import small_disk


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[SharedMemoryEndpoint, SharedMemoryEndpoint]]:
    pair = SharedMemoryEndpoint(tmp_path, "a"), SharedMemoryEndpoint(tmp_path, "b")
    yield pair
    for end in pair:
        end.close()


@pytest.mark.parametrize("files", [0, 1024], ids=["poll", "select"])
def test_a_wait_ends_with_a_message_or_its_time(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint], monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    monkeypatch.setattr(shared_memory, "_SELECT_FILES", files)
    a, b = ends
    assert b.receive(0.0) == b.receive(-1.0) == b.receive(0.0004) == []
    sender = threading.Timer(0.02, a.send, ("b", message(7)))
    sender.start()
    assert [got.address.sequence for got in b.receive(60.0)] == [7]
    sender.join()


def test_a_slot_that_is_free_is_used_again(tmp_path: Path) -> None:
    a, b = SharedMemoryEndpoint(tmp_path, "a"), SharedMemoryEndpoint(tmp_path, "b")
    for sequence in range(50):
        a.send("b", message(sequence, np.zeros(10)))
        for got in receive(b, 1):
            b.release(got.address)
    assert len(list(tmp_path.glob("slot-*"))) == 1
    for sequence in range(3):
        a.send("b", message(sequence, np.zeros(10)))
    assert len(list(tmp_path.glob("slot-*"))) == 3
    for end in (a, b):
        end.close()


def test_two_senders_of_one_transfer_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas of a stage are processes of their own that serve the same transfer."""
    ends = {name: SharedMemoryEndpoint(tmp_path, name) for name in ("a", "b", "sink")}
    for process, name in enumerate(("a", "b")):
        monkeypatch.setattr(os, "getpid", lambda process=process: 1000 + process)
        ends[name].send("sink", message(process, np.full(5, process)))
    assert sorted(int(got.arrays[0][0]) for got in receive(ends["sink"], 2)) == [0, 1]
    for end in ends.values():
        end.close()


def test_a_slot_that_has_no_room_in_shared_memory_is_a_file_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with small_disk(tmp_path / "memory", 1 << 20) as memory:
        directory = rundir.make(memory)
        a, b = SharedMemoryEndpoint(directory, "a"), SharedMemoryEndpoint(directory, "b")
        for sequence, size in enumerate((1 << 10, 1 << 18, 1 << 20, 1 << 10)):
            a.send("b", message(sequence, np.full(size, sequence)))
            (got,) = receive(b, 1)
            assert (len(got.arrays[0]), int(got.arrays[0][-1])) == (size, sequence)
            b.release(got.address)
        assert rundir.bytes_elsewhere(directory) > 8 << 20
        a.send("b", message(9, np.full(1 << 20, 9)))
        for slot in directory.glob("slot-*"):
            rundir.unlink(slot)
        assert rundir.bytes_elsewhere(directory) == 0
        for end in (a, b):
            end.close()
        rundir.remove(directory)
        assert [path.name for path in tmp_path.iterdir()] == ["memory"]


def test_no_room_anywhere_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    end = SharedMemoryEndpoint(tmp_path, "a")
    with pytest.raises(PipelineError, match=r"no room for 8.0 MiB .No space left on device.; free shared memory"):
        end.send("b", message(0, np.zeros(1 << 20)))
    end.close()


def test_a_slot_that_is_too_small_grows_in_its_place(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint], tmp_path: Path
) -> None:
    a, b = ends
    for sequence, size in enumerate((10, 100_000)):
        a.send("b", message(sequence, np.zeros(size, dtype=np.uint8)))
        for got in receive(b, 1):
            b.release(got.address)
    (slot,) = tmp_path.glob("slot-*")
    assert slot.stat().st_size > 100_000


def test_a_slot_stays_taken_until_its_message_is_released(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint], tmp_path: Path
) -> None:
    a, b = ends
    for sequence in range(3):
        a.send("b", message(sequence, np.full(8, sequence)))
    first, second, third = receive(b, 3)
    b.release(second.address)
    a.send("b", message(3, np.full(8, 33)))
    (fourth,) = receive(b, 1)
    assert len(list(tmp_path.glob("slot-*"))) == 3, "the released one serves again"
    assert [int(each.arrays[0][0]) for each in (first, third, fourth)] == [0, 2, 33]


def test_a_run_whose_folder_has_gone_sends_into_the_void(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint], tmp_path: Path
) -> None:
    a, b = ends
    rundir.remove(tmp_path)
    a.send("b", message(0, np.zeros(4)))
    assert b.receive(0.0) == []


def test_a_record_whose_slot_has_gone_is_left_out(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint], tmp_path: Path
) -> None:
    """A process that takes another's place finds the records of slots that were removed."""
    a, b = ends
    a.send("b", message(0, np.zeros(4)))
    for slot in tmp_path.glob("slot-*"):
        slot.unlink()
    assert b.receive(0.5) == []
    a.send("b", message(1, np.zeros(4), epoch=2))
    assert sequences(receive(b, 1)) == [1]


def test_a_full_inbox_loses_a_message_and_does_not_block(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = ends
    genuine = os.write

    def full(fd: int, data: bytes) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "write", full)
    a.send("b", message(0))
    b.wake()
    monkeypatch.setattr(os, "write", genuine)
    a.send("b", message(1))
    assert sequences(receive(b, 1)) == [1]


def test_an_unexpected_failure_of_the_inbox_is_not_hidden(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int, data: bytes) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "write", broken)
    with pytest.raises(OSError, match="Input/output error"):
        ends[0].send("b", message(0))


def test_without_posix_fallocate_a_slot_is_made_all_the_same(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    a, b = ends
    a.send("b", message(0, np.arange(5)))
    (got,) = receive(b, 1)
    assert got.arrays[0].tolist() == [0, 1, 2, 3, 4]


def test_as_many_messages_as_the_limit_says_wait_for_a_process_that_reads_nothing(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint],
) -> None:
    a, b = ends
    for sequence in range(rundir.MOST_WAITING):
        a.send("b", message(sequence))
    arrived = receive(b, rundir.MOST_WAITING)
    assert sequences(arrived) == list(range(rundir.MOST_WAITING))


SPECS = [ArraySpec(np.dtype(np.float32), (2, 3)), ArraySpec(np.dtype(np.int64), (4,))]
PLACES = (np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(4))


def fill(places: tuple[np.ndarray, ...]) -> None:
    for place, array in zip(places, PLACES, strict=True):
        place[...] = array


def test_arrays_written_to_reserved_memory_are_sent_without_a_copy(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint], tmp_path: Path
) -> None:
    a, b = ends
    for sequence in range(3):
        sent = message(sequence)
        places = a.reserve(sent.address, sent.source, SPECS)
        assert places is not None
        fill(places)
        a.send("b", sent._replace(arrays=places, log=b"x" * 300))
        (got,) = receive(b, 1)
        for array, expected in zip(got.arrays, PLACES, strict=True):
            np.testing.assert_array_equal(array, expected)
        places[1][0] = 77
        assert got.arrays[1][0] == 77, "both ends see the same memory"
        assert got.log == b"x" * 300
        b.release(got.address)
    assert len(list(tmp_path.glob("slot-*"))) == 1


@pytest.mark.parametrize(
    ("instead", "tail"),
    [
        pytest.param(lambda places: (), "stage 1 failed", id="error"),
        pytest.param(lambda places: (places[0], np.arange(9)), "", id="other-shape"),
        pytest.param(lambda places: places, "e" * 10_000, id="long-tail"),
    ],
)
def test_a_message_other_than_the_reserved_one_is_sent_whole_and_frees_the_memory(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint], tmp_path: Path, instead: Callable[..., Any], tail: str
) -> None:
    a, b = ends
    for sequence in range(3):
        sent = message(sequence)
        places = a.reserve(sent.address, sent.source, SPECS)
        assert places is not None
        fill(places)
        arrays = instead(places)
        expected = [array.copy() for array in arrays]
        a.send("b", sent._replace(arrays=arrays, error=tail))
        (got,) = receive(b, 1)
        assert got.error == tail
        assert [array.tolist() for array in got.arrays] == [array.tolist() for array in expected]
        b.release(got.address)
    assert len(list(tmp_path.glob("slot-*"))) == 2


def test_reserved_memory_is_not_given_to_another_message(ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint]) -> None:
    a, b = ends
    first = message(0)
    places = a.reserve(first.address, first.source, SPECS)
    assert places is not None
    fill(places)
    a.send("b", message(1, np.full(10, 5.0)))
    a.send("b", first._replace(arrays=places))
    assert [got.arrays[0].max() for got in receive(b, 2)] == [5.0, 5.0]
    assert sequences(receive(b, 0)) == []


def test_without_room_nothing_is_reserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    end = SharedMemoryEndpoint(tmp_path, "a")
    assert end.reserve(message(0).address, "a", SPECS) is None
    end.close()


def test_nothing_is_reserved_in_a_folder_that_has_gone(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint], tmp_path: Path
) -> None:
    rundir.remove(tmp_path)
    assert ends[0].reserve(message(0).address, "a", SPECS) is None


def test_memory_that_was_reserved_in_an_earlier_epoch_is_forgotten(
    ends: tuple[SharedMemoryEndpoint, SharedMemoryEndpoint],
) -> None:
    a, b = ends
    assert a.reserve(message(0).address, "a", SPECS) is not None
    a.forget(2)
    a.send("b", message(0, np.ones(2), epoch=2))
    (got,) = receive(b, 1)
    assert got.arrays[0].tolist() == [1.0, 1.0]
