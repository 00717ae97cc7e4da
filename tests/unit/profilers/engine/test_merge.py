"""Profiles put together from several devices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multiedge.errors import ProfileError
from multiedge.fleet import Device, Fleet
from multiedge.formats.profile import require_fits
from multiedge.graph import Node, Tensor
from profilers.engine.merge import merge, renamed
from profilers.static import StaticProfiler
from tests.builders.graphs import graph_of

GRAPH = graph_of(Node("a", "Relu", ("x",), ("y",)), tensors=(4,), model_hash="h1")


def test_the_later_profile_of_a_device_counts() -> None:
    fleet = Fleet((Device("phone", speed=0.5), Device("laptop", speed=1.0)))
    static = StaticProfiler().profile(GRAPH, fleet)
    on_phone = static.with_seconds("this machine, 1 thread", np.array([7.0]), "measured")
    merged = merge([static, renamed(on_phone, "this machine, 1 thread", "phone")])
    assert merged.seconds_on("phone").tolist() == [7.0]
    assert merged.sources["phone"].startswith("measured on the device")
    np.testing.assert_array_equal(merged.seconds_on("laptop"), static.seconds_on("laptop"))
    require_fits(merged, GRAPH, fleet)


def test_other_models_and_shapes_are_refused() -> None:
    static = StaticProfiler().profile(GRAPH, Fleet((Device("phone", speed=0.5),)))
    with pytest.raises(ProfileError, match="they are different models"):
        merge([static, replace(static, graph=replace(GRAPH, model_hash="h2"))])
    wider = replace(GRAPH, tensors={**GRAPH.tensors, "x": Tensor("x", "float32", (8,), 32)})
    with pytest.raises(ProfileError, match="input 'x' has shape"):
        merge([static, replace(static, graph=wider)])
    with pytest.raises(ProfileError, match="nothing to merge"):
        merge([])
