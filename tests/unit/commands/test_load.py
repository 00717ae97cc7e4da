"""`multiedge load` from words on the command line to a table, with server and senders faked."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from multiedge.cli import build_parser, main
from multiedge.commands import load as command
from multiedge.errors import ConfigError
from multiedge.load.contract import Channel, Reading
from multiedge.load.patterns import Pattern
from multiedge.load.run import LoadOptions, LoadRun
from multiedge.load.senders import Sent
from multiedge.measurements import Item
from tests.builders.load_servers import asked_server

READ_TARGET = command.read_target


class FakeTarget:
    name, channel, requests, is_text = "net", Channel("http", "h", 1), (b"a", b"b"), False

    def read(self, answer: bytes) -> Reading:
        return Reading()


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers 150 requests per second in 10 ms, and others after a second."""

    def measured(target: Any, pattern: Pattern, options: LoadOptions, progress: Any) -> LoadRun:
        schedule = command.schedule_of(target, pattern, options)
        late_s = 1.0 if (schedule.rate_per_s or 0) > 150 else 0.01
        items = tuple(Item(n, due, due + 1e-4, due + late_s) for n, due in enumerate(schedule.due_s.tolist()))
        sent = Sent(items, tuple(np.full(len(items), np.nan)), {}, 0, False, True)
        return LoadRun(pattern, target.channel, options, 1, sent, {}, schedule.samples.tolist())

    monkeypatch.setattr(command, "read_target", lambda args: FakeTarget())
    monkeypatch.setattr(command, "run_load", measured)


def load(*words: str) -> int:
    return command.run(build_parser("load").parse_args(["load", "http://h:1/net", *words]))


def test_a_run_is_valid_and_its_json_has_lag_and_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert load("--rate", "100", "--requests", "1000", "--latency-bound", "0.5", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["validity"] == "VALID"
    assert said["latency_s"]["p99"] == pytest.approx(0.01)
    assert said["metrics"]["lag_p99_s"]["value"] == pytest.approx(1e-4)
    assert said["settings"]["pattern"] == "poisson"
    assert said["settings"]["lag_bound_s"] == 1e-3


def test_the_table_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(command, "new_console", lambda: Console(file=shown, width=80))
    assert load("--rate", "100", "--requests", "1000") == 0
    assert max(map(len, shown.getvalue().splitlines())) <= 80
    assert "net: poisson arrivals, open loop" in shown.getvalue()
    assert "lag_p99_s" in shown.getvalue()


def test_a_ramp_finds_the_knee(capsys: pytest.CaptureFixture[str]) -> None:
    assert load("--rate", "100", "--ramp-to", "1000", "--latency-bound", "0.1", "--seconds", "1") == 0
    shown = capsys.readouterr().out
    assert "the knee is between 1" in shown
    assert "p99 is 1 s, not backed to be within 0.1 s" in shown


def test_samples_beside_inputs_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "read_target", READ_TARGET)
    np.savez(tmp_path / "a.npz", x=np.zeros((1, 3), np.float32))
    described = {"extensions": [], "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]}
    with asked_server(described) as server:
        words = ["load", f"{server.url}/net", "--rate", "5", "--inputs", str(tmp_path / "a.npz"), "--samples", "5"]
        assert main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "samples: has no effect with inputs, which are the samples; leave one of them out" in line


def test_a_ramp_that_is_ended_in_its_first_run_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = command.run_load

    def ended(*given: Any) -> LoadRun:
        run = measured(*given)
        return replace(run, sent=replace(run.sent, is_whole=False))

    monkeypatch.setattr(command, "run_load", ended)
    assert load("--rate", "100", "--ramp-to", "1000", "--latency-bound", "0.1", "--seconds", "1") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "no rate was measured to its end"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "pattern 'poisson': expected a rate in requests per second; give --rate"),
        (("--rate", "5", "--pattern", "poison"), "unknown pattern 'poison'; did you mean 'poisson'"),
        (("--rate", "5", "--pattern", "replay"), "--rate: pattern 'replay' has none; leave it out"),
        (("--pattern", "replay"), "pattern 'replay': expected a file with arrivals; give --option file=FILE"),
        (("--rate", "5", "--ramp-to", "10"), "--ramp-to: expected --rate and --latency-bound"),
        (("--rate", "5", "--ramp-to", "3", "--latency-bound", "1"), "--ramp-to: expected 5.0 or more, got 3.0"),
        (("--rate", "5", "--labels", "a"), "--labels: has no effect without --mode accuracy"),
        (("--rate", "5", "--mode", "accuracy"), "--mode accuracy: expected --inputs and --labels"),
        (("--rate", "5", "--seconds", "0"), "load: seconds: expected a number above 0, got 0"),
        (("--rate", "5", "--warmup", "0"), "warmup: expected 1 or more, which show whether the server answers, got 0"),
        (("--rate", "5", "--connections", "1", "--senders", "2"), "load: connections: expected 2 or more, one for each sender"),
        (("--rate", "-5"), "expected a rate above 0 requests per second, got -5"),
    ],
)
def test_options_that_cannot_be_used_are_refused(words: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(*words)
