import pytest

from multiedge.executors.workers.observation import QUIET_S, Busy, Inactivity, LinkView, WorkerView, waiting_links
from multiedge.fleet import Link
from tests.builders.flow import chain_routes

ROUTES = chain_routes("d0", ("d1", "d2"))


def view(sent=(0, 0, 0), taken=(0, 0, 0), **fields):
    return WorkerView(**{"age_s": 9.0, "silent_s": 0.0, "sent": sent, "taken": taken, **fields})


FREE = Link()


def links(workers, caller=None, place=None, link=FREE):
    return list(waiting_links(ROUTES, workers, caller or view(), place, lambda source, target: link))


def test_nothing_waits_where_everything_was_taken():
    workers = {"d0": view(sent=(0, 4, 0), taken=(4, 0, 0)), "d1": view(taken=(0, 2, 0)), "d2": view(taken=(0, 2, 0))}
    assert links(workers, view(sent=(4, 0, 0))) == []


def test_replicas_take_together_what_was_sent_to_their_stage():
    workers = {"d0": view(sent=(0, 5, 0)), "d1": view(taken=(0, 2, 0)), "d2": view(taken=(0, 1, 0))}
    assert links(workers, link=Link(8.0, 1.0)) == [LinkView(1, "d0", "d1", 5, 3, True, slack_s=3.0)]


def test_the_caller_is_where_the_fleet_says_or_nowhere():
    workers = {"d0": view(), "d1": view(sent=(0, 0, 3)), "d2": view()}
    assert [(each.source, each.target) for each in links(workers, view(sent=(1, 0, 0)))] == [(None, "d0"), ("d1", None)]
    assert [(each.source, each.target) for each in links(workers, place="d9")] == [("d1", "d9")]


def test_a_link_that_is_down_has_no_excuse():
    assert links({"d0": view(sent=(0, 1, 0)), "d1": view(), "d2": view()}, link=Link(1e-6))[0].slack_s == 0.0


def test_a_worker_that_is_away_has_sent_and_taken_nothing():
    assert [each.transfer for each in links({"d0": view(sent=(0, 1, 0))})] == [1]


@pytest.mark.parametrize(
    ("fields", "is_idle"),
    [
        ({}, True),
        ({"busy": Busy(0, 0, 0.1)}, False),
        ({"silent_s": QUIET_S}, False),
        ({"silent_s": None}, False),
        ({"ended": "killed by signal 9"}, False),
    ],
)
def test_a_worker_is_idle_if_it_lives_and_computes_nothing(fields, is_idle):
    assert view(**fields).is_idle == is_idle
    workers = {"d0": view(sent=(0, 1, 0)), "d1": view(**fields), "d2": view()}
    assert [each.receiver_is_idle for each in links(workers)] == [is_idle]


@pytest.mark.parametrize(
    ("states", "inactivity"),
    [("T", Inactivity.STOPPED), ("S", Inactivity.ASLEEP), ("ST", Inactivity.ASLEEP)]
    + [(states, None) for states in ("", "R", "SR", "TR", "SD", "t", "Tt", "Z")],
)
def test_a_process_is_inactive_if_none_of_its_threads_uses_a_processor_a_disk_or_a_debugger(states, inactivity):
    assert Inactivity.of(frozenset(states)) is inactivity


def test_of_threads_of_which_nothing_is_known_none_is_said_to_be_inactive():
    assert Inactivity.of(None) is None
