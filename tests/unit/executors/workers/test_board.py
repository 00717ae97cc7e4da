import time

import pytest

from multiedge.errors import PlanError
from multiedge.executors.workers.board import MOST_TRANSFERS, Board
from multiedge.executors.workers.observation import Busy
from multiedge.meters.memory import MemoryReading


@pytest.fixture
def boards(tmp_path):
    """A worker's board as the worker has it, and as its supervisor reads it."""
    worker, supervisor = Board(tmp_path, "d0"), Board(tmp_path, "d0")
    supervisor.clear()
    return worker, supervisor


def test_a_new_board_says_that_nothing_is_known(boards):
    _, board = boards
    assert (board.heartbeat_s, board.busy(1.0), board.memory.resident_bytes) == (None, None, None)
    assert board.counts(2) == ([0.0, 0.0], [0.0, 0.0])


def test_the_other_side_sees_what_the_worker_shows(boards):
    worker, board = boards
    worker.beat(12.5, MemoryReading(300, 200, 150, 50, "VmHWM"))
    worker.show_busy(3, [1 << 40, 7, 9], 12.0)
    worker.count_sent(0)
    worker.count_taken(1)
    worker.count_taken(1)
    assert board.heartbeat_s == 12.5
    assert board.cpu_s == pytest.approx(time.process_time(), abs=1.0)
    assert board.busy(13.0) == Busy(3, 1 << 40, 1.0, (7, 9))
    assert board.memory == MemoryReading(300, 200, 150, 50, "VmHWM at its last sign of life")
    assert board.counts(2) == ([1.0, 0.0], [0.0, 2.0])
    worker.show_idle()
    assert board.busy(13.0) is None


def test_memory_that_the_system_does_not_show_stays_unknown(boards):
    worker, board = boards
    worker.beat(1.0, MemoryReading(None))
    assert board.memory == MemoryReading(None, method="not measured")


def test_an_epoch_counts_from_zero_and_keeps_the_rest(boards):
    worker, board = boards
    worker.beat(1.0, MemoryReading(None))
    worker.count_sent(MOST_TRANSFERS - 1)
    worker.begin_epoch(MOST_TRANSFERS)
    assert sum(map(sum, board.counts(MOST_TRANSFERS))) == 0.0
    assert board.heartbeat_s == 1.0


def test_more_transfers_than_have_room_are_refused(boards):
    worker, _ = boards
    with pytest.raises(PlanError, match=f"the plan has {MOST_TRANSFERS + 1} transfers; .* takes up to {MOST_TRANSFERS}"):
        worker.begin_epoch(MOST_TRANSFERS + 1)
