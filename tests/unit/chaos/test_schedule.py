"""Schedules of faults are the same for the same seed, and are read back as they are printed."""

from __future__ import annotations

from tests.chaos.schedule import CHANGE_AT, LASTING, Kind, Schedule

ALL = frozenset(Kind)


def test_the_same_seed_gives_the_same_schedule_and_another_one_another() -> None:
    assert Schedule.draw(3, 60.0, ALL) == Schedule.draw(3, 60.0, ALL)
    assert Schedule.draw(3, 60.0, ALL) != Schedule.draw(4, 60.0, ALL)


def test_a_printed_schedule_is_read_back() -> None:
    schedule = Schedule.draw(5, 40.0, ALL)
    assert Schedule.parse(str(schedule)) == schedule


def test_every_kind_happens_and_nothing_but_kills_follows_a_changed_part() -> None:
    schedule = Schedule.draw(0, 120.0, ALL)
    assert {event.kind for event in schedule.events} == ALL
    after = [event.kind for event in schedule.events if event.at_s > 120.0 * CHANGE_AT]
    assert set(after) == {Kind.KILL}
    assert all((event.lasts_s > 0) == (event.kind in LASTING) for event in schedule.events)


def test_only_the_kinds_that_apply_are_drawn() -> None:
    assert {event.kind for event in Schedule.draw(0, 60.0, {Kind.KILL}).events} == {Kind.KILL}
    assert Schedule.draw(0, 60.0, ()).events == ()
