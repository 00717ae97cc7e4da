"""What a load test states of itself, with senders that send nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from multiedge.errors import ConfigError
from multiedge.load import run as module
from multiedge.load.contract import Channel, Reading
from multiedge.load.patterns import Constant
from multiedge.load.replay import Replay
from multiedge.load.run import LoadOptions, run_load, schedule_of
from multiedge.load.schedule import Schedule
from multiedge.load.senders import Sent
from multiedge.measurements import Item


class FakeTarget:
    name, channel, is_text = "net", Channel("http", "h", 1), False
    requests: Sequence[bytes] = (b"a", b"b", b"c")

    def read(self, answer: bytes) -> Reading:
        return Reading()


@pytest.fixture(autouse=True)
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options of the last call of `send`; the senders answer at once."""
    kept: dict[str, Any] = {}

    def fake(channel: Channel, requests: Sequence[bytes], schedule: Schedule, **options: Any) -> Sent:
        kept.update(options, channel=channel)
        items = tuple(Item(number, due, due, due) for number, due in enumerate(schedule.due_s.tolist()))
        return Sent(items, tuple(item.done_s for item in items), {}, 0, False, True)

    monkeypatch.setattr(module, "send", fake)
    monkeypatch.setattr(module, "own_processors", lambda: range(8))
    return kept


def test_a_sender_without_a_request_is_none_and_warms_nothing_up(given: dict[str, Any]) -> None:
    run = run_load(FakeTarget(), Constant(10.0), LoadOptions(requests=1, senders=2, warmup=3))
    assert (run.senders, given["senders"], run.channel.connections) == (1, 1, 1)
    assert run.measurements.warmup_items == 3
    assert run.measurements.settings["senders"] == 1


def test_accuracy_wants_a_request_for_each_sample(tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text("1\n2\n")
    reason = "mode accuracy sends each of the 3 samples once, and the pattern has 2 requests"
    with pytest.raises(ConfigError, match=reason):
        schedule_of(FakeTarget(), Replay(str(trace)), LoadOptions(mode="accuracy"))
    trace.write_text("1\n2\n3\n4\n")
    assert schedule_of(FakeTarget(), Replay(str(trace)), LoadOptions(mode="accuracy")).samples.tolist() == [0, 1, 2]


def test_fewer_connections_than_senders_are_refused() -> None:
    reason = "load: connections: expected 2 or more, one for each sender, got 1; give more connections, or fewer senders"
    with pytest.raises(ConfigError, match=reason):
        LoadOptions(senders=2, connections=1)
    assert LoadOptions(senders=2, connections=2).connections == 2


@pytest.mark.parametrize(("connections", "senders"), [(None, 3), (5, 3), (2, 2)])
def test_a_rate_that_needs_several_senders_gets_no_more_than_there_are_connections(
    given: dict[str, Any], connections: int | None, senders: int
) -> None:
    run = run_load(FakeTarget(), Constant(12_000.0), LoadOptions(requests=100, connections=connections))
    assert (run.senders, given["senders"]) == (senders, senders)
    assert given["channel"].connections == (connections or senders)
