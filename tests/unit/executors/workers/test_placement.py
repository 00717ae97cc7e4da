import pytest

from multiedge.errors import PlanError
from multiedge.executors.workers.placement import place_stages
from tests.builders.flow import chain_manifest

FLEET = ("d0", "d1", "d2", "d3")
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
        place_stages(chain, chain, ("d0", "d1"), frozenset({"d0", "d1"}), {})
