"""`multiedge check` from words on the command line to its exit status, with the comparison faked."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from multiedge.check import CheckReport, OutputCheck
from multiedge.cli import build_parser, main
from multiedge.commands import check as command
from multiedge.errors import ConfigError
from tests.builders.onnx_models import layers, saved


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of each comparison; the second output is off by 0.01 with optimisations."""
    made: list[dict[str, Any]] = []

    def check(directory: str, seed: int, shapes: Any, *, backend: str, options: Any) -> CheckReport:
        made.append({"directory": directory, "seed": seed, "shapes": shapes, "backend": backend, "options": options})
        level = "disabled" if options is None else options.get("optimisation", "all")
        error = 0.0 if level == "disabled" else 0.01
        outputs = (OutputCheck("a", 0.0, 0.0, True, is_constant=True), OutputCheck("b", error, error, error == 0.0))
        return CheckReport("model.onnx", directory, 3, seed, backend, {"optimisation": level}, outputs)

    monkeypatch.setattr(command, "check", check)
    monkeypatch.setattr(command, "_changed", lambda report: f"level {report.options['optimisation']}")
    return made


def check(*words: str) -> int:
    return command.run(build_parser("check").parse_args(["check", "parts", *words]))


@pytest.mark.parametrize(
    ("words", "options"),
    [
        pytest.param([], [None, {}], id="both-ways-by-default"),
        pytest.param(["--optimisation", "all"], [{"optimisation": "all"}], id="one-level"),
        pytest.param(
            ["--optimisation", "all", "--optimisation", "basic", "--optimisation", "all"],
            [{"optimisation": "all"}, {"optimisation": "basic"}],
            id="levels-once-each",
        ),
        pytest.param(["--option", "prepack=false"], [{"prepack": False}], id="an-option"),
        pytest.param(
            ["--optimisation", "all", "--option", "prepack=false"], [{"optimisation": "all", "prepack": False}], id="both"
        ),
    ],
)
def test_comparisons_by_the_words(calls: list[dict[str, Any]], words: list[str], options: list[Any]) -> None:
    check(*words)
    assert [call["options"] for call in calls] == options


def test_a_difference_that_only_the_optimiser_makes_is_told_from_a_wrong_part(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    note = "the runtime's optimiser computes some of them differently"
    check()
    assert note in capsys.readouterr().out
    check("--optimisation", "all")
    assert note not in capsys.readouterr().out


def test_seed_shapes_and_backend_are_passed_on(calls: list[dict[str, Any]]) -> None:
    check("--seed", "7", "--shape", "x=1,3", "--backend", "synthetic", "--optimisation", "all")
    assert calls == [
        {"directory": "parts", "seed": 7, "shapes": {"x": [1, 3]}, "backend": "synthetic", "options": {"optimisation": "all"}}
    ]


@pytest.mark.parametrize(
    ("words", "status", "verdict"),
    [
        (["--optimisation", "disabled"], 0, "the parts equal the whole: relative error 0, tolerance 0.0001, seed 0"),
        ([], 1, "the parts DIFFER from the whole: relative error 0.01, tolerance 0.0001, seed 0"),
        (["--tolerance", "0.1"], 0, "the parts equal the whole: relative error 0.01, tolerance 0.1, seed 0"),
    ],
    ids=["equal", "different", "tolerated"],
)
def test_the_exit_status_says_whether_they_agree(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], words: list[str], status: int, verdict: str
) -> None:
    assert check(*words) == status
    assert verdict in capsys.readouterr().out


def test_an_output_of_one_value_is_said_to_show_little(calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    check("--optimisation", "disabled")
    shown = capsys.readouterr().out
    assert "note: 'a' of the whole model has one value everywhere" in shown
    assert "'b' of the whole model" not in shown


def test_json_holds_the_reports_and_no_infinity(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = CheckReport("m", "parts", 2, 0, "onnxruntime", {}, (OutputCheck("y", math.inf, math.inf, False),))
    monkeypatch.setattr(command, "check", lambda *words, **options: report)
    assert check("--json", "--optimisation", "all") == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["passed"], data["tolerance"]) == (False, 1e-4)
    assert data["reports"][0]["outputs"] == [
        {"name": "y", "max_abs": None, "max_rel": None, "bitwise": False, "is_constant": False}
    ]


@pytest.mark.parametrize("tolerance", ["-1", "nan"])
def test_a_tolerance_that_can_never_pass_is_refused(capsys: pytest.CaptureFixture[str], tolerance: str) -> None:
    assert main(["check", "parts", "--tolerance", tolerance]) == 1
    assert "--tolerance: expected 0 or more" in capsys.readouterr().err


def test_parts_of_a_real_model_equal_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(layers(3, 4), tmp_path / "model.onnx")
    assert main(["split", str(path), "--at", "h1", "-o", str(tmp_path / "parts")]) == 0
    assert main(["check", str(tmp_path / "parts")]) == 0
    shown = capsys.readouterr().out
    assert "2 parts against" in shown
    assert len(re.findall(r" equal *$", shown, re.MULTILINE)) == 2
    assert "optimisation=disabled" in shown
    assert "as in a run" in shown


def test_a_level_that_two_options_give_is_refused(calls: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match="--option optimisation: a flag gives it, too; leave one of them out"):
        check("--optimisation", "all", "--option", "optimisation=basic")
    assert calls == []
