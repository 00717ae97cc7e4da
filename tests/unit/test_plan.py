"""Plans as values: gaps, names, refusals, identities."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from multiedge.errors import PlanError
from multiedge.plan import CALLER, Estimate, Manifest, Part, Plan, Stage, Transfer, require
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.plans import relay_plan
from tests.builders.profiles import profile_of


def plan(value: float, lower_bound: float | None) -> Plan:
    return Plan("s", "throughput", (), (), Estimate((), value, "", 0.0, None, 0), value, lower_bound)


@pytest.mark.parametrize(
    ("value", "lower_bound", "gap"),
    [
        pytest.param(2.0, 2.0, 0.0, id="proven"),
        pytest.param(2.0, 1.5, 0.25, id="a quarter"),
        pytest.param(2.0, None, None, id="nothing proven"),
        pytest.param(2.0, 0.0, 1.0, id="nothing but that it is positive"),
        pytest.param(2.0, 2.0 + 1e-12, 0.0, id="rounding never makes it negative"),
        pytest.param(0.0, 0.0, 0.0, id="no time"),
        pytest.param(inf, inf, None, id="a value that is not known"),
        pytest.param(1e-12, 0.5e-12, 0.5, id="tiny"),
    ],
)
def test_the_gap_is_relative_to_the_value(value: float, lower_bound: float | None, gap: float | None) -> None:
    found = plan(value, lower_bound).gap
    assert found == (None if gap is None else pytest.approx(gap))


def test_the_rate_is_the_inverse_of_the_bottleneck() -> None:
    assert plan(0.25, None).estimate.fps_bound == 4.0
    assert plan(0.0, None).estimate.fps_bound == inf


def test_a_plan_takes_the_names_of_its_model() -> None:
    profile = profile_of(chain_graph(4), dict.fromkeys("ab", 1.0))
    named = relay_plan(profile, fleet_of("a", "b"), Stage("a", (0, 1, 2)), Stage("b", (3,))).with_names(profile.graph)
    assert (named.model, named.stage_ends) == ("chain", (("n0", "n2"), ("n3", "n3")))


def test_all_violations_are_in_one_error() -> None:
    require([])
    with pytest.raises(PlanError, match="plan of 'x' cannot run: one; two") as caught:
        require(["one", "two"], "plan of 'x'")
    assert caught.value.violations == ("one", "two")


def served(fingerprint: str = "stat:10:77", **changes: object) -> str:
    files = {"part.onnx": "xxh3:1", "weights.linked": fingerprint}
    parts = tuple(Part(stage, "part.onnx", "a", ("x",), ("y",), files) for stage in range(2))
    moves = (Transfer(CALLER, 0, ("x",), 4), Transfer(0, CALLER, ("y",), 4))
    manifest = Manifest("m.onnx", "hash", ("x",), ("y",), parts, moves, "linked", "folder")
    return replace(manifest, **changes).identity(0)


def test_the_identity_of_a_stage_is_that_of_its_model_plan_and_part() -> None:
    others = [served("stat:11:77"), served(model_hash="other"), served(transfers=())]
    assert len({served(), *others}) == 4


def test_the_identity_of_a_stage_is_the_same_on_every_machine() -> None:
    assert served() == served("stat:10:78", model="elsewhere.onnx", directory="copy")
