"""Options of `multiedge plan` that choose a runtime and a precision for each device."""

from __future__ import annotations

import re

import pytest

from multiedge.cli import build_parser
from multiedge.commands import plan as command
from multiedge.commands._variants import parse_share
from multiedge.errors import ConfigError


def plan(*words: str) -> int:
    return command.run(build_parser("plan").parse_args(["plan", "model.onnx", "--devices", "devices.yaml", *words]))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--inputs", "a.npz"], "--inputs: has no effect without --max-accuracy-loss"),
        (["--pareto", "a.svg"], "--pareto: has no effect without --max-accuracy-loss"),
        (["--max-accuracy-loss", "1%"], "--max-accuracy-loss: has no effect without --inputs"),
        (
            ["--max-accuracy-loss", "1%", "--inputs", "a.npz", "--profile", "p.json"],
            "--max-accuracy-loss: measures what each precision costs, so --profile has no effect; leave it out",
        ),
    ],
)
def test_options_of_precision_that_have_no_effect_are_refused(words: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        plan(*words)


@pytest.mark.parametrize("text", ["110%", "-1%", "much"])
def test_the_loss_is_a_share(text: str) -> None:
    with pytest.raises(ConfigError, match="--max-accuracy-loss: expected"):
        parse_share(text)
