"""Profiles as files: nothing is lost on the way, and what does not fit is refused with the reason."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from multiedge.errors import ProfileError
from multiedge.fleet import Device, Fleet
from multiedge.formats.profile import diff, load_profile, profile_from_json, profile_to_json, require_fits, save_profile
from multiedge.graph import Graph, Node, Tensor
from multiedge.pipeline_cost import PipelineCost
from multiedge.profile import MemoryUse, Profile
from profilers.static import StaticProfiler
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of
from tests.builders.refusals import refusal, with_one_value_changed

FLEET = Fleet((Device("phone", speed=0.25), Device("laptop", speed=1.0)), name="two")


@pytest.fixture
def graph() -> Graph:
    return Graph(
        name="tiny",
        nodes=(
            Node("up", "MatMul", ("x", "w"), ("h",)),
            Node("bound", "Clip", ("h", "", ""), ("c",), attributes={"max": math.inf, "pads": (1, 2), "mode": "edge"}),
            Node(
                "body", "If", ("c",), ("y",), "acme", captures=("h",), attributes={"then_branch": 3}, bodies=({"Op": ("h",)},)
            ),
        ),
        inputs=("x",),
        outputs=("y",),
        tensors={
            "x": Tensor("x", "float32", (1, 4), 16),
            "h": Tensor("h", "float32", (1, 8), 32),
            "c": Tensor("c", "float32", ("batch", 8), 32),
            "y": Tensor("y", nbytes=8),
        },
        parameters={"w": Tensor("w", "float32", (4, 8), 128)},
        opsets={"": 17, "acme": 1},
        ir_version=9,
        model_hash="abc123",
        path="tiny.onnx",
    )


@pytest.fixture
def profile(graph: Graph) -> Profile:
    static = StaticProfiler().profile(graph, FLEET)
    return replace(
        static, spread_s={"phone": np.array([0.1, 0.2, 0.3])}, overhead_s={"phone": 1e-5, "laptop": 0.0}, fused=frozenset({"h"})
    )


def test_everything_survives_the_file(profile: Profile, tmp_path: Path) -> None:
    save_profile(profile, tmp_path / "deep" / "profile.json")
    back = load_profile(tmp_path / "deep" / "profile.json")
    assert back.graph == profile.graph
    assert (back.uncounted, back.fused) == (profile.uncounted, profile.fused)
    assert back.settings == profile.settings
    assert (back.sources, back.overhead_s) == (profile.sources, profile.overhead_s)
    np.testing.assert_array_equal(back.macs, profile.macs)
    np.testing.assert_array_equal(back.flops, profile.flops)
    for device in FLEET.names:
        np.testing.assert_array_equal(back.seconds[device], profile.seconds[device])
    np.testing.assert_array_equal(back.spread_s["phone"], profile.spread_s["phone"])
    assert list(tmp_path.glob("deep/.*")) == []


def test_the_fields_that_others_read(profile: Profile) -> None:
    data = profile_to_json(profile)
    assert (data["schema"], data["version"]) == ("multiedge-profile", 1)
    first = data["nodes"][0]
    assert (first["name"], first["op_type"], first["macs"]) == ("up", "MatMul", 32)
    assert (first["parameter_bytes"], first["output_bytes"]) == (128, 32)
    assert set(first["seconds"]) == {"phone", "laptop"}
    assert [cut["after"] for cut in data["cuts"]] == [0, 1, 2, 3]
    assert data["cuts"][1] == {"after": 1, "tensors": ["h"], "bytes": 32}
    assert data["cuts"][2]["bytes"] == 64
    json.dumps(data, allow_nan=False)


def test_a_failed_write_leaves_the_old_file(profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    save_profile(profile, path)
    before = path.read_text()
    with pytest.raises(TypeError):
        save_profile(replace(profile, settings={"odd": object()}), path)
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["profile.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other"}, "not a profile"),
        ({"version": 9}, "version 9 of the format; this program reads 1"),
        ({"nodes": [{"name": "up"}]}, r"p\.json: nodes\[0\]\.spread_s: missing; expected a mapping; profile the model again"),
        (
            {"devices": {"ghost": {"source": "", "overhead_s": 0}}},
            r"p\.json: nodes\[0\]\.seconds\.ghost: missing; expected a finite number",
        ),
        ({"tensors": [3]}, r"p\.json: tensors\[0\]: expected a mapping with 'name', got 3"),
    ],
)
def test_damage_is_named(profile: Profile, change: dict, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        profile_from_json({**profile_to_json(profile), **change}, "p.json")


@pytest.mark.parametrize("cost", [-1.0, math.nan])
def test_impossible_costs_are_refused(profile: Profile, cost: float) -> None:
    data = profile_to_json(profile)
    data["nodes"][1]["seconds"]["phone"] = cost
    with pytest.raises(ProfileError, match=r"p\.json: nodes\[1\]\.seconds\.phone: expected a finite number from 0, got"):
        profile_from_json(data, "p.json")


def test_any_damaged_value_is_read_or_refused_in_one_line(profile: Profile) -> None:
    data = json.loads(json.dumps(profile_to_json(profile)))

    @given(with_one_value_changed(data))
    def check(damaged: object) -> None:
        message = refusal(lambda: profile_from_json(damaged, "p.json"), ProfileError)
        assert message is None or (message.startswith(("p.json: ", "profile of tiny: ")) and "\n" not in message)

    check()


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"no such profile .*; make one with: multiedge profile MODEL"):
        load_profile(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ProfileError, match=r"bad\.json: not valid JSON"):
        load_profile(tmp_path / "bad.json")


def test_a_profile_fits_its_own_model_and_fleet(profile: Profile, graph: Graph) -> None:
    """Nothing is raised; a device more than the profile knows shows that it looks."""
    require_fits(profile, graph, FLEET)
    smaller = FLEET.without("phone")
    require_fits(profile, graph, smaller)
    with pytest.raises(ProfileError, match="extra"):
        require_fits(profile, graph, replace(FLEET, devices=(*FLEET.devices, Device("extra", speed=1.0))))


def test_another_model_is_refused(profile: Profile, graph: Graph) -> None:
    with pytest.raises(ProfileError, match=r"made of tiny \(hash abc123\), the model is tiny \(hash fff\); profile this model"):
        require_fits(profile, replace(graph, model_hash="fff"), FLEET)
    with pytest.raises(ProfileError, match="in another order or number"):
        require_fits(profile, replace(graph, nodes=graph.nodes[::-1]), FLEET)


def test_another_input_size_is_refused(profile: Profile, graph: Graph) -> None:
    wider = {**graph.tensors, "x": Tensor("x", "float32", (8, 4), 128)}
    with pytest.raises(ProfileError, match=r"input 'x' of shape \[1, 4\], now it has \[8, 4\]"):
        require_fits(profile, replace(graph, tensors=wider), FLEET)


def test_another_fleet_is_refused(profile: Profile, graph: Graph) -> None:
    with pytest.raises(ProfileError, match="no times for device 'tablet'"):
        require_fits(profile, graph, Fleet((Device("tablet", speed=1.0),)))
    with pytest.raises(ProfileError, match=r"device 'phone': the profile was made for speed 0.25, two says 0.5"):
        require_fits(profile, graph, Fleet((Device("phone", speed=0.5), Device("laptop", speed=1.0)), name="two"))
    with pytest.raises(ProfileError, match=r"device 'phone': the profile was made for flops_per_s not stated"):
        require_fits(profile, graph, Fleet((Device("phone", speed=0.25, flops_per_s=1e9),), name="two"))


def test_differences_are_listed_by_size(profile: Profile) -> None:
    changed = profile.with_seconds("phone", profile.seconds["phone"] + np.array([0.0, 1.0, -0.0]), "test")
    changes = diff(profile, changed)
    phone = [change for change in changes if change.device == "phone"]
    assert [change.node for change in phone] == ["", "bound"]
    assert phone[0].after_s - phone[0].before_s == pytest.approx(1.0)
    assert phone[1].ratio > 1
    assert [change.node for change in changes if change.device == "laptop"] == [""]


def test_profiles_of_different_models_are_not_compared(profile: Profile, graph: Graph) -> None:
    other = StaticProfiler().profile(replace(graph, nodes=graph.nodes[:1]), FLEET)
    with pytest.raises(ProfileError, match="have different nodes"):
        diff(profile, other)


def test_the_executors_own_cost_is_kept_and_older_files_have_none() -> None:
    own = PipelineCost(1e-4, 1e-10, 5e-5, 1e-10, 1e-4, 1.5, 1.1, 1.2)
    data = profile_to_json(profile_of(chain_graph(2), {"a": 1.0}, pipeline=own))
    assert profile_from_json(data).pipeline == own
    del data["pipeline"]
    assert profile_from_json(data).pipeline is None


def test_how_workers_hold_memory_is_kept_and_older_files_have_the_least() -> None:
    use = MemoryUse(2, 5, {"Conv": 3}, body_copies={"MatMul": 1}, weight_copies=2)
    profile = profile_of(chain_graph(2), {"a": 1.0}, memory_use=use)
    data = profile_to_json(profile)
    assert profile_from_json(data).memory_use == use
    del data["memory_use"]
    assert profile_from_json(data).memory_use == MemoryUse()
