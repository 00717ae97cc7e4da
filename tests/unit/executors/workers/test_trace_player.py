import pytest

from multiedge.errors import PlanError
from multiedge.executors.workers.trace_player import TracePlayer
from multiedge.trace import DeviceEvent, LinkEvent, Trace
from tests.builders.supervision import fleet_of

FLEET = fleet_of(2)
LEAVE, LINK, RETURN = DeviceEvent(1.0, "d0", "leave"), LinkEvent(2.0, ("d0", "d1"), 1e3), DeviceEvent(2.0, "d0", "return")


def test_nothing_happens_before_the_trace_begins():
    player = TracePlayer(Trace((LEAVE,)), FLEET)
    assert player.due(1e9) == ()


def test_each_event_is_due_once_from_its_moment_on():
    player = TracePlayer(Trace((RETURN, LINK, LEAVE)), FLEET)
    player.begin(100.0)
    player.begin(500.0)
    assert [player.due(now_s) for now_s in (100.9, 101.0, 101.5)] == [(), (LEAVE,), ()]
    assert set(player.due(200.0)) == {LINK, RETURN}
    assert player.due(300.0) == ()


def test_a_device_may_return_until_the_trace_has_brought_the_last_one_back():
    player = TracePlayer(Trace((LEAVE, RETURN)), FLEET)
    player.begin(0.0)
    player.due(1.5)
    assert player.may_return
    player.due(2.0)
    assert not player.may_return
    assert not TracePlayer(None, FLEET).may_return


def test_a_trace_that_names_another_fleets_device_is_refused():
    with pytest.raises(PlanError, match=r"trace 'tour' cannot run: tour: events\[0\]: device 'd9' is not in fleet"):
        TracePlayer(Trace((DeviceEvent(0.0, "d9", "leave"),), "tour"), FLEET)
