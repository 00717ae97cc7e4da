"""Options that several commands share: how they are read, and which combinations are refused."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest

from multiedge.commands import _options
from multiedge.errors import ConfigError
from tests.builders.sequences import save_model


def test_shapes_are_numbers_by_input() -> None:
    assert _options.parse_shapes(["x=1,3,224,224", "mask=1,8"]) == {"x": [1, 3, 224, 224], "mask": [1, 8]}
    assert _options.parse_shapes(["a=b=2"]) == {"a=b": [2]}
    assert _options.parse_shapes([]) is None


@pytest.mark.parametrize("text", ["1,3", "x=", "=1,3"])
def test_a_shape_without_name_or_numbers_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--shape: expected INPUT=1,3,224,224, got '{text}'"):
        _options.parse_shapes([text])


def test_a_shape_of_words_is_refused() -> None:
    with pytest.raises(ConfigError, match="--shape: expected whole numbers such as x=1,3,224,224, got 'x=1,n'"):
        _options.parse_shapes(["x=1,n"])


def test_values_of_options_are_what_they_look_like() -> None:
    texts = ["replicate=true", "gap=0.5", "name=fast", "min-fps=3", "limits={first_s: 2}", "list=[1, 2]", "none=null", "empty="]
    assert _options.parse_options(texts) == {
        "replicate": True,
        "gap": 0.5,
        "name": "fast",
        "min_fps": 3,
        "limits": {"first_s": 2},
        "list": [1, 2],
        "none": None,
        "empty": None,
    }


@pytest.mark.parametrize("text", ["seed", "=3", ""])
def test_an_option_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--option: expected KEY=VALUE such as replicate=true, got '{text}'"):
        _options.parse_options([text])


def test_a_value_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--option seed: expected a number, a word, true or false, got '\[1'"):
        _options.parse_options(["seed=[1"])


def test_what_two_flags_give_is_refused() -> None:
    assert _options.with_own({"depth": 3}, ["seed=4"]) == {"depth": 3, "seed": 4}
    with pytest.raises(ConfigError, match="--option depth: a flag gives it, too; leave one of them out"):
        _options.with_own({"depth": 3}, ["depth=4"])


@pytest.mark.parametrize("given", [True, 0.0, 0, "text", ["a"]])
def test_an_option_that_acts_on_another_needs_it(given: object) -> None:
    with pytest.raises(ConfigError) as caught:
        _options.require_with(Namespace(copy_weights=given, output=None), "copy_weights", "output")
    assert str(caught.value) == ("--copy-weights: has no effect without --output; give --output, or leave --copy-weights out")
    _options.require_with(Namespace(copy_weights=given, output="folder"), "copy_weights", "output")


@pytest.mark.parametrize("absent", [None, False, []])
def test_an_option_that_was_not_given_needs_nothing(absent: object) -> None:
    _options.require_with(Namespace(copy_weights=absent, output=None), "copy_weights", "output")


def test_an_old_name_is_refused_with_the_new_one_and_is_not_in_the_help() -> None:
    parser = ArgumentParser()
    _options.add_renamed(parser, "--trace", "for a Chrome trace, use --chrome-trace JSON")
    assert "--trace" not in parser.format_help()
    assert vars(parser.parse_args([])) == {}
    for words in (["--trace"], ["--trace", "file.json"], ["--trace=file.json"]):
        with pytest.raises(ConfigError, match=r"^--trace: for a Chrome trace, use --chrome-trace JSON$"):
            parser.parse_args(words)


def test_every_command_means_the_same_by_an_option() -> None:
    """One description, one form: --trace, --devices, --profile, --shape, --json and --option are declared once."""
    from multiedge.cli import COMMANDS, build_parser

    actions = [action for command in COMMANDS for action in _actions(build_parser(command), command)]
    for option, metavar in {"--trace": "FILE", "--devices": "FILE", "--profile": "FILE", "--option": "KEY=VALUE"}.items():
        forms = {action.metavar for action in actions if option in action.option_strings and action.help != "==SUPPRESS=="}
        assert forms == {metavar}, option
    shapes = {(action.metavar, action.help) for action in actions if "--shape" in action.option_strings}
    assert len(shapes) == 1


def _actions(parser: ArgumentParser, command: str) -> list:
    from argparse import _SubParsersAction

    subparsers = next(action for action in parser._actions if isinstance(action, _SubParsersAction))
    return subparsers.choices[command]._actions


def with_sizes(path: Path, *words: str) -> Namespace:
    parser = ArgumentParser()
    parser.add_argument("model")
    _options.add_sizes(parser)
    return parser.parse_args([str(path), *words])


def test_a_context_gives_all_sizes_of_a_model_with_states(tmp_path: Path) -> None:
    path = save_model(tmp_path, "optimum")
    assert _options.read_sized(with_sizes(path, "--context", "64")).input_shapes["past_key_values.0.key"] == (1, 2, 63, 16)
    prefill = _options.read_sized(with_sizes(path, "--context", "64", "--tokens", "64"))
    assert prefill.tensors["attention_mask"].shape == (1, 64)
    batched = _options.read_batched(with_sizes(path, "--context", "64"), 4)
    assert batched.input_shapes["input_ids"] == (4, 1)
    assert batched.states[0].length == 64


def test_a_named_state_is_none_of_the_inputs(tmp_path: Path) -> None:
    words = [word for layer in range(4) for word in ("--state", f"h.{layer}=h_next.{layer}")]
    graph = _options.read_sized(with_sizes(save_model(tmp_path, "recurrent"), "--context", "1", *words))
    assert len(graph.states) == 4
    assert not graph.unsized


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--tokens", "4"], "--tokens: has no effect without --context"),
        (["--context", "64"], "has no states, so no context"),
        (["--state", "h.0"], "--state: expected INPUT=OUTPUT"),
        (["--context", "4", "--tokens", "5", "--state", "h.0=h_next.0"], "expected 1 to 4 tokens"),
    ],
)
def test_options_of_states_that_have_no_effect_are_refused(tmp_path: Path, words: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        _options.read_sized(with_sizes(save_model(tmp_path, "recurrent"), *words))
