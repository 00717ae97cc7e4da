import pytest

from core.testcasecontroller.algorithm.module.hyperparameters import parse_grid
from multiedge.errors import ConfigError
from multiedge.formats.fields import Field


def test_the_grid_is_the_product_in_order_the_last_changing_fastest():
    grid = parse_grid(Field([{"a": {"values": [1, 2]}}, {"b": {"values": ["x", "y"]}}], "p"))
    assert grid == ({"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"})


def test_no_hyperparameters_are_one_case():
    assert parse_grid(Field(None, "p")) == ({},)


@pytest.mark.parametrize("first", [True, False])
def test_files_merge_first_and_the_grid_overrides_them(tmp_path, first):
    (tmp_path / "one.yaml").write_text("a: 0\nb: 0\n", encoding="utf-8")
    (tmp_path / "two.yml").write_text("b: 1\nc: [2, 3]\n", encoding="utf-8")
    files = {"other_hyperparameters": {"values": [str(tmp_path / "one.yaml"), str(tmp_path / "two.yml")]}}
    axis = {"a": {"values": [5, 6]}}
    grid = parse_grid(Field([files, axis] if first else [axis, files], "p"))
    assert grid == ({"a": 5, "b": 1, "c": [2, 3]}, {"a": 6, "b": 1, "c": [2, 3]})


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"a": 1}, r"p: expected a list, got a mapping of a"),
        (
            [{"a": {"values": [1]}, "b": {"values": [1]}}],
            r"p: \[0\]: expected one hyperparameter as 'name: \{values: \[...\]\}'",
        ),
        ([{"a": {"value": [1]}}], r"p: \[0\].a: unknown key 'value'; did you mean 'values'\?"),
        ([{"a": {"values": 3}}], r"p: \[0\].a.values: expected a list, got 3"),
        ([{"a": {"values": []}}], r"p: \[0\].a.values: expected a list of at least 1 entry, got an empty list"),
        (
            [{"other_hyperparameters": {"values": ["none.yaml"]}}],
            r"p: \[0\].*.values\[0\]: no such file 'none.yaml'",
        ),
    ],
)
def test_what_is_no_grid_is_one_clear_line(data, error):
    with pytest.raises(ConfigError, match=error):
        parse_grid(Field(data, "p"))


def test_a_file_that_is_no_mapping_is_named(tmp_path):
    (tmp_path / "h.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"h.yaml: expected a mapping, got a list of 1"):
        parse_grid(Field([{"other_hyperparameters": {"values": [str(tmp_path / "h.yaml")]}}], "p"))
