"""The load of the machine between two readings."""

from __future__ import annotations

import pytest

from multiedge.executors.flow.host import HostReading
from multiedge.meters.cpu import HostTime


def test_the_load_is_what_was_used_between_two_readings() -> None:
    before = HostReading(5.0, HostTime(100.0, 3.0), 1.0)
    load = HostReading(15.0, HostTime(112.0, 4.0), 2.5).load_since(before, {"d0": 4.0, "d1": 2.0})
    assert load is not None
    assert (load.wall_s, load.busy_s, load.steal_s, load.caller_s) == (10.0, 12.0, 1.0, 1.5)
    assert load.workers_s == {"d0": 4.0, "d1": 2.0}
    assert load.other_s == pytest.approx(5.5)


@pytest.mark.parametrize("missing", [HostReading(5.0, None, 1.0), HostReading(5.0, HostTime(100.0, 3.0), None)])
def test_a_load_that_the_system_does_not_show_is_unknown(missing: HostReading) -> None:
    known = HostReading(15.0, HostTime(112.0, 4.0), 2.5)
    assert known.load_since(missing, {}) is None
    assert missing.load_since(known, {}) is None
