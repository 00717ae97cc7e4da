import threading
import time

from multiedge.errors import InfeasibleError
from multiedge.executors.workers.observation import PlanFailed, PlanReady
from multiedge.executors.workers.planning import Planner
from tests.builders.flow import chain_manifest
from tests.builders.supervision import fleet_of


def taken(planner):
    """The next plan; a test fails if there is none after a while."""
    until = time.monotonic() + 10.0
    while time.monotonic() < until:
        if (made := planner.take()) is not None:
            return made
        time.sleep(0.001)
    raise AssertionError("no plan was made")


def test_a_plan_is_made_for_the_fleet_that_was_requested_and_taken_once():
    planner = Planner(lambda fleet: chain_manifest(*fleet.names))
    assert planner.take() is None
    planner.request(fleet_of(2))
    assert taken(planner) == PlanReady(fleet_of(2), chain_manifest("d0", "d1"))
    assert planner.take() is None


def test_of_requests_that_wait_the_last_one_counts():
    asked, may_go_on = [], threading.Event()

    def replan(fleet):
        asked.append(len(fleet.names))
        may_go_on.wait(10.0)
        return chain_manifest(*fleet.names)

    planner = Planner(replan)
    for count in (1, 2, 3):
        planner.request(fleet_of(count))
        while not asked:
            time.sleep(0.001)
    may_go_on.set()
    while taken(planner).fleet != fleet_of(3):
        pass
    assert asked == [1, 3]


def test_a_plan_that_cannot_be_made_is_an_answer_too():
    def replan(fleet):
        raise InfeasibleError("nothing fits")

    planner = Planner(replan)
    for count in (1, 2):
        planner.request(fleet_of(count))
        assert taken(planner) == PlanFailed(fleet_of(count), "nothing fits")
