"""`exact` on real graphs with branches: a proven gap of 1 % within its time limit, on four different devices."""

import pytest

from multiedge.fleet import Device, Fleet
from multiedge.onnx_io import read_graph
from multiedge.planning.checks import violations
from multiedge.run import profile_model
from partitioners.exact import Exact
from tests.builders.onnx_models import LIGHT

SPEEDS = {"nano": 0.5, "pi": 0.25, "laptop": 1.0, "tablet": 0.8}


@pytest.mark.parametrize("name", ["inception_v1", "inception_v2", "densenet121"])
def test_one_per_cent_is_proven_within_thirty_seconds(name: str) -> None:
    fleet = Fleet(
        tuple(
            Device(device, speed=speed, flops_per_s=speed * 1e10, bandwidth_bytes_per_s=125e6, latency_s=1e-3)
            for device, speed in SPEEDS.items()
        )
    )
    profile = profile_model(read_graph(LIGHT / f"light_{name}.onnx"), fleet)
    plan = Exact(time_limit_s=30.0, gap=0.01).plan(profile, fleet)
    assert plan.gap <= 0.01
    assert plan.solve_s < 35
    assert violations(profile, fleet, plan.stages, plan.transfers) == []
