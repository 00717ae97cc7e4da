"""Sections of Ianvs's configuration files: whatever stands in them is read or refused in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.common.config import existing_file, read_section, single_entry
from core.storymanager.rank.rank import parse_rank
from core.testcasecontroller.algorithm.module.hyperparameters import parse_grid
from core.testcasecontroller.algorithm.module.module import parse_module
from core.testcasecontroller.metrics.metrics import parse_metrics
from core.testenvmanager.dataset.dataset import parse_dataset
from multiedge.errors import ConfigError
from multiedge.formats.fields import Field
from tests.builders.refusals import JSON_VALUES, refusal


def test_a_section_is_what_stands_under_its_key(tmp_path):
    path = tmp_path / "testenv.yaml"
    path.write_text("testenv: {metrics: [1]}\n", encoding="utf-8")
    metrics = read_section(str(path), "testenv")["metrics"]
    assert metrics.value == [1]
    assert metrics.place == f"{path}: testenv.metrics"


@pytest.mark.parametrize(
    ("text", "finding"),
    [("", "nothing"), ("{}", "an empty one"), ("job: 1\nname: 2\n", "job, name"), ("[1, 2]", "a list of 2")],
)
def test_a_file_without_the_section_is_one_line_with_what_it_holds(tmp_path, text, finding):
    (tmp_path / "a.yml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"a\.yml: expected a mapping with the top key 'testenv', got {finding}$"):
        read_section(str(tmp_path / "a.yml"), "testenv")


def test_another_kind_of_file_is_not_read():
    with pytest.raises(ConfigError, match=r"^a\.json: expected a file that ends in \.yaml or \.yml$"):
        read_section("a.json", "testenv")


def test_a_path_must_lead_to_something(tmp_path):
    assert existing_file(Field(str(tmp_path), "f")) == str(tmp_path)
    with pytest.raises(ConfigError, match=r"^f: no such file 'none' \(looked from "):
        existing_file(Field("none", "f"))


def test_a_mapping_of_one_key_is_a_pair_and_any_other_is_refused():
    name, value = single_entry(Field({"fps": "ascend"}, "f"), "'metric: ascend'")
    assert (name, value.value, value.place) == ("fps", "ascend", "f: fps")
    for data in (None, "fps", {}, {"a": 1, "b": 2}):
        with pytest.raises(ConfigError, match=r"^f: expected 'metric: ascend', got "):
            single_entry(Field(data, "f"), "'metric: ascend'")


def rank_section(field):
    return parse_rank(field, ["fps"])


SECTIONS = [rank_section, parse_grid, parse_module, parse_metrics, parse_dataset]
KEYS = [
    "name",
    "url",
    "type",
    "hyperparameters",
    "values",
    "sort_by",
    "visualization",
    "selected_dataitem",
    "test_url",
    "label",
]


@pytest.mark.parametrize("parse", SECTIONS)
@given(
    data=st.recursive(JSON_VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner), max_leaves=20)
)
def test_any_section_is_read_or_refused_in_one_line(parse, data):
    message = refusal(lambda: parse(Field({"section": data}, "job.yaml")["section"]), ConfigError)
    assert message is None or (message.startswith("job.yaml: section") and "\n" not in message)
