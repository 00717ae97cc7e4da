from dataclasses import replace

import pytest

from multiedge.executors.flow.expected import MOST_DEPTH, default_depth, expected_seconds, most_depth
from multiedge.executors.flow.routes import Routes
from multiedge.plan import Stage
from multiedge.transports.rundir import MOST_WAITING
from tests.builders.composed import BATCHED, composed
from tests.builders.fleets import fleet_of
from tests.builders.flow import chain_manifest, chain_routes
from tests.builders.graphs import chain_graph
from tests.builders.parts import split_at
from tests.builders.plans import relay_plan
from tests.builders.profiles import profile_of


@pytest.mark.parametrize(("devices", "depth"), [(("d0",), 3), (("d0", "d1", "d2"), 7), ((("d0", "d1"), "d2"), 7)])
def test_each_replica_of_each_stage_has_two_items_and_one_is_added(devices, depth):
    manifest = chain_manifest(*devices)
    assert default_depth(manifest, Routes.of(manifest)) == depth


def test_steps_that_take_batches_have_so_many_more_items(tmp_path):
    manifest = split_at(composed(tmp_path, BATCHED), [3], tmp_path / "parts")
    manifest = replace(manifest, plan=None)
    assert default_depth(manifest, Routes.of(manifest)) == 2 * 2 * 4 + 1


@pytest.mark.parametrize(
    ("seconds", "depth"),
    [
        pytest.param(0.11, 2 + 2 + 2, id="what the latency covers, two more, and one for each stage"),
        pytest.param(0.0001, 2 + 5 + 2 + 2, id="and as many as come until a process runs"),
        pytest.param(1e-7, MOST_DEPTH, id="no more than there is room for"),
    ],
)
def test_stages_that_take_less_time_than_a_process_needs_to_run_have_more_items(seconds, depth):
    profile, fleet = profile_of(chain_graph(2, sizes=1), {"d0": seconds, "d1": seconds}), fleet_of("d0", "d1")
    plan = relay_plan(profile, fleet, Stage("d0", (0,)), Stage("d1", (1,)))
    manifest = replace(chain_manifest("d0", "d1"), plan=plan)
    assert default_depth(manifest, Routes.of(manifest)) == depth


def test_a_plan_without_an_estimate_lets_nothing_be_expected():
    assert expected_seconds(chain_manifest("d0")) == {}


def test_messages_for_one_process_bound_the_depth():
    assert most_depth(chain_routes("d0", "d1")) == MOST_WAITING
    assert most_depth(chain_routes("d0", "d1", "d0")) == MOST_WAITING // 2
    assert default_depth(chain_manifest(*(["d0"] * 100)), chain_routes(*(["d0"] * 100))) == MOST_DEPTH
