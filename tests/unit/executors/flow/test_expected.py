import pytest

from multiedge.executors.flow.expected import MOST_DEPTH, default_depth, expected_seconds, most_depth
from multiedge.executors.flow.routes import Routes
from multiedge.transports.rundir import MOST_WAITING
from tests.builders.flow import chain_manifest, chain_routes


@pytest.mark.parametrize(("devices", "depth"), [(("d0",), 3), (("d0", "d1", "d2"), 7), ((("d0", "d1"), "d2"), 7)])
def test_each_replica_of_each_stage_has_two_items_and_one_is_added(devices, depth):
    manifest = chain_manifest(*devices)
    assert default_depth(manifest, Routes.of(manifest)) == depth


def test_a_plan_without_an_estimate_lets_nothing_be_expected():
    assert expected_seconds(chain_manifest("d0")) == {}


def test_messages_for_one_process_bound_the_depth():
    assert most_depth(chain_routes("d0", "d1")) == MOST_WAITING
    assert most_depth(chain_routes("d0", "d1", "d0")) == MOST_WAITING // 2
    assert default_depth(chain_manifest(*(["d0"] * 100)), chain_routes(*(["d0"] * 100))) == MOST_DEPTH
