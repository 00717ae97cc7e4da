"""The ImageNet benchmark's job files: what they name is there, and is what they take it for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.common import class_factory
from core.common.user_module import UserModule
from multiedge.errors import ConfigError
from multiedge.formats.devices import read_fleet
from partitioners import PARTITIONERS

ROOT = Path(__file__).parents[3]
BENCH = ROOT / "examples" / "imagenet" / "multiedge_inference_bench"
sys.path.insert(0, str(BENCH))

pytest.importorskip("PIL", reason="needs the extra [bench]")

from imagenet_bench.models import MODELS  # noqa: E402
from imagenet_bench.pipeline_model import fleet_file, fleet_with  # noqa: E402
from imagenet_bench.runtimes import ALGORITHM, prepare_runtimes  # noqa: E402
from prepare import CACHE  # noqa: E402

JOBS = sorted(BENCH.glob("benchmarkingjob*.yaml"))
ALGORITHMS = sorted(BENCH.glob("testalgorithms/*/*.yaml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def hyperparameters(algorithm: Path) -> dict[str, list[Any]]:
    (module,) = load(algorithm)["algorithm"]["modules"]
    return {name: spec["values"] for entry in module["hyperparameters"] for name, spec in entry.items()}


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_job_names_files_that_are_there(path: Path) -> None:
    job = load(path)["benchmarkingjob"]
    urls = [job["testenv"], *(each["url"] for each in job["test_object"]["algorithms"])]
    prepared = [f"./{CACHE / ALGORITHM}"]
    assert [url for url in urls if not (ROOT / url).is_file() and url not in prepared] == []
    names = [each["name"] for each in job["test_object"]["algorithms"]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", sorted(BENCH.glob("testenv/*.yaml")), ids=lambda path: path.stem)
def test_every_metric_is_registered_by_its_file(path: Path) -> None:
    class_factory.install()
    for metric in load(path)["testenv"]["metrics"]:
        assert callable(UserModule(str(ROOT / metric["url"]), metric["name"]).registered())


@pytest.mark.parametrize("path", ALGORITHMS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_algorithm_names_a_model_strategies_and_fleets_that_exist(path: Path) -> None:
    algorithm = load(path)["algorithm"]
    assert Path(algorithm["initial_model_url"]).parent.name in MODELS
    chosen = hyperparameters(path)
    assert set(chosen["strategy"]) <= set(PARTITIONERS.names())
    for fleet in chosen["fleet"]:
        has_points = bool(read_fleet(fleet_file(fleet)).partition_points)
        assert has_points or "manual" not in chosen["strategy"]
        assert len(read_fleet(fleet_file(fleet)).devices) == 3


@pytest.mark.parametrize("path", ALGORITHMS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_hyperparameters_reach_the_partition_hook(path: Path) -> None:
    class_factory.install()
    (module,) = load(path)["algorithm"]["modules"]
    first = {name: values[0] for name, values in hyperparameters(path).items()}
    made = UserModule(str(ROOT / module["url"]), module["name"]).registered()(**first)
    assert made.model_parallel is True
    assert made.strategy == first["strategy"]
    assert Path(made.devices) == BENCH / "devices" / f"{first['fleet']}.yaml"


def test_unknown_fleet_lists_the_near_one() -> None:
    with pytest.raises(ConfigError, match="unknown fleet 'train-vitt'; did you mean 'train-vit'"):
        fleet_file("train-vitt")


def test_a_fleet_gets_the_backends_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text, expected in (("openvino", ["openvino"] * 3), ("mnn, openvino, onnxruntime", ["mnn", "openvino", "onnxruntime"])):
        fleet = read_fleet(fleet_with("train-efficientnet", text))
        assert [device.backend for device in fleet.devices] == expected
        assert fleet.partition_points
    with pytest.raises(ConfigError, match="runtimes: expected 1 or 3 names for fleet 'train-efficientnet', got 2"):
        fleet_with("train-efficientnet", "mnn, openvino")


def test_rows_are_for_the_runtimes_that_can_convert_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {"mnn": "", "openvino": "", "other": "not installed"}
    monkeypatch.setattr("imagenet_bench.runtimes.converting", lambda: list(reasons))
    monkeypatch.setattr("imagenet_bench.runtimes.why_not", lambda name: reasons[name])
    assert prepare_runtimes(tmp_path) == (["mnn", "openvino", "mnn, openvino, onnxruntime"], {"other": "not installed"})
    path = tmp_path / ALGORITHM
    assert hyperparameters(path)["runtimes"] == ["mnn", "openvino", "mnn, openvino, onnxruntime"]
    test_algorithm_names_a_model_strategies_and_fleets_that_exist(path)
    reasons.update(mnn="not installed", openvino="not installed")
    assert prepare_runtimes(tmp_path)[0] == []
    assert hyperparameters(path)["runtimes"] == ["onnxruntime"]
