"""`multiedge profile`: which profiler, with which options, and what is merged into its profile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multiedge.cli import build_parser, main
from multiedge.commands import profile as command
from multiedge.errors import ConfigError
from multiedge.formats.profile import load_profile, save_profile
from tests.builders.onnx_models import parsed, saved
from tests.builders.pipelines import small_model

DEVICES = "devices:\n  - {name: phone, speed: 0.5}\n  - {name: tablet, speed: 1}\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    small_model(tmp_path / "small.onnx")
    (tmp_path / "devices.yaml").write_text(DEVICES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(*words: str) -> dict[str, Any]:
    return command.profiler_options(build_parser("profile").parse_args(["profile", "small.onnx", *words]))


def test_options_are_those_that_were_given() -> None:
    assert options() == {}
    words = ["--profiler", "segments", "--strategy", "latency", "--budget-s", "3", "--seed", "0", "--option", "rounds=2"]
    assert options(*words) == {"strategy": "latency", "budget_s": 3.0, "seed": 0, "rounds": 2}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "3"], "profiler 'static' has no option 'seed'; profilers that have it: measured, segments"),
        (
            ["--profiler", "measured", "--strategy", "latency"],
            "'measured' has no option 'strategy'; profilers that have it",
        ),
        (
            ["--profiler", "measured", "--option", "budgets=3"],
            "profiler 'measured' has no option 'budgets'; did you mean",
        ),
        (["--profiler", "mesured"], "unknown profiler 'mesured'; did you mean 'measured'"),
        (["--profiler", "measured", "--seed", "1", "--option", "seed=2"], "--option seed: a flag gives it, too"),
    ],
)
def test_what_the_profiler_does_not_have_is_refused_before_the_model_is_read(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options(*words)


def test_a_profile_is_written_and_summed_up(place: Path, capsys) -> None:
    assert main(["profile", "small.onnx", "--devices", "devices.yaml", "-o", "profile.json", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["devices"]) == {"phone", "tablet"}
    profile = load_profile("profile.json")
    phone, tablet = (profile.seconds_on(name).sum() for name in ("phone", "tablet"))
    assert phone == pytest.approx(2 * tablet)


def test_without_devices_it_is_this_machine(place: Path, capsys) -> None:
    assert main(["profile", "small.onnx"]) == 0
    shown = capsys.readouterr().out
    assert "Costliest nodes on host" in shown
    assert "Costliest operators on host" in shown


def test_devices_of_another_profile_replace_those_that_were_estimated(place: Path) -> None:
    main(["profile", "small.onnx", "--devices", "devices.yaml", "-o", "first.json"])
    first = load_profile("first.json")
    save_profile(first.with_seconds("phone", first.seconds_on("phone") * 10, "measured there"), "phone.json")
    main(["profile", "small.onnx", "--devices", "devices.yaml", "--merge", "phone.json", "-o", "merged.json"])
    merged = load_profile("merged.json")
    assert merged.seconds_on("phone").sum() == pytest.approx(10 * first.seconds_on("phone").sum())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--node-times", "phone.json"], "--node-times: expected DEVICE=JSON, got 'phone.json'"),
        (["--node-times", "watch=t.json"], "device 'watch' is not in"),
        (["--top", "0"], "--top: expected 1 or more, got 0"),
        (["--trace", "phone=t.json"], "--trace: for a profile that the runtime wrote, use --node-times DEVICE=JSON"),
    ],
)
def test_what_is_wrong_is_one_line(place: Path, words: list[str], line: str, capsys) -> None:
    assert main(["profile", "small.onnx", "--devices", "devices.yaml", *words]) == 1
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


def test_operations_that_are_not_counted_are_no_zero_in_the_tables(tmp_path: Path, capsys) -> None:
    text = "g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w)  y = nowhere.Strange(a) }"
    model = parsed(text, opsets='"" : 17, "nowhere" : 1', w=np.eye(4, dtype=np.float32))
    assert main(["profile", str(saved(model, tmp_path / "model.onnx"))]) == 0
    shown = capsys.readouterr().out
    cells = [line.split() for line in shown.splitlines()]
    macs = {words[0]: words[4] for words in cells if words and words[0] in ("MatMul", "Strange")}
    assert macs == {"MatMul": "0.000016", "Strange": "-"}
    assert shown.count("nowhere.Strange (1 node)") == 1
