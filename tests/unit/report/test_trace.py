"""The Chrome trace: slices, arrows, counters, and that viewers can rely on its form."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from dataclasses import replace

import pytest

from multiedge.measurements import Energy, Event, Fault, Item
from multiedge.report.trace import chrome_trace, write_trace
from tests.builders.reports import FLEET, pipeline

RUN = pipeline((0.1, 0.2), items=5, fault=True)


def entries(phase, run=RUN, fleet=None):
    return [entry for entry in chrome_trace(run, fleet)["traceEvents"] if entry["ph"] == phase]


def test_a_slice_per_item_and_stage():
    slices = [entry for entry in entries("X") if entry["cat"] == "compute"]
    assert Counter(entry["tid"] for entry in slices) == {1: 5, 2: 5}
    assert {entry["pid"] for entry in slices if entry["tid"] == 2} == {2}


def test_times_are_microseconds_from_the_start():
    run = replace(
        RUN, events=(Event("compute", 7, 0, "jetson-orin", 10.5, 10.75),), items=(), faults=(), start_s=10.0, stop_s=12.0
    )
    (found,) = entries("X", run)
    assert (found["name"], found["ts"], found["dur"]) == ("item 7", 500_000.0, 250_000.0)


def test_a_stage_that_skipped_an_item_says_so_in_its_own_lane():
    run = replace(RUN, events=(Event("skip", 7, 1, "jetson-orin", 10.5, 10.5),), items=(), faults=())
    (found,) = entries("X", run)
    assert (found["name"], found["tid"], found["cat"]) == ("item 7 skipped", 2, "skip")


def test_arrows_go_from_the_transfer_to_the_slice_that_it_feeds():
    starts = {entry["id"]: entry for entry in entries("s")}
    ends = {entry["id"]: entry for entry in entries("f")}
    assert len(starts) == len(ends) == 5
    computed = {(entry["pid"], entry["tid"], entry["ts"]) for entry in entries("X") if entry["cat"] == "compute"}
    for number, start in starts.items():
        assert start["ts"] <= ends[number]["ts"]
        assert (ends[number]["pid"], ends[number]["tid"], ends[number]["ts"]) in computed


def test_transfer_to_the_caller_has_no_arrow():
    run = replace(RUN, events=(*RUN.events, Event("transfer", 0, 1, "raspberry-pi", 1.0, 1.1, 10, "caller")))
    assert len(entries("s", run)) == 5


def test_processes_and_threads_are_named():
    names = {(entry["pid"], entry["tid"]): entry["args"]["name"] for entry in entries("M")}
    assert names[0, 0] == "requests"
    assert (names[2, 0], names[2, 2], names[2, 1000]) == ("raspberry-pi", "stage 2", "sending")


def test_power_follows_the_work_where_watts_are_declared():
    watts = [entry["args"]["W"] for entry in entries("C", fleet=FLEET) if "power" in entry["name"] and entry["pid"] == 1]
    assert set(watts) == {4.0, 15.0}
    assert watts[0] == watts[-1] == 4.0


def test_power_is_level_where_only_the_mean_is_known():
    run = replace(
        RUN, energy=(Energy("jetson-orin", 10.0, 6.0, 5.0, "measured", "hwmon"), Energy("raspberry-pi", None, None, None))
    )
    power = [entry for entry in entries("C", run, FLEET) if "power" in entry["name"]]
    assert [(entry["pid"], entry["args"]["W"]) for entry in power] == [(1, 5.0), (1, 5.0)]


def test_memory_counter_in_mebibytes():
    peaks = {entry["pid"]: entry["args"]["MiB"] for entry in entries("C") if entry["name"] == "memory [MiB], peak"}
    assert peaks == {1: 300.0, 2: 370.0}


def test_request_that_never_ended_stays_open():
    run = replace(RUN, items=(Item(0, 0.0, 0.0, math.inf), Item(1, 0.0, 0.0, 1.0, "failed")))
    assert [len(entries(phase, run)) for phase in "be"] == [2, 1]


def test_fault_is_a_slice_and_a_mark():
    (mark,) = entries("i")
    assert mark["name"] == "device: raspberry-pi"
    (slice_,) = (entry for entry in entries("X") if entry["cat"] == "fault")
    assert slice_["dur"] == pytest.approx(12 * 0.2 * 1e6)


def test_file_is_plain_json(tmp_path):
    data = json.loads(write_trace(RUN, tmp_path / "trace.json").read_text(encoding="utf-8"))
    assert all({"ph", "pid"} <= set(entry) for entry in data["traceEvents"])
    assert all(entry["dur"] >= 0 for entry in data["traceEvents"] if entry["ph"] == "X")


CROWDED = replace(
    RUN,
    events=(
        Event("load", -1, 0, "jetson-orin", -0.5, -0.1),
        Event("load", -1, 1, "jetson-orin", -0.4, -0.1),
        *(Event("compute", item, 0, "jetson-orin", 0.1, 0.2) for item in range(3)),
        Event("transfer", 0, 0, "jetson-orin", 0.2, 0.4, 10, "raspberry-pi"),
        Event("transfer", 1, 0, "jetson-orin", 0.3, 0.5, 10, "old-laptop"),
        Event("transfer", 2, 0, "jetson-orin", 0.4, 0.5, 10, "raspberry-pi"),
        *(Event("compute", item, 1, "raspberry-pi", 0.5 + item / 3e4, 0.5 + (item + 1) / 3e4) for item in range(9)),
    ),
    faults=(
        Fault("device", "jetson-orin", 0.1, 0.4, "unplugged"),
        Fault("device", "jetson-orin", 0.2, None, "unplugged"),
        Fault("device", "jetson-orin", RUN.stop_s + 1, None, "unplugged after the window"),
    ),
    start_s=0.0,
)
"""Joined items, messages to two devices, sessions loaded before the window, faults that overlap and one after the end."""


def test_no_slices_of_a_thread_overlap():
    threads: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for entry in entries("X", CROWDED):
        threads.setdefault((entry["pid"], entry["tid"]), []).append((entry["ts"], entry["ts"] + entry["dur"]))
    for spans in threads.values():
        spans.sort()
        assert all(stop <= start + 1e-6 for (_, stop), (start, _) in itertools.pairwise(spans))
    names = {(entry["pid"], entry["tid"]) for entry in entries("M", CROWDED)}
    assert set(threads) <= names


def test_no_time_is_negative():
    timed = [entry for entry in chrome_trace(CROWDED, FLEET)["traceEvents"] if "ts" in entry]
    assert min(entry["ts"] for entry in timed) == 0
    assert min(entry.get("dur", 0) for entry in timed) == 0
    assert chrome_trace(CROWDED)["otherData"]["timed_window_start_us"] == 500_000
