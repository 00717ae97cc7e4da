"""Commands that take a model take a workflow.yaml."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from multiedge import cli
from multiedge.commands._deployable import require_installed
from multiedge.commands.serve import _model
from multiedge.errors import ConfigError
from multiedge.fleet import Device
from multiedge.onnx_io import read_graph
from multiedge.workflows import compose
from tests.builders.workflows import WORKFLOWS, cascade, ensemble, video, written

DEVICES = """
devices:
  - {name: phone, memory: 1GiB, speed: 0.5}
  - {name: laptop, memory: 4GiB, speed: 2}
links:
  - {between: [phone, laptop], bandwidth: 1Gbps, latency: 1ms}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def said(words: str, capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    """What the command prints, on stderr if it fails."""
    assert cli.main(words.split()) == status
    captured = capsys.readouterr()
    return captured.err if status else captured.out


def test_inspect_shows_the_steps_with_conditions_and_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cascade(tmp_path)
    lines = said(f"inspect {path} --svg {tmp_path}/drawing.svg", capsys).splitlines()
    assert [line.split() for line in lines if line.startswith(("small", "large", "pick"))] == [
        ["small", "2", "nodes", "100%", "13"],
        ["large", "4", "nodes", "max", "below", "0.7", "30%", "17"],
        ["pick", "first", "of", "2", "100%", "-"],
    ]
    assert ElementTree.parse(tmp_path / "drawing.svg").getroot().attrib["aria-label"] == "workflow cascade"


def test_inspect_says_that_a_rate_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cascade(tmp_path)
    path.write_text(path.read_text().replace("    rate: 0.3\n", ""))
    assert "unknown" in said(f"inspect {path}", capsys)
    steps = json.loads(said(f"inspect {path} --json", capsys))["steps"]
    assert [step["rate"] for step in steps] == [1.0, None, 1.0]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_is_planned_and_cut_as_a_model_is(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = WORKFLOWS[name](tmp_path)
    (tmp_path / "devices.yaml").write_text(DEVICES)
    options = f"--devices {tmp_path}/devices.yaml --reference declared"
    plan = json.loads(said(f"plan {path} {options} --strategy equal_flops --json -o {tmp_path}/parts", capsys))
    assert [stage["device"] for stage in plan["stages"]] == ["phone", "laptop"]
    assert len(list((tmp_path / "parts").glob("sub_model_*.onnx"))) == 2
    assert "every statement of the plan is confirmed" in said(
        f"verify {tmp_path}/parts --devices {tmp_path}/devices.yaml", capsys
    )
    assert "100 items" in said(f"simulate {tmp_path}/parts --devices {tmp_path}/devices.yaml", capsys)


def test_a_plan_says_that_a_rate_was_taken_as_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cascade(tmp_path)
    path.write_text(path.read_text().replace("    rate: 0.3\n", ""))
    (tmp_path / "devices.yaml").write_text(DEVICES)
    printed = said(f"plan {path} --devices {tmp_path}/devices.yaml --reference declared", capsys)
    assert "note: rate of step 'large' not known, taken as 1; add 'rate' to the workflow" in " ".join(printed.split())


def test_compare_takes_a_workflow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ensemble(tmp_path)
    (tmp_path / "devices.yaml").write_text(DEVICES)
    rows = said(f"compare {path} --devices {tmp_path}/devices.yaml --reference declared", capsys)
    assert "ensemble: strategies side by side" in rows


def test_mistakes_are_one_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cascade(tmp_path)
    path.write_text(path.read_text().replace("rate: 0.3", "rate: 3").replace("small.onnx", "smaller.onnx"))
    lines = said(f"inspect {path}", capsys, status=1).splitlines()
    assert [line.split(": ")[:4] for line in lines] == [
        ["multiedge inspect", "error", f"{path}:5", "steps.small.model"],
        ["multiedge inspect", "error", f"{path}:10", "steps.large.rate"],
    ]


def test_a_function_of_a_file_is_not_deployed(tmp_path: Path) -> None:
    graph = read_graph(compose(video(tmp_path)))
    expected = r"video: step 'crop' calls crop\(\) of a file, and no code is sent to nodes; install a package there"
    with pytest.raises(ConfigError, match=expected):
        require_installed(graph)


def test_a_function_of_a_package_is_deployed(tmp_path: Path) -> None:
    text = (
        "inputs: {image: {dtype: float32, shape: [1, 8]}}\nsteps:\n"
        "  copy: {transform: 'json:dumps', inputs: {obj: image}, outputs: {y: {dtype: float32, shape: [1, 8]}}}\n"
        "outputs: {y: copy}\n"
    )
    require_installed(read_graph(compose(written(tmp_path, text))))


def test_a_server_has_a_workflow_under_its_name(tmp_path: Path) -> None:
    args = argparse.Namespace(device=None, plan=str(cascade(tmp_path)))
    (served,) = _model(args, Device("here"), {})
    assert (served.name, served.about) == ("cascade", "cascade.onnx")


def test_a_seed_draws_which_conditions_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cascade(tmp_path)
    (tmp_path / "devices.yaml").write_text(DEVICES)
    words = f"simulate {path} --devices {tmp_path}/devices.yaml --rate 9 --json"
    shown = [json.loads(said(f"{words} --seed {seed}", capsys))["runs"] for seed in (3, 3, 4)]
    assert shown[0] == shown[1] != shown[2]


def test_new_plans_would_not_keep_batches_so_both_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cascade(tmp_path)
    path.write_text(path.read_text().replace("rate: 0.3", "rate: 0.3\n    batch: 4\n    timeout_ms: 50"))
    (tmp_path / "devices.yaml").write_text(DEVICES)
    (tmp_path / "trace.yaml").write_text("[{at_s: 3600, device: phone, event: leave}]")
    words = f"simulate {path} --devices {tmp_path}/devices.yaml --rate 9 --trace {tmp_path}/trace.yaml --adaptive"
    assert "--adaptive: steps of this workflow have a batch" in said(words, capsys, status=1)
