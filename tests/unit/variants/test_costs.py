"""Costs of several variants as one profile."""

from __future__ import annotations

import pytest

from multiedge.errors import ConfigError
from multiedge.spans import FastestSpans
from multiedge.variants.costs import Variant, VariantCosts, chosen_variants, joint_profile, with_variants
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of

GRAPH = chain_graph(4, sizes=2, weight_bytes=10)
PLAIN, INT8 = Variant("onnxruntime", "float32"), Variant("onnxruntime", "int8")
COSTS = {
    PLAIN: VariantCosts(profile_of(GRAPH, {"a": 2.0, "b": 3.0}, overhead_s=0.5)),
    INT8: VariantCosts(profile_of(GRAPH, {"a": [3.0, 3.0, 0.5, 0.5], "b": 1.0}, overhead_s=1.0, fused=["t1"]), 0.3),
}


def test_a_device_takes_the_fastest_variant_for_its_nodes() -> None:
    allowed = {"a": (PLAIN, INT8), "b": (PLAIN,)}
    profile = joint_profile(COSTS, allowed)
    cost = profile.spans["a"]
    assert isinstance(cost, FastestSpans)
    assert (cost.seconds(0, 2) + 0.5, cost.seconds(2, 4) + 0.5) == (4.5, 2.0)
    assert "b" not in profile.spans
    assert profile.overhead_s == {"a": 0.5, "b": 0.5}
    assert profile.fused == {"t1"}
    assert chosen_variants(profile, allowed, {"a": (0, 1), "b": (2, 3)}) == {"a": PLAIN, "b": PLAIN}
    assert chosen_variants(profile, allowed, {"a": (2, 3)}) == {"a": INT8}


def test_weights_count_as_in_the_largest_variant_that_is_used() -> None:
    both = joint_profile(COSTS, {"a": (PLAIN, INT8), "b": (INT8,)})
    alone = joint_profile(COSTS, {"a": (INT8,), "b": (INT8,)})
    assert int(both.parameter_bytes.sum()) == 40
    assert int(alone.parameter_bytes.sum()) == 12
    assert alone.spans == {}


def test_variants_are_read_and_put_on_devices() -> None:
    assert Variant.parse(" onnxruntime:int8") == INT8
    with pytest.raises(ConfigError, match="expected BACKEND:PRECISION, such as onnxruntime:int8, got 'int8'"):
        Variant.parse("int8")
    fleet = with_variants(fleet_of("a", "b"), {"b": INT8})
    assert [(each.backend, each.precision) for each in fleet.devices] == [("onnxruntime", ""), ("onnxruntime", "int8")]
