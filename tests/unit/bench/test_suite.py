"""The public suite: what its version fixes does not drift."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from multiedge.bench import suite as library
from multiedge.bench.grid import make_cases, parse_choices, run_cell
from multiedge.bench.suite import fleet_digest, model_digest, read_suite, stated_digests, suite_versions
from multiedge.errors import ConfigError
from multiedge.planning.synthetic import synthetic_graph
from tests.builders.onnx_models import layers, saved
from tests.builders.open_models import OPEN_MODELS

GOLDEN = Path(__file__).parents[2] / "golden" / "bench_suite_1.json"
SUITE = read_suite("1")


def test_every_fleet_has_the_digest_that_its_version_states() -> None:
    for version in suite_versions():
        assert {name: fleet.digest for name, fleet in read_suite(version).fleets.items()} == stated_digests(version)


@pytest.mark.slow
def test_costs_of_version_1_are_those_of_its_first_day() -> None:
    """What a paper reported stays comparable: a change of the cost model or of an optimal strategy needs a new version."""
    optimal = parse_choices(["throughput"])[0]
    costs = {}
    for case in make_cases([SUITE.model(name) for name in SUITE.models], list(SUITE.fleets.values())):
        row = run_cell(case, optimal, None)
        costs[f"{row.model} on {row.fleet}"] = {"plan": row.cost("throughput"), **row.single}
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert costs.keys() == expected.keys()
    for instance, figures in expected.items():
        for name, cost in figures.items():
            assert costs[instance][name] == (None if cost is None else pytest.approx(cost, rel=1e-9)), f"{instance}: {name}"


def test_a_model_that_is_not_the_suites_any_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "model_digest", lambda graph: "000000000000")
    with pytest.raises(ConfigError, match=r"squeezenet has the digest 000000000000 with onnx .*; install another release"):
        SUITE.model("squeezenet")


def test_a_digest_is_of_the_structure_and_not_of_names() -> None:
    assert model_digest(synthetic_graph(20, seed=1)) == model_digest(synthetic_graph(20, seed=1))
    assert model_digest(synthetic_graph(20, seed=1)) != model_digest(synthetic_graph(20, seed=2))
    assert fleet_digest({"a": 1, "b": [2]}) == fleet_digest({"b": [2], "a": 1}) != fleet_digest({"a": 1, "b": [3]})


def test_files_of_the_user_are_no_part_of_the_suite(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("devices: [{name: a, speed: 1}]", encoding="utf-8")
    assert SUITE.devices(str(path)).suite == ""
    assert SUITE.devices("train").suite == "1"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_suite("9"), "--suite: unknown version '9'; there are: 1"),
        (
            lambda: SUITE.model("squeznet"),
            "--models: 'squeznet' is no file and no model of the suite; did you mean 'squeezenet'?",
        ),
        (lambda: SUITE.devices("trains"), "--fleets: 'trains' is no file and no fleet of the suite; did you mean 'train'?"),
    ],
)
def test_unknown_names_are_refused_with_near_ones(call, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    assert str(caught.value) == message


def test_a_model_with_open_sizes_is_refused_with_a_remedy_that_there_is(tmp_path: Path) -> None:
    path = saved(OPEN_MODELS["ocr"].make(), tmp_path / "lines.onnx")
    with pytest.raises(ConfigError, match=r"lines\.onnx: the sizes of the inputs x are open; .*make_dynamic_shape_fixed$"):
        read_suite("1").model(str(path))


def test_models_that_an_exporter_named_alike_are_told_apart_by_their_files(tmp_path: Path) -> None:
    for name in ("first", "second"):
        saved(layers(2, name="main_graph"), tmp_path / f"{name}.onnx")
    assert [read_suite("1").model(str(tmp_path / f"{name}.onnx")).name for name in ("first", "second")] == ["first", "second"]


def test_a_version_may_be_written_with_v() -> None:
    assert read_suite("v1").version == "1"
