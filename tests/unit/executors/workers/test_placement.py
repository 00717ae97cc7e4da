from dataclasses import replace

import pytest

from multiedge.errors import PlanError
from multiedge.executors.workers.placement import place_stages
from multiedge.fleet import Device
from multiedge.placement import Stage
from tests.builders.fleets import fleet_of
from tests.builders.flow import chain_manifest
from tests.builders.graphs import chain_graph
from tests.builders.plans import relay_plan
from tests.builders.profiles import profile_of

FLEET = fleet_of("d0", "d1", "d2", "d3")
CHAIN = ("d0", "d1", "d2")


@pytest.mark.parametrize(
    ("planned", "placed", "away", "fallbacks", "expected"),
    [
        (CHAIN, CHAIN, "", {}, "d0 d1 d2"),
        (CHAIN, CHAIN, "d1", {}, "d0 d3 d2"),
        (CHAIN, CHAIN, "d1 d3", {}, "d0 d0 d2"),
        (CHAIN, CHAIN, "d0 d1", {}, "d3 d2 d2"),
        (CHAIN, CHAIN, "d0 d1 d2", {}, "d3 d3 d3"),
        (CHAIN, ("d0", "d3", "d2"), "", {}, "d0 d1 d2"),
        (CHAIN, ("d2", "d1", "d2"), "d0", {}, "d2 d1 d2"),
        (CHAIN, ("d0", "d3", "d2"), "d0 d1", {}, "d2 d3 d2"),
        (CHAIN, CHAIN, "d1", {1: ("d2", "d3")}, "d0 d2 d2"),
        (CHAIN, CHAIN, "d1 d2", {1: ("d2", "d0")}, "d0 d0 d3"),
        (CHAIN, ("d0", "d3", "d2"), "d1", {1: ("d2",)}, "d0 d2 d2"),
        (CHAIN, CHAIN, "d1", {0: ("d3",)}, "d0 d3 d2"),
        (("d0", ("d1", "d2")), ("d0", ("d1", "d2")), "d2", {1: ("d3",)}, "d0 d1"),
        (("d0", ("d1", "d2")), ("d0", ("d1", "d2")), "d1", {}, "d0 d2"),
        (("d0", ("d1", "d2")), ("d0", ("d1", "d2")), "d0", {}, "d3 d1+d2"),
        (("d0", ("d1", "d2")), ("d0", ("d1", "d2")), "d1 d2", {}, "d0 d3"),
        (("d0", "d0", "d1"), ("d0", "d0", "d1"), "d0", {}, "d2 d3 d1"),
    ],
)
def test_stages_go_where_they_belong_or_to_the_next_best(planned, placed, away, fallbacks, expected):
    made = place_stages(chain_manifest(*planned), chain_manifest(*placed), FLEET, frozenset(away.split()), fallbacks)
    assert " ".join("+".join(part.devices) for part in made.parts) == expected


def test_where_other_parts_are_says_nothing():
    planned, placed = chain_manifest("d0", "d1"), chain_manifest("d3", "d3", "d3", directory="other")
    made = place_stages(planned, placed, FLEET, frozenset({"d1"}), {})
    assert [part.device for part in made.parts] == ["d0", "d2"]


def test_a_stage_for_which_there_is_no_device_is_named():
    chain = chain_manifest("d0", "d1")
    with pytest.raises(PlanError, match=r"stage 0: no device is left to run it \(lost: d0, d1\)"):
        place_stages(chain, chain, fleet_of("d0", "d1"), frozenset({"d0", "d1"}), {})


@pytest.mark.parametrize(
    ("limits", "away", "expected"),
    [
        ((9999, 9999, 9999, 250), "d1", "d0 d3 d2"),  # all have room for it beside the runtime
        ((250, 9999, 9999, 150), "d1", "d0 d2 d2"),
        ((9999, 9999, 250, 150), "d1", "d0 d0 d2"),
        ((250, 250, 250, 150), "d1", "d0 d3 d2"),  # none has room by the figures
        ((250, 250, 250, None), "d1 d2", "d0 d3 d3"),
        ((350, 9999, 9999, 150), "d1 d2", "d0 d0 d3"),  # room for one of the two
    ],
)
def test_a_stage_goes_where_the_memory_is_enough(limits, away, expected):
    fleet = fleet_of(
        *(Device(f"d{number}", memory_bytes=limit, runtime_bytes=100) for number, limit in enumerate(limits)), memory_margin=0.0
    )
    graph = chain_graph(3, sizes=0, weight_bytes=100)
    profile = profile_of(graph, dict.fromkeys(fleet.names, 1.0))
    plan = relay_plan(profile, fleet, *(Stage(device, (node,)) for node, device in enumerate(CHAIN)))
    assert [stage.memory_bytes for stage in plan.estimate.stages] == [200, 200, 200]
    chain = replace(chain_manifest(*CHAIN), plan=plan)
    made = place_stages(chain, chain, fleet, frozenset(away.split()), {})
    assert " ".join(part.device for part in made.parts) == expected
