"""Test environments: metrics, dataset, and other keys for the paradigm."""

import pytest

from core.testenvmanager.testenv.testenv import read_testenv
from multiedge.errors import ConfigError
from tests.builders.ianvs_files import environment_file, metric_entry, yaml_file


def test_other_keys_are_settings_for_the_paradigm(tmp_path):
    path = environment_file(tmp_path, metric_entry(tmp_path, "fps", "return 1"), devices="devices.yaml", own={"a": 1})
    testenv = read_testenv(str(path))
    assert [metric.name for metric in testenv.metrics] == ["fps"]
    assert testenv.dataset.test_url == str(tmp_path / "index.txt")
    assert dict(testenv.settings) == {"devices": "devices.yaml", "own": {"a": 1}}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"testenv": {}}, "testenv.metrics: missing; expected a list"),
        ({"testenv": []}, "testenv: expected a mapping"),
        ({"testenv": {"metrics": [], "dataset": {}}}, "testenv.metrics: expected a list of at least 1 entry"),
        ({"testenv": {"metric": [], "dataset": {}}}, r"did you mean 'metrics'\?"),
        ({"testenv": {"metrics": [], "dataset": {}, "devcies": "d.yaml"}}, r"did you mean 'devices'\?"),
        ({"env": {}}, "expected a mapping with the top key 'testenv', got env"),
    ],
    ids=["empty", "a-list", "no-metrics", "a-slip", "a-slip-for-the-paradigm", "another-section"],
)
def test_a_test_environment_that_cannot_be_used_is_one_clear_line(tmp_path, content, error):
    path = yaml_file(tmp_path / "testenv.yaml", content)
    with pytest.raises(ConfigError, match=error) as caught:
        read_testenv(str(path))
    assert str(caught.value).startswith(str(path))
