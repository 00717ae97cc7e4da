from dataclasses import replace

import pytest

from multiedge.errors import PlanError
from multiedge.executors.flow.routes import Routes
from multiedge.plan import CALLER, Transfer
from tests.builders.flow import chain_manifest, chain_routes


def test_a_chain_is_entered_and_left_by_one_transfer_each():
    routes = chain_routes("d0", "d1")
    assert [routes.entering(stage) for stage in (0, 1, CALLER)] == [(0,), (1,), (2,)]
    assert [routes.leaving(stage) for stage in (CALLER, 0, 1)] == [(0,), (1,), (2,)]
    assert routes.sinks == (2,)


def test_a_stage_from_which_nothing_leaves_reports_to_the_caller():
    manifest = chain_manifest("d0", "d1")
    routes = Routes.of(replace(manifest, transfers=(*manifest.transfers[:2], Transfer(0, CALLER, ("t1",), 16))))
    assert routes.transfers[-1] == Transfer(1, CALLER, (), 0)
    assert routes.sinks == (2, 3)


@pytest.mark.parametrize(("source", "target"), [(0, 2), (5, CALLER), (-2, 0)])
def test_a_transfer_to_or_from_no_stage_is_refused(source, target):
    manifest = replace(chain_manifest("d0", "d1"), transfers=(Transfer(source, target, ("t0",), 16),))
    with pytest.raises(PlanError, match=f"plan: a transfer goes from stage {source} to {target}; the plan has 2 stages"):
        Routes.of(manifest)


def test_replicas_take_turns_by_the_number_of_the_item():
    routes = chain_routes(("d0", "d2", "d3"), "d1")
    assert [routes.home(0, sequence) for sequence in range(4)] == ["d0", "d2", "d3", "d0"]
    assert [routes.home(1, sequence) for sequence in range(4)] == ["d1"] * 4


def test_devices_are_listed_once_in_order_of_first_use():
    routes = chain_routes(("d1", "d2"), "d0", "d1")
    assert routes.devices == ("d1", "d2", "d0")
    assert routes.stages_on("d1") == (0, 2)
    assert routes.stages_on("d9") == ()
