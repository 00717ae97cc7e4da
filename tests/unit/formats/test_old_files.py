"""Files of the first release (tests/golden/v1): a plan folder, a profile and the results of a simulated run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from multiedge.errors import ConfigError, PlanError, ProfileError
from multiedge.formats.profile import load_profile
from multiedge.onnx_io import read_manifest
from multiedge.plan import CALLER, Plan, Stage, StageEstimate, Transfer
from multiedge.report.page import render_page
from multiedge.report.results import load_results

V1 = Path(__file__).parents[2] / "golden" / "v1"
NO_LIMIT = None
MOVES = (Transfer(CALLER, 0, ("x",), 16), Transfer(0, 1, ("b",), 16), Transfer(1, CALLER, ("y",), 16))


def require_the_plan(plan: Plan | None) -> None:
    """The one plan of the files, its estimate included; no limit of memory was 2**62 then."""
    assert plan is not None
    assert (plan.model, plan.strategy, plan.objective, plan.notes) == ("small", "manual", "throughput", ("a note",))
    assert plan.stages == (Stage("camera", (0, 1)), Stage("laptop", (2, 3)))
    assert plan.stage_ends == (("first", "second"), ("third", "fourth"))
    assert plan.transfers == MOVES
    assert plan.gap == pytest.approx(1 - 3e-6 / 4.0256e-06)
    assert plan.estimate.stages[0] == StageEstimate(4.0256e-06, 0.0020012800000000002, 128, 64 << 20, 1.0)
    assert plan.estimate.stages[1].memory_limit_bytes is NO_LIMIT
    assert (plan.estimate.bottleneck, plan.estimate.network_bytes) == ("device 'camera'", 32)


def test_a_plan_folder_is_read():
    manifest = read_manifest(V1 / "plan")
    assert [(part.file, part.devices) for part in manifest.parts] == [
        ("sub_model_1.onnx", ("camera",)),
        ("sub_model_2.onnx", ("laptop",)),
    ]
    assert manifest.transfers == MOVES
    require_the_plan(manifest.plan)


def test_a_profile_is_read():
    profile = load_profile(V1 / "profile.json")
    assert [node.name for node in profile.graph.nodes] == ["first", "second", "third", "fourth"]
    assert profile.seconds_on("camera")[0] == 4 * profile.seconds_on("laptop")[0] == 2.0192e-06
    assert profile.sources["camera"] == "static: speed 0.5"
    assert profile.cut_bytes.tolist() == [16, 16, 16, 16, 0]


def test_results_are_read_and_drawn():
    result = load_results(V1 / "results.json")
    require_the_plan(result.plan)
    assert result.results["network_bytes"].value == 32
    assert result.repeats == {"fps": (10.0, 11.0)}
    assert [entry.limit_bytes for entry in result.measurements.memory] == [64 << 20, NO_LIMIT]
    page = render_page([result])
    assert "no limit declared" in page
    assert "from the best" in page


@pytest.fixture
def files(tmp_path):
    return Path(shutil.copytree(V1, tmp_path / "v1"))


def edit(path, *keys, value):
    data = json.loads(path.read_text(encoding="utf-8"))
    spot = data
    for key in keys[:-1]:
        spot = spot[key]
    spot[keys[-1]] = value
    path.write_text(json.dumps(data), encoding="utf-8")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("schema",), r"plan\.json: expected schema 'multiedge.plan/1', got 99; write the parts again"),
        (("plan", "version"), r"plan\.json: plan: expected a plan of version 1, got 99; write the parts again"),
    ],
)
def test_a_plan_of_another_version_is_refused_with_the_remedy(files, keys, message):
    edit(files / "plan" / "plan.json", *keys, value=99)
    with pytest.raises(PlanError, match=message):
        read_manifest(files / "plan")


def test_a_profile_of_another_version_is_refused_with_the_remedy(files):
    edit(files / "profile.json", "version", value=99)
    with pytest.raises(ProfileError, match=r"profile\.json: .*99.*profile"):
        load_profile(files / "profile.json")


def test_results_of_another_schema_are_refused_with_the_remedy(files):
    edit(files / "results.json", "schema", value="multiedge-results/99")
    with pytest.raises(ConfigError, match=r"results\.json: .*'multiedge-results/99'; write it with `multiedge run`"):
        load_results(files / "results.json")
