"""`multiedge run` from words on the command line to options, exit status, and what it prints and writes."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from multiedge.cli import build_parser, main
from multiedge.commands import _answers
from multiedge.commands import run as command
from multiedge.errors import ConfigError, PipelineError
from multiedge.executors.flow.contract import Result
from multiedge.executors.inline import InlineExecutor
from multiedge.executors.workers.options import Emulation
from multiedge.fleet import Device, Fleet
from multiedge.measurements import RanStage
from tests.builders.pipelines import WIDTH, small_plan

FLEET = Fleet((Device("phone"), Device("tablet")))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_plan(tmp_path_factory.mktemp("run"))[0].directory


def parsed(*words: str) -> Namespace:
    return build_parser("run").parse_args(["run", "parts", "--random", "1", *words])


def options(*words: str) -> dict[str, Any]:
    return command.executor_options(parsed(*words), FLEET)


def test_what_is_not_given_is_left_to_the_executor() -> None:
    assert options() == {}
    assert options("--executor", "inline") == {}


def test_flags_and_own_options_are_the_executors(tmp_path: Path) -> None:
    trace = tmp_path / "tunnel.yaml"
    trace.write_text("[{at_s: 1, device: phone, event: leave}]")
    flags = ["--depth", "3", "--micro-batch", "2", "--transport", "pipe", "--seed", "0", "--warmup", "0", "--no-emulate"]
    found = options(*flags, "--trace", str(trace), "--option", "record_events=false", "--option", "deadlines={first_s: 3}")
    played = found.pop("trace")
    assert len(played.events) == 1
    assert found == {
        "depth": 3,
        "micro_batch": 2,
        "transport": "pipe",
        "seed": 0,
        "warmup_items": 0,
        "emulation": Emulation.none(),
        "record_events": False,
        "deadlines": {"first_s": 3},
    }


def test_whether_to_plan_anew_is_checked_here_and_given_later() -> None:
    assert options("--replan") == options("--no-replan") == {}
    with pytest.raises(ConfigError, match="executor 'inline' has no option 'replan'; executors that have it: fleet, processes"):
        options("--executor", "inline", "--no-replan")


def test_endpoints_are_listed_by_device_in_the_order_given() -> None:
    words = ["--executor", "remote", "--endpoint", "phone=a:1", "--endpoint", "tablet=b:2", "--endpoint", "phone=c:3/m"]
    assert options(*words) == {"endpoints": {"phone": ["a:1", "c:3/m"], "tablet": ["b:2"]}}
    with pytest.raises(ConfigError, match=r"--endpoint: expected DEVICE=HOST:PORT\[/MODEL\], got 'phone'"):
        options("--executor", "remote", "--endpoint", "phone")


def test_kept_weights_lie_in_the_folder_of_the_plan() -> None:
    assert options("--keep-prepacked") == {"backends": {"onnxruntime": {"prepacked": str(Path("parts") / ".prepacked")}}}
    synthetic = Fleet((Device("phone", backend="synthetic"),), name="null.yaml")
    with pytest.raises(ConfigError, match=r"--keep-prepacked: no device of null\.yaml has a backend that can"):
        command.executor_options(parsed("--keep-prepacked"), synthetic)


@pytest.mark.parametrize(
    ("flags", "option"),
    [
        (["--trace", "no such file"], "trace"),
        (["--endpoint", "phone=a:1"], "endpoints"),
        (["--depth", "3"], "depth"),
        (["--emulate"], "emulation"),
        (["--namespaces"], "emulation"),
        (["--transport", "pipe"], "transport"),
        (["--micro-batch", "2"], "micro_batch"),
    ],
)
def test_a_flag_that_the_executor_does_not_act_on_is_refused_before_files_are_read(flags: list[str], option: str) -> None:
    with pytest.raises(ConfigError, match=f"executor 'inline' has no option '{option}'; executors that have it: "):
        options("--executor", "inline", *flags)


def test_a_report_shows_what_the_run_was_started_with() -> None:
    shown = command.configuration(parsed("--executor", "inline", "--json", "-o", "out.json"))
    assert shown == {"plan_dir": "parts", "random": 1, "scenario": "offline", "repeat": 1, "executor": "inline"}


def test_a_run_prints_figures_and_writes_results(parts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results.json"
    assert main(["run", parts, "--random", "5", "--executor", "inline", "--json", "-o", str(out)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["completed"], figures["failed"], figures["warmup_items"]) == (5, 0, 2)
    assert figures["trace"] == []
    written = json.loads(out.read_text())
    assert written["completed"] == 5
    assert len(written["measurements"]["items"]["item"]) == 5


def test_the_table_of_a_run_names_scenario_executor_and_metrics(parts: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", parts, "--random", "3", "--executor", "inline", "--scenario", "singlestream"]) == 0
    shown = capsys.readouterr().out
    assert "the best single device" in shown.splitlines()[0]
    assert shown.splitlines()[1].startswith("SingleStream, inline")
    assert "fps" in shown
    assert "(2 warm-up items left out)" in shown


def test_a_run_may_have_a_name_and_otherwise_has_that_of_the_folder(parts: str, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    for words, name in ((["--name", "two devices"], "two devices"), ([], Path(parts).name)):
        assert main(["run", parts, "--random", "1", "--executor", "inline", "-o", str(out), *words]) == 0
        assert json.loads(out.read_text())["name"] == name


def test_items_may_come_from_files(parts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        np.savez(tmp_path / f"{number}.npz", x=np.zeros((1, WIDTH), np.float32))
    assert main(["run", parts, "--inputs", str(tmp_path), "--executor", "inline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == 2


def test_a_damaged_file_fails_its_item_alone(parts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        np.savez(tmp_path / f"{number}.npz", x=np.zeros((1, WIDTH), np.float32))
    (tmp_path / "1.npz").write_bytes(b"PK damaged")
    assert main(["run", parts, "--inputs", str(tmp_path), "--executor", "inline", "--json"]) == 1
    figures = json.loads(capsys.readouterr().out)
    assert (figures["completed"], figures["failed"]) == (4, 1)
    assert [failed["item"] for failed in figures["errors"]] == [1]
    assert "1.npz: expected an .npz" in figures["errors"][0]["error"]


def test_a_place_that_cannot_be_written_is_refused_before_the_run(
    parts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", parts, "--random", "2", "--executor", "inline", "-o", str(tmp_path)]) == 1
    assert capsys.readouterr() == ("", f"multiedge run: error: {tmp_path}: is a folder; expected a path for a file\n")
    missing = tmp_path / "new" / "out.json"
    assert main(["run", parts, "--random", "2", "--executor", "inline", "-o", str(missing)]) == 0
    assert missing.is_file()


def test_a_disk_that_fills_during_the_run_costs_no_figures(
    parts: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "require_writable", lambda path: None)
    assert main(["run", parts, "--random", "2", "--executor", "inline", "-o", "/dev/full/x"]) == 1
    shown = capsys.readouterr()
    assert "fps" in shown.out
    assert shown.err.startswith("multiedge run: error: /dev/full/x: cannot be written: ")


def test_outputs_are_written_item_by_item(parts: str, tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    assert main(["run", parts, "--random", "3", "--executor", "inline", "--outputs", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["000000.npz", "000001.npz", "000002.npz"]
    with np.load(folder / "000002.npz") as arrays:
        assert arrays["y"].shape == (1, WIDTH)


def test_a_disk_that_fills_with_outputs_costs_neither_answers_nor_figures(
    parts: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write(path: Path, arrays: object) -> None:
        raise ConfigError(f"{path}: cannot be written: no space left on device; free some space")

    monkeypatch.setattr(_answers, "write_npz", write)
    assert main(["run", parts, "--random", "3", "--executor", "inline", "--outputs", str(tmp_path)]) == 1
    assert caplog.text.count("no outputs are written from item 0 on") == 1
    assert "fps" in capsys.readouterr().out


@pytest.mark.parametrize(("ending", "status"), [(KeyboardInterrupt(), 130), (PipelineError("the disk is gone"), 1)])
def test_what_was_answered_before_the_end_is_shown_and_written(
    parts: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, ending: Any, status: int
) -> None:
    polls = InlineExecutor.poll

    def poll(executor: InlineExecutor, timeout_s: float) -> list[Result]:
        results = polls(executor, timeout_s)
        if any(result.item == 5 for result in results):
            raise ending
        return results

    monkeypatch.setattr(InlineExecutor, "poll", poll)
    out = tmp_path / "out.json"
    assert main(["run", parts, "--random", "9", "--executor", "inline", "-o", str(out)]) == status
    written = json.loads(out.read_text())
    assert (written["metrics"]["completed"]["value"], written["failed"]) == (5, 1)
    assert "ended early" in caplog.text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--random", "0"], "--random: expected 1 or more, got 0"),
        (["--random", "1", "--repeat", "0"], "--repeat: expected 1 or more, got 0"),
        (["--random", "1", "--scenario", "ofline"], "unknown scenario 'ofline'; did you mean 'offline'?"),
        (["--random", "1", "--rate", "3"], "scenario 'offline' takes no rate; only 'server' does"),
        (["--random", "1", "--executor", "inlne"], "unknown executor 'inlne'; did you mean 'inline'?"),
        (["--random", "1", "--warmup", "-1"], "warmup_items: expected 0 or more, got -1"),
        (["--random", "1", "--replan"], "--replan: has no effect without --devices; give --devices, or leave --replan out"),
    ],
)
def test_wrong_options_are_one_line(parts: str, words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", parts, *words]) == 1
    assert capsys.readouterr().err == f"multiedge run: error: {line}\n"


def test_what_happened_is_shown_below_the_table() -> None:
    figures = {
        "settings": {"scenario": "Offline", "executor": "processes"},
        "metrics": {"fps": {"value": 12.5, "unit": "items/s", "note": "observed"}},
        "repeats": {},
        "validity": "VALID",
        "host": {"cores": 2, "wall_s": 1.0, "busy_s": 1.5, "steal_s": 0.0, "caller_s": 0.5, "workers_s": {"d0": 1.0}},
        "warmup_items": 2,
        "runtimes": [vars(RanStage(0, "d0", "openvino", "2026.4", "bfloat16", "CPU"))],
        "trace": ["1.0 s: phone leaves"],
        "recoveries": [
            {"detected_s": 1.25, "kind": "leave", "detail": "phone [left]", "recovery_s": 0.5},
            {"detected_s": 1.75, "kind": "return", "detail": "phone is back", "recovery_s": None},
            {"detected_s": 2.0, "kind": "slow", "detail": "stage 1", "recovery_s": None},
        ],
        "items": 30,
        "error_counts": {"stage 0 failed": 3},
        "free_batch": [],
        "measured_sizes": [],
        "batch": 8,
        "fps": 2.0,
    }
    console = Console(width=100, file=io.StringIO())
    command.show(figures, console)
    assert console.file.getvalue().splitlines()[-9:] == [
        "VALID (2 warm-up items left out)",
        "host: 2 processors: workers 50%, caller 25%, other work 0%, idle 25%",
        "runtime: openvino 2026.4 bfloat16 CPU on d0 (stage 1)",
        "1.0 s: phone leaves",
        "   1.250 s  leave: phone [left]; recovered in 0.500 s",
        "   1.750 s  return: phone is back",
        "   2.000 s  slow: stage 1; not recovered",
        "batch: 8 samples in each item, for which all figures are; 16 samples/s",
        "3 of 30 items failed: stage 0 failed",
    ]


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_plans_are_made_anew_by_default_only_where_that_can_have_an_effect(executor: str, parts: str) -> None:
    """It needs an executor that can, a fleet that changes and the model to cut."""
    manifest = command.read_runnable(parts)
    fleet = command.local_fleet(manifest)
    with command.replanner(parsed("--executor", executor), manifest, fleet) as replan:
        assert replan is None
    with command.replanner(parsed("--devices", "d.yaml", "--no-replan"), manifest, fleet) as replan:
        assert replan is None
    with command.replanner(parsed("--devices", "d.yaml", "--executor", executor), manifest, fleet) as replan:
        assert (replan is not None) is (executor == "processes")


def test_a_repeated_run_has_intervals(parts: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", parts, "--random", "4", "--executor", "inline", "--repeat", "3"]
    assert main([*words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    low, high = figures["metrics"]["fps"]["interval"]
    assert low <= high
    assert figures["metrics"]["fps"]["value"] == sorted(figures["repeats"]["fps"])[1]
    assert figures["completed"] == 12
    assert main(words) == 0
    assert "95 % interval" in capsys.readouterr().out
