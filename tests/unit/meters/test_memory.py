"""Memory of a process: the parse, the fallback, and the kernel's own answer."""

from __future__ import annotations

from multiedge.meters.memory import parse_status, read_memory, reset_peak

STATUS = "Name:\tworker\nVmHWM:\t    4096 kB\nVmRSS:\t    3072 kB\nRssAnon:\t    1024 kB\nRssFile:\t    2048 kB\n"


def test_status_gives_peak_anonymous_and_file_bytes():
    reading = parse_status(STATUS)
    assert (reading.peak_bytes, reading.resident_bytes) == (4 << 20, 3 << 20)
    assert (reading.anonymous_bytes, reading.file_bytes, reading.method) == (1 << 20, 2 << 20, "VmHWM")


def test_status_without_a_peak_is_not_measured():
    reading = parse_status("Name:\tkthreadd\n")
    assert reading.peak_bytes is None
    assert reading.method.startswith("not measured")


def test_without_proc_psutil_answers_and_the_method_says_so(tmp_path):
    reading = read_memory("self", proc=tmp_path)
    assert reading.peak_bytes
    assert reading.method.startswith("psutil")


def test_a_process_that_is_gone_is_not_measured(tmp_path):
    reading = read_memory(2**22 + 1, proc=tmp_path)
    assert reading.peak_bytes is None
    assert "not measured" in reading.method


def test_peak_cannot_be_reset_where_proc_is_absent(tmp_path):
    assert reset_peak("self", proc=tmp_path) is False
