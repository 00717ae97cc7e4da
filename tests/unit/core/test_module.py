"""A module of an algorithm: once for each combination of its hyperparameters, made of the user's class."""

import pytest

from core.testcasecontroller.algorithm.module.module import parse_module
from multiedge.errors import ConfigError
from multiedge.formats.fields import Field
from tests.builders.ianvs_files import MODEL, user_file


def entry(tmp_path, code=MODEL, **keys):
    url = user_file(tmp_path / "basemodel.py", "Model", code)
    return Field({"type": "basemodel", "name": "Model", "url": str(url), **keys}, "algorithm.yaml")


def test_a_module_comes_once_for_each_combination_and_all_share_one_file(tmp_path):
    modules = parse_module(entry(tmp_path, hyperparameters=[{"lr": {"values": [0.1, 0.2]}}]))
    assert [dict(module.hyperparameters) for module in modules] == [{"lr": 0.1}, {"lr": 0.2}]
    assert modules[0].source is modules[1].source
    assert {(module.type, module.name, module.url) for module in modules} == {
        ("basemodel", "Model", str(tmp_path / "basemodel.py"))
    }


def test_hyperparameters_are_the_keyword_arguments_of_a_new_object(tmp_path):
    (module,) = parse_module(entry(tmp_path, hyperparameters=[{"lr": {"values": [0.1]}}, {"cut": {"values": ["h1"]}}]))
    first, second = (module.get_module_instance("basemodel") for _ in range(2))
    assert first.given == {"lr": 0.1, "cut": "h1"}
    assert first is not second
    assert type(first) is type(second)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("class Model:\n    def __init__(self):\n        raise ValueError('no\\nweights')", "ValueError: no weights"),
        ("class Model:\n    def __init__(self, rate):\n        pass", "TypeError: .* missing 1 required positional argument"),
        ("class Model:\n    def __init__(self):\n        raise SystemExit(2)", "SystemExit: 2"),
    ],
    ids=["fails", "arguments", "exits"],
)
def test_an_object_that_cannot_be_made_is_named(tmp_path, code, reason):
    (module,) = parse_module(entry(tmp_path, code))
    with pytest.raises(RuntimeError, match=rf"^basemodel 'Model' \(.*basemodel\.py\) cannot be made: {reason}"):
        module.get_module_instance("basemodel")


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"type": "hard_example_mining"}, "algorithm.yaml: type: unknown value 'hard_example_mining'; known: basemodel"),
        ({"name": None}, "algorithm.yaml: name: expected"),
        ({"url": "none.py"}, r"algorithm.yaml: url: no such file 'none.py'"),
        ({"hyperparameter": []}, r"unknown key 'hyperparameter'; did you mean 'hyperparameters'\?"),
    ],
    ids=["type", "name", "url", "key"],
)
def test_what_is_no_module_is_one_clear_line(tmp_path, keys, error):
    with pytest.raises(ConfigError, match=error):
        parse_module(entry(tmp_path, **keys))
