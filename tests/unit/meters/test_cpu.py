"""Processor time in the kernel's files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from multiedge.meters.cpu import HostTime, process_cpu_s, process_waited_s, read_host_time, thread_states

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def test_a_process_that_computes_uses_the_processor() -> None:
    before, until = process_cpu_s(), time.process_time() + 0.1
    while time.process_time() < until:
        pass
    after = process_cpu_s()
    assert before is not None
    assert after is not None
    assert after - before >= 0.08


def test_the_name_of_a_program_may_hold_brackets(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(f"7 (a ) S) S 1 7 7 0 -1 0 98 0 0 0 {3 * TICKS_PER_S} {2 * TICKS_PER_S} 0 0 20 0")
    assert process_cpu_s(7, tmp_path) == 5.0


def test_a_process_that_has_ended_has_no_processor_time(tmp_path: Path) -> None:
    assert process_cpu_s(7, tmp_path) is None


def test_the_wait_for_a_processor_is_in_nanoseconds(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "schedstat").write_text("112984000 2500000000 2\n")
    assert process_waited_s(7, tmp_path) == 2.5


@pytest.mark.parametrize("text", ["", "112984", "a b c"])
def test_a_wait_that_the_system_does_not_show_is_unknown(text: str, tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "schedstat").write_text(text)
    assert process_waited_s(7, tmp_path) is None
    assert process_waited_s(8, tmp_path) is None


def save_threads(proc: Path, *lines: str) -> None:
    for number, line in enumerate(lines):
        (proc / "7" / "task" / str(number)).mkdir(parents=True)
        (proc / "7" / "task" / str(number) / "stat").write_text(line)


def test_the_states_of_all_threads_are_read_whatever_their_names(tmp_path: Path) -> None:
    save_threads(tmp_path, "7 (python) S 1 7 7 0", "8 (a ) R) T 1 7 7 0", "9 (python) S 1 7 7 0")
    assert thread_states(7, tmp_path) == {"S", "T"}


def test_a_thread_that_ends_while_states_are_read_has_none(tmp_path: Path) -> None:
    save_threads(tmp_path, "7 (python) S 1 7 7 0")
    (tmp_path / "7" / "task" / "8").mkdir()
    assert thread_states(7, tmp_path) == {"S"}


@pytest.mark.parametrize("lines", [[], ["7 (python) S 1 7 7 0", ""]], ids=["process has ended", "no state"])
def test_states_that_the_system_does_not_show_are_unknown(lines: list[str], tmp_path: Path) -> None:
    save_threads(tmp_path, *lines)
    assert thread_states(7, tmp_path) is None


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system has no /proc")
def test_the_thread_that_reads_its_own_state_is_active() -> None:
    states = thread_states()
    assert states is not None
    assert "R" in states


def test_the_host_is_busy_with_all_but_idling_and_waiting(tmp_path: Path) -> None:
    ticks = [number * TICKS_PER_S for number in (1, 2, 4, 100, 200, 8, 16, 32, 64, 128)]
    (tmp_path / "stat").write_text(f"cpu  1 2\ncpu0 {' '.join(map(str, ticks))}\n")
    assert read_host_time([0], tmp_path) == HostTime(31.0, 32.0)


def test_only_the_processors_that_may_be_used_count(tmp_path: Path) -> None:
    ticks = "0 0 {} 0 0 0 0 0 0 0"
    each = [f"cpu{number} {ticks.format(10**number * TICKS_PER_S)}" for number in range(12)]
    (tmp_path / "stat").write_text("\n".join(["cpu 1 2", *each, "intr 7"]))
    assert read_host_time([1, 3], tmp_path) == HostTime(1010.0, 0.0)
    assert read_host_time([1, 30], tmp_path) is None


def test_times_since_a_reading() -> None:
    assert HostTime(31.0, 32.0) - HostTime(1.0, 30.0) == HostTime(30.0, 2.0)


@pytest.mark.parametrize("text", ["", "\n", "cpu0 1 2 3", "cpu0 a b c d e f g h"])
def test_a_system_that_does_not_show_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(text)
    assert read_host_time([0], tmp_path) is None
    assert read_host_time([0], tmp_path / "missing") is None
