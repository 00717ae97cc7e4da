from dataclasses import replace

import pytest

from multiedge.errors import PlanError
from multiedge.executors.flow.routes import Routes
from multiedge.plan import CALLER, Transfer
from tests.builders.flow import chain_manifest, chain_routes
from tests.builders.paths import paths_manifest, two_paths


def test_a_chain_is_entered_and_left_by_one_transfer_each():
    routes = chain_routes("d0", "d1")
    assert [routes.entering(stage) for stage in (0, 1, CALLER)] == [(0,), (1,), (2,)]
    assert [routes.leaving(stage) for stage in (CALLER, 0, 1)] == [(0,), (1,), (2,)]
    assert routes.sinks == ((2,),)


def test_a_stage_from_which_nothing_leaves_reports_to_the_caller():
    manifest = chain_manifest("d0", "d1")
    routes = Routes.of(replace(manifest, transfers=(*manifest.transfers[:2], Transfer(0, CALLER, ("t1",), 16))))
    assert routes.transfers[-1] == Transfer(1, CALLER, (), 0)
    assert routes.sinks == ((2, 3),)


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


def test_each_path_has_transfers_of_its_own_that_tell_which_stage_is_next():
    routes = Routes.of(paths_manifest(two_paths()))
    assert [(way.stages, way.devices) for way in routes.ways] == [((0, 2), ("d0", "d1")), ((0, 1, 3), ("d0", "d2", "d3"))]
    ends = [(move.source, move.target, routes.way(number)) for number, move in enumerate(routes.transfers)]
    assert sorted(ends) == [(-1, 0, 0), (-1, 0, 1), (0, 1, 1), (0, 2, 0), (1, 3, 1), (2, -1, 0), (3, -1, 1)]
    assert [len(routes.leaving(CALLER, way)) for way in (0, 1)] == [1, 1]
    assert [routes.transfers[routes.leaving(0, way)[0]].target for way in (0, 1)] == [2, 1]
    assert [routes.entering(1, way) != () for way in (0, 1)] == [False, True]
    assert [len(each) for each in routes.sinks] == [1, 1]


def test_replicas_of_a_stage_take_the_items_of_its_path_in_turn():
    routes = Routes.of(paths_manifest(two_paths(replicas=("d4",), rates=(20.0, 20.0))))
    taken, homes = [0] * routes.count, []
    for _ in range(8):
        way = routes.next_way(taken)
        taken[way] += 1
        homes.append(routes.ways[way].devices[1])
    # Half of the items take each path, and every other one of the first path each of its replicas.
    assert sorted(homes) == ["d1", "d1", "d2", "d2", "d2", "d2", "d4", "d4"]


def test_a_stage_that_no_path_uses_is_held_and_not_passed():
    manifest = paths_manifest(two_paths())
    assert manifest.plan is not None
    routes = Routes.of(replace(manifest, plan=replace(manifest.plan, paths=manifest.plan.paths[:1])))
    assert routes.devices == ("d0", "d1")
    assert routes.stages_on("d2") == (1,)
