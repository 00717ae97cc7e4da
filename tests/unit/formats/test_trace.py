from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet
from multiedge.formats.trace import parse_trace, read_trace
from multiedge.trace import DeviceEvent, LinkEvent
from tests.builders.refusals import JSON_VALUES, refusal

FLEET = Fleet((Device("car"), Device("cloud")))


def test_reads_both_kinds_of_event_in_their_units(tmp_path: Path) -> None:
    path = tmp_path / "trace.yaml"
    path.write_text(
        "- {at_s: 10, link: [car, cloud], bandwidth: 8Mbps, latency: 80ms}\n"
        "- {at_s: 2, device: car, event: speed, value: 0.5}\n"
    )
    trace = read_trace(path, FLEET)
    assert trace.events == (DeviceEvent(2.0, "car", "speed", 0.5), LinkEvent(10.0, ("car", "cloud"), 1e6, 0.08))


def test_a_link_may_change_one_way() -> None:
    (event,) = parse_trace([{"at_s": 1, "link": ["car", "cloud"], "bandwidth": "8Mbps", "one_way": True}], FLEET).events
    assert event == LinkEvent(1.0, ("car", "cloud"), 1e6, one_way=True)


def test_a_name_may_be_given() -> None:
    assert parse_trace({"name": "tunnel", "events": []}, FLEET).name == "tunnel"


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ("soon", "trace: expected a mapping of name, events, got 'soon'"),
        ([{"at_s": 1}], "trace: events[0]: expected a mapping with either 'device' or 'link'"),
        ([{"at_s": 1, "device": "car", "evnt": "leave"}], "trace: events[0]: unknown key 'evnt'; did you mean 'event'?"),
        ([{"device": "car", "event": "leave"}], "trace: events[0].at_s: missing; expected a number"),
        (
            [{"at_s": "soon", "device": "car", "event": "leave"}],
            "trace: events[0].at_s: expected a number such as 0.5, got 'soon'",
        ),
        ([{"at_s": 1, "link": ["car"], "latency": 1}], "trace: events[0].link: expected a list of two, got a list of 1"),
        ([{"at_s": 1, "link": ["car", "cloud"]}], "trace: events[0]: expected 'bandwidth' or 'latency'"),
        (
            [{"at_s": 5, "device": "car", "event": "leave"}, {"at_s": 1, "device": "bus", "event": "leave"}],
            "trace: events[1]: device 'bus' is not in fleet",
        ),
    ],
)
def test_errors_name_the_place(events: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_trace(events, FLEET)
    assert str(caught.value).startswith(message)


@given(st.lists(JSON_VALUES | st.dictionaries(st.sampled_from(["at_s", "device", "link", "event", "value"]), JSON_VALUES)))
def test_any_events_are_read_or_refused_in_one_line(events: list[object]) -> None:
    message = refusal(lambda: parse_trace({"events": events}, FLEET), ConfigError)
    assert message is None or (message.startswith("trace: events[") and "\n" not in message)
