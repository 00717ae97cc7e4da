"""`multiedge bench` from words on the command line to files, with small grids."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from multiedge.bench import grid as library
from multiedge.bench.rows import Row
from multiedge.cli import build_parser, main
from multiedge.commands import bench as command
from multiedge.errors import ConfigError
from tests.builders.onnx_models import layers, saved
from tests.builders.packages import install

SMALL = ("--models", "squeezenet", "--fleets", "train,field", "--strategies", "single,throughput,random", "--seeds", "0-1")


def bench(*words: str) -> int:
    return command.run(build_parser("bench").parse_args(["bench", *words]))


def values(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8") as file:
        return [{key: value for key, value in line.items() if key != "planning_s"} for line in csv.DictReader(file)]


@pytest.mark.slow
def test_two_runs_write_equal_values_apart_from_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("first", "second"):
        assert bench(*SMALL, "-o", str(tmp_path / name)) == 0
    first = values(tmp_path / "first" / "results.csv")
    assert first == values(tmp_path / "second" / "results.csv")
    assert len(first) == 8
    assert {line["suite"] for line in first} == {"1"}
    assert "suite 1; instances: 2, rows: 8" in capsys.readouterr().out


def test_json_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(*SMALL, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["suite"], len(data["rows"]), len(data["summary"])) == ("1", 8, 3)


def test_an_interrupted_benchmark_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_cell, ran = library.run_cell, []

    def interrupted(case: library.Case, choice: library.Choice, seed: int | None) -> Row:
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(choice.label)
        return run_cell(case, choice, seed)

    with monkeypatch.context() as patch:
        patch.setattr(library, "run_cell", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bench(*SMALL, "-o", str(tmp_path))
    assert len(values(tmp_path / "results.csv")) == 3
    assert bench(*SMALL, "-o", str(tmp_path)) == 0
    assert "8 rows, 3 of them kept" in capsys.readouterr().err


def test_rows_are_on_disk_after_each_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = []
    monkeypatch.setattr(command, "save_rows", lambda directory, rows: saved.append(len(rows)))
    bench(*SMALL, "-o", str(tmp_path))
    assert saved == [4]


def test_fresh_runs_every_row_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench(*SMALL, "-o", str(tmp_path))
    bench(*SMALL, "-o", str(tmp_path), "--fresh")
    assert capsys.readouterr().err.count("8 rows, 0 of them kept") == 2
    with pytest.raises(ConfigError, match="--fresh: has no effect without --output"):
        bench(*SMALL, "--fresh")


def test_own_files_are_named_as_no_part_of_a_suite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet = tmp_path / "own.yaml"
    fleet.write_text("name: own\ndevices: [{name: a, speed: 1}]", encoding="utf-8")
    assert bench("--models", "squeezenet", "--fleets", str(fleet), "--strategies", "single") == 0
    assert "not a public suite; instances: 1, rows: 1" in capsys.readouterr().out


def test_an_open_batch_counts_as_one_and_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(layers(2, 4, rows="n"), tmp_path / "open.onnx")
    words = ("--models", str(path), "--fleets", "train", "--strategies", "single")
    assert bench(*words, "-o", str(tmp_path / "out")) == 0
    line = "layers: batch: open in the model, taken as 1 (input x)\n"
    assert line in capsys.readouterr().out
    assert line.strip() in (tmp_path / "out" / "report.html").read_text()
    assert bench(*words, "-o", str(tmp_path / "out")) == 0, "rows that were kept say so as well"
    assert line in capsys.readouterr().out


def test_a_fleet_that_changed_under_its_name_is_not_one_instance_with_the_old_one(tmp_path: Path) -> None:
    fleet = tmp_path / "own.yaml"
    words = ("--models", "squeezenet", "--fleets", str(fleet), "--strategies", "single", "-o", str(tmp_path / "results"))
    fleet.write_text("name: own\ndevices: [{name: a, speed: 1}]", encoding="utf-8")
    bench(*words)
    fleet.write_text("name: own\ndevices: [{name: a, speed: 2}]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"results.json: its rows are of another fleet that is called 'own'; .*--fresh"):
        bench(*words)
    bench(*words, "--fresh")


PLUG_IN = """
    from multiedge.plan import Stage
    from multiedge.run import plan_by_hand


    class Whole:
        def __init__(self, device: int = 0, seed: int = 0) -> None:
            self.device = device

        def plan(self, profile, fleet):
            return plan_by_hand(profile, fleet, [Stage.span(fleet.names[self.device], 0, len(profile))], strategy="whole")
"""


def test_a_strategy_of_an_installed_package_is_compared_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = install(
        tmp_path / "site", "acme_plan", {"whole": PLUG_IN}, {"multiedge.partitioners": {"whole": "acme_plan.whole:Whole"}}
    )
    monkeypatch.syspath_prepend(str(site))
    words = (
        "--models",
        "squeezenet",
        "--fleets",
        "train",
        "--strategies",
        "whole:device=2,whole:device=9,single",
        "--seeds",
        "1",
    )
    assert bench(*words, "--json") == 0
    good, broken, single = json.loads(capsys.readouterr().out)["rows"]
    assert good["figures"]["bottleneck_s"] == single["figures"]["bottleneck_s"]
    assert (good["seed"], single["seed"], good["options"]) == (1, None, {"device": 2})
    assert good["versions"] == single["versions"] + ", acme_plan 1.0"
    assert (broken["status"], broken["reason"]) == ("failed", "IndexError: tuple index out of range")


def test_a_benchmark_without_a_plan_fails_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--models", "squeezenet", "--fleets", "train", "--strategies", "manual"]) == 1
    assert "manual on squeezenet, train: refused: " in capsys.readouterr().out
