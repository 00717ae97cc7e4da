"""Memory of a process: the parse, the fallback, and the kernel's own answer."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from multiedge.meters.memory import MemoryReading, parse_status, read_memory, resident_bytes

STATUS = "Name:\tworker\nVmHWM:\t    4096 kB\nVmRSS:\t    3072 kB\nRssAnon:\t    1024 kB\nRssFile:\t    2048 kB\n"
GONE = 2**22 + 1
"""Above every process number that Linux gives."""


def status_file(proc: Path, pid: object, text: str) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "status").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        pytest.param(STATUS, MemoryReading(4 << 20, 3 << 20, 1 << 20, 2 << 20, "VmHWM"), id="whole"),
        pytest.param("VmHWM:\t 8 kB\n", MemoryReading(8192, method="VmHWM"), id="an-old-kernel-without-kinds"),
        pytest.param("VmHWM:\t 0 kB\n", MemoryReading(0, method="VmHWM"), id="zero-is-a-figure"),
        pytest.param(
            "VmRSS:\t 8 kB\n", MemoryReading(None, method="not measured: the process has no VmHWM"), id="without-a-peak"
        ),
        pytest.param(
            "Name:\tkthreadd\n", MemoryReading(None, method="not measured: the process has no VmHWM"), id="kernel-thread"
        ),
        pytest.param("", MemoryReading(None, method="not measured: the process has no VmHWM"), id="empty"),
    ],
)
def test_a_status_in_bytes(text: str, reading: MemoryReading) -> None:
    assert parse_status(text) == reading


def test_what_is_resident_is_near_what_the_status_says() -> None:
    status = read_memory().resident_bytes
    now = resident_bytes()
    assert status is not None
    assert now is not None
    assert 0.5 < now / status < 2.0


def test_what_is_resident_is_unknown_without_proc(tmp_path: Path) -> None:
    assert resident_bytes(tmp_path / "statm") is None


def test_a_name_that_imitates_a_counter_changes_nothing() -> None:
    """The kernel escapes line breaks in names, so a counter always begins its line."""
    assert parse_status("Name:\tVmHWM:\\n 9 kB\n" + STATUS).peak_bytes == 4 << 20


def test_the_process_that_is_asked_for_is_read(tmp_path: Path) -> None:
    status_file(tmp_path, 7, STATUS)
    status_file(tmp_path, 8, "Name:\tb\xfcro\nVmHWM:\t 8 kB\n")
    assert read_memory(7, tmp_path).peak_bytes == 4 << 20
    assert read_memory(8, tmp_path).peak_bytes == 8192


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_kernel_answers_for_this_process() -> None:
    before = read_memory()
    assert before.method == "VmHWM"
    assert before.peak_bytes >= before.resident_bytes > 1 << 20


@pytest.mark.parametrize(
    ("info", "reading"),
    [
        pytest.param({"rss": 5, "peak_wset": 9}, MemoryReading(9, 5, method="psutil peak_wset"), id="windows"),
        pytest.param({"rss": 5, "peak_rss": 9}, MemoryReading(9, 5, method="psutil peak_rss"), id="peak-rss"),
        pytest.param({"rss": 5}, MemoryReading(5, 5, method="psutil rss when read, not a peak"), id="no-peak"),
    ],
)
def test_without_proc_psutil_answers_and_the_method_says_with_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, info: dict[str, int], reading: MemoryReading
) -> None:
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(**info))
    monkeypatch.setattr(psutil, "Process", lambda pid: process)
    assert read_memory("self", proc=tmp_path) == reading


def test_a_process_that_is_gone_is_not_measured(tmp_path: Path) -> None:
    reading = read_memory(GONE, proc=tmp_path)
    assert reading.peak_bytes is None
    assert reading.method.startswith("not measured: ")
