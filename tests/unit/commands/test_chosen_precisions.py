"""A plan with chosen precisions, whose calibrated parts are in its folder alone: what cannot use them says so in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from multiedge.cli import main
from multiedge.errors import PlanError
from multiedge.executors import open_pipeline
from multiedge.formats.devices import read_fleet
from multiedge.onnx_io import read_graph, read_manifest, write_parts
from multiedge.plan import Manifest, MeasuredAccuracy
from multiedge.replanning.replanner import Replanner
from tests.builders.pipelines import small_plan, vectors

WHERE = "the plan has chosen precisions, whose calibrated parts are in this folder alone: "
DEVICES = "devices: [{name: d0, speed: 1}, {name: d1, speed: 1}, {name: d2, speed: 1}]\n"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("precisions")
    (folder / "devices.yaml").write_text(DEVICES)
    manifest, _ = small_plan(folder)
    assert manifest.plan is not None
    plan = replace(manifest.plan, accuracy=MeasuredAccuracy("agreement", 20, 1.0, 0.95, 0.1))
    write_parts(read_graph(manifest.model), plan, folder / "chosen")
    return read_manifest(folder / "chosen")


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["deploy", "--hub", "127.0.0.1:1"], "they are not sent to nodes; plan without --max-accuracy-loss"),
        (["serve"], "a server does not use them; run the plan here, or plan without --max-accuracy-loss"),
        (
            ["run", "--random", "1", "--replan", "--devices", "{devices}"],
            "those of a new plan would not be calibrated; give --no-replan",
        ),
        (
            ["simulate", "--devices", "{devices}", "--trace", "{trace}", "--adaptive"],
            "those of new plans would not be calibrated; leave --adaptive out",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_that_cannot_use_them_is_refused_with_the_remedy(
    parts: Manifest, words: list[str], remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(parts.directory).parent
    (folder / "trace.yaml").write_text("[{at_s: 1, device: d0, event: leave}]")
    command, *flags = [word.format(devices=folder / "devices.yaml", trace=folder / "trace.yaml") for word in words]
    assert main([command, parts.directory, *flags]) == 1
    assert capsys.readouterr().err.splitlines() == [f"multiedge {command}: error: {parts.directory}: {WHERE}{remedy}"]


@pytest.mark.parametrize(
    ("executor", "options"),
    [("fleet", {"hub": "127.0.0.1:1"}), ("ray", {}), ("remote", {"endpoints": {"d0": "a:1", "d1": "a:1", "d2": "a:1"}})],
)
def test_an_executor_that_computes_elsewhere_is_refused_before_it_starts(
    parts: Manifest, executor: str, options: dict[str, object]
) -> None:
    line = f"{WHERE}executor '{executor}' computes elsewhere; use 'processes' or 'inline', or plan without --max-accuracy-loss"
    with pytest.raises(PlanError, match=line):
        open_pipeline(parts, executor=executor, **options)


def test_a_run_on_this_machine_goes_on_without_new_plans_and_says_so(
    parts: Manifest, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = Path(parts.directory).parent / "devices.yaml"
    assert main(["run", parts.directory, "--random", "2", "--warmup", "0", "--no-emulate", "--devices", str(devices)]) == 0
    assert f"no new plans during this run: {parts.directory}: {WHERE}" in caplog.text + capsys.readouterr().err


def test_a_program_that_plans_anew_is_refused_likewise(parts: Manifest) -> None:
    with pytest.raises(PlanError, match=f"{WHERE}those of a new plan would not be calibrated"):
        Replanner(parts, read_fleet(Path(parts.directory).parent / "devices.yaml"))


def test_an_executor_of_this_machine_runs_it(parts: Manifest) -> None:
    with open_pipeline(parts, executor="inline") as pipeline:
        results, _ = pipeline.map(vectors(2))
    assert [result.error for result in results] == ["", ""]
