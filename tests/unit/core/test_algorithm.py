"""Algorithms of a job: one for each combination of hyperparameters, with the keys that go to the paradigm."""

import sys

import pytest

from core.testcasecontroller.algorithm.algorithm import parse_algorithms, read_algorithm
from multiedge.errors import ConfigError
from multiedge.formats.fields import Field
from tests.builders.ianvs_files import algorithm_entry, yaml_file

GRID = [{"lr": {"values": [0.1, 0.2]}}, {"cut": {"values": ["h1", "h2"]}}]


def read(tmp_path, **keys):
    return read_algorithm("mine", algorithm_entry(tmp_path, "mine", **keys)["url"])


def test_an_algorithm_comes_once_for_each_combination(tmp_path):
    algorithms = read(tmp_path, grid=GRID)
    assert [algorithm.title for algorithm in algorithms] == [
        "mine (lr=0.1, cut=h1)",
        "mine (lr=0.1, cut=h2)",
        "mine (lr=0.2, cut=h1)",
        "mine (lr=0.2, cut=h2)",
    ]
    assert algorithms[1].hyperparameters == {"basemodel-lr": "0.1", "basemodel-cut": "h2"}


def test_an_algorithm_without_hyperparameters_is_called_by_its_name(tmp_path):
    (algorithm,) = read(tmp_path)
    assert (algorithm.title, algorithm.hyperparameters) == ("mine", {})
    assert (algorithm.paradigm_type, algorithm.initial_model_url) == ("multiedgeinference", "")


def test_other_keys_go_to_the_paradigm(tmp_path):
    (algorithm,) = read(tmp_path, initial_model_url="model.onnx", devices="devices.yaml", partition_options={"relax": True})
    assert algorithm.initial_model_url == "model.onnx"
    assert dict(algorithm.settings) == {"devices": "devices.yaml", "partition_options": {"relax": True}}


def test_the_algorithms_own_keys_come_before_those_of_the_test_environment(tmp_path):
    (algorithm,) = read(tmp_path, initial_model_url="model.onnx", devices="mine.yaml")
    paradigm = algorithm.paradigm(str(tmp_path), devices="theirs.yaml", metrics=(), initial_model_url="other.onnx")
    assert paradigm.settings["devices"] == "mine.yaml"
    assert paradigm.initial_model == "model.onnx"
    assert paradigm.workspace == str(tmp_path)


def test_a_job_lists_algorithms_in_order(tmp_path):
    entries = [algorithm_entry(tmp_path, name) for name in ("b", "a")]
    assert [algorithm.name for algorithm in parse_algorithms(Field(entries, "job"))] == ["b", "a"]


def test_packages_are_imported_before_the_base_model(tmp_path):
    (tmp_path / "ianvs_third_party.py").write_text("VALUE = 1\n")
    read(tmp_path, third_party_packages=[{"name": "it", "url": str(tmp_path / "ianvs_third_party.py")}])
    assert sys.modules.pop("ianvs_third_party").VALUE == 1


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        pytest.param(
            {"paradigm_type": "jointinference"},
            r"paradigm_type: 'jointinference' runs in KubeEdge Ianvs \(.*\), not here; this host runs 'multiedgeinference'",
            id="another-paradigm",
        ),
        pytest.param({"paradigm_type": "multiedge"}, r"did you mean 'multiedgeinference'\?", id="a-slip"),
        pytest.param({"modules": []}, "modules: expected a list of at least 1 entry", id="no-module"),
        pytest.param({"partition_stratgy": "exact"}, r"did you mean 'partition_strategy'\?", id="near-an-own-key"),
        pytest.param({"third_party_packages": [{"url": "none.py"}]}, r"\[0\].url: no such file 'none.py'", id="package"),
        pytest.param({"initial_model_url": [1]}, "initial_model_url: expected", id="model-no-text"),
    ],
)
def test_an_algorithm_that_cannot_be_used_is_one_clear_line(tmp_path, keys, error):
    with pytest.raises(ConfigError, match=error) as caught:
        read(tmp_path, **keys)
    assert str(caught.value).startswith(str(tmp_path / "mine" / "algorithm.yaml"))
    assert "\n" not in str(caught.value)


def test_a_second_base_model_is_an_algorithm_of_its_own(tmp_path):
    (tmp_path / "basemodel.py").touch()
    module = {"type": "basemodel", "name": "Model", "url": str(tmp_path / "basemodel.py")}
    content = {"algorithm": {"paradigm_type": "multiedgeinference", "modules": [module, module]}}
    with pytest.raises(ConfigError, match=r"modules\[1\]: a second basemodel; list it as an algorithm of its own"):
        read_algorithm("mine", str(yaml_file(tmp_path / "a.yaml", content)))


@pytest.mark.parametrize("entries", [None, [], [{"name": "a"}], [{"name": "a", "url": "none.yaml"}], "a.yaml"])
def test_a_list_of_algorithms_that_cannot_be_used_is_one_clear_line(entries):
    with pytest.raises(ConfigError, match=r"^job") as caught:
        parse_algorithms(Field(entries, "job"))
    assert "\n" not in str(caught.value)
