"""How the scripts of examples end."""

from __future__ import annotations

import argparse

import pytest

from multiedge.commands._script import run_script, say
from multiedge.errors import ConfigError


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="examples/prepare.py")
    made.add_argument("--steps", type=int, default=1)
    return made


def work(args: argparse.Namespace) -> None:
    if args.steps < 1:
        raise ConfigError("--steps: expected at least 1, got 0")
    if args.steps > 9:
        raise KeyboardInterrupt
    say(f"{args.steps} steps")


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["--steps", "3"], 0, "3 steps"),
        (["--steps", "0"], 1, "prepare.py: --steps: expected at least 1, got 0"),
        (["--steps", "10"], 130, "prepare.py: interrupted"),
    ],
)
def test_a_script_ends_with_a_status_and_says_one_line(
    words: list[str], status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(parser(), work, words) == status
    said = capsys.readouterr()
    assert (said.out, said.err.splitlines()) == ("", [line])
