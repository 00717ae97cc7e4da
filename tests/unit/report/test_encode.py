"""Measurements and graphs as JSON data, and back."""

import pytest

from multiedge.errors import ConfigError
from multiedge.formats.fields import Field
from multiedge.measurements import DeviceTotal, Energy, Event, Fault, Item, Measurements, Memory
from multiedge.report.encode import measurements_to_json, read_graph, read_measurements

RUN = Measurements(
    (Item(0, 0.0, 0.1, 0.5), Item(1, 0.1, 0.2, 0.9, "lost")),
    (Event("compute", 0, 0, "phone", 0.1, 0.4, 12, "tablet"),),
    0.0,
    1.0,
    2,
    (Fault("leave", "tablet", 0.3),),
    (Memory("phone", 100, None, 3, 4, 5, 6, "VmHWM"),),
    (Energy("phone", 1.5, None, 2.5, "measured", "NVML", "gpu", 10.0, 0.1),),
    {"seed": 7, "threads": [1, 2]},
    totals=(DeviceTotal("phone", 0.3, 12),),
    left_out_events=40,
)

UNEQUAL = "run: energy: expected columns of one length, got 1, 0, 0, 0"


def test_every_record_comes_back():
    assert read_measurements(Field(measurements_to_json(RUN), "run")) == RUN


def test_columns_that_files_of_earlier_releases_lack_have_their_defaults():
    data = measurements_to_json(RUN)
    del data["events"]["peer"], data["faults"], data["settings"], data["totals"], data["left_out"]
    run = read_measurements(Field(data, "run"))
    assert (run.events[0].peer, run.faults, run.settings, run.totals, run.left_out_events) == ("", (), {}, (), 0)


def test_events_that_a_run_did_not_keep_are_left_out_as_well():
    assert measurements_to_json(RUN, max_events=0)["left_out"] == {"items": 0, "events": 41}


def test_a_limit_that_meant_none_in_earlier_releases_is_none():
    data = measurements_to_json(RUN)
    data["memory"]["limit_bytes"] = [1 << 62]
    assert read_measurements(Field(data, "run")).memory[0].limit_bytes is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": {"item": [0]}}, "run: items.due_s: missing; expected a list"),
        ({"stop_s": "soon"}, "run: stop_s: expected a finite number, got 'soon'"),
        (
            {"faults": {"kind": ["a"], "device": [], "detected_s": []}},
            "run: faults: expected columns of one length, got 1, 0, 0",
        ),
        (
            {"memory": {"device": ["a"], "peak_bytes": [1.5]}},
            r"run: memory.peak_bytes[0]: expected a whole number, got 1.5",
        ),
    ],
)
def test_damaged_records_are_refused_with_their_place(change, message):
    with pytest.raises(ConfigError) as refused:
        read_measurements(Field({**measurements_to_json(RUN), **change}, "run"))
    assert str(refused.value) == message


def test_a_damaged_node_is_refused_with_its_place():
    graph = {"name": "m", "inputs": ["x"], "outputs": ["y"], "nodes": [["a", "Relu", ["x"], ["y"]], ["b"]]}
    with pytest.raises(
        ConfigError, match=r"^g: nodes\[1\]: expected a node as \[name, operator, inputs, outputs\], got a list of 1$"
    ):
        read_graph(Field(graph, "g"))
