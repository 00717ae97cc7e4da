"""A backend and metrics from a package outside, by entry points alone: planned, checked, profiled, run, reported and ranked."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from multiedge.cli import main
from multiedge.metrics import known_metrics
from tests.builders.packages import IDLE_METRIC, NUMPY_BACKEND, install
from tests.builders.pipelines import small_model

REPOSITORY = Path(__file__).parents[2]
GOOD = {"idle_s": "acme_edge.metrics:idle", "stages": "acme_edge.metrics:stages", "failing": "acme_edge.metrics:failing"}
DEVICES = """\
devices:
  - {name: phone, speed: 0.5, backend: numpy, bandwidth: 1Gbps}
  - {name: laptop, speed: 1, bandwidth: 1Gbps}
partition_points:
  - {input_names: [x], output_names: [h2, h1], device_name: phone}
  - {input_names: [h2, h1], output_names: ["y"], device_name: laptop}
"""
"""The model's skip from h1 to the end crosses the cut, too."""


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planned")
    small_model(folder / "small.onnx")
    (folder / "devices.yaml").write_text(DEVICES)
    outside(folder, GOOD)
    run(folder, "plan", "small.onnx", "--devices", "devices.yaml", "--strategy", "manual", "-o", "parts")
    return folder


@pytest.fixture
def folder(planned: Path, tmp_path: Path) -> Path:
    """A folder with a model, its devices, its parts, and the package from outside."""
    return Path(
        shutil.copytree(
            planned,
            tmp_path / "folder",
        )
    )


def outside(folder: Path, metrics: dict[str, str]) -> None:
    modules = {"numpy_backend": NUMPY_BACKEND, "metrics": IDLE_METRIC}
    backends = {"numpy": "acme_edge.numpy_backend:NumpyBackend", "gone": "acme_edge.no_such_module:Backend"}
    install(folder / "site", "acme_edge", modules, {"multiedge.backends": backends, "multiedge.metrics": metrics})


def run(folder: Path, *words: str, module: str = "multiedge.cli", status: int = 0) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder / "site"), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder, with the package importable in this process."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder / "site")
    known_metrics.cache_clear()
    yield folder
    known_metrics.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_edge"]:
        del sys.modules[name]


def run_json(folder: Path, *words: str) -> dict[str, object]:
    done = run(folder, "run", "parts", "--devices", "devices.yaml", "--random", "6", "--json", *words)
    data: dict[str, object] = json.loads(done.stdout)
    return data


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_pipeline_of_two_runtimes_runs_and_its_figures_hold_the_metrics(folder: Path, executor: str) -> None:
    data = run_json(folder, "--executor", executor, "-o", "results.json")
    assert (data["completed"], data["failed"]) == (6, 0)
    metrics = data["metrics"]
    assert metrics["idle_s"]["unit"] == "s"
    assert metrics["idle_s"]["direction"] == "lower"
    assert metrics["idle_s"]["value"] > 0
    assert metrics["stages"]["value"] == 2
    assert metrics["failing"]["value"] is None
    assert metrics["failing"]["note"] == "failed: ZeroDivisionError: division by zero"
    written = json.loads((folder / "results.json").read_text())["results"]["idle_s"]
    assert written["description"] == "longest time that a device does not compute in the timed window"
    (converted,) = (folder / "parts" / ".converted").glob("*/*")
    assert converted.name == "sub_model_1.npm"


def test_its_answers_are_those_of_the_whole_model(folder: Path) -> None:
    report = json.loads(run(folder, "check", "parts", "--backend", "numpy", "--json").stdout)
    assert report["passed"]
    assert [each["options"] for each in report["reports"]] == [{"gain": 1.0, "mode": "plain"}] * 2
    # Each of the two parts doubles what it makes, the whole only once.
    words = ("check", "parts", "--backend", "numpy", "--option", "gain=2", "--option", "mode=careful")
    assert "gain=2, mode=careful" in run(folder, *words, status=1).stdout


def test_its_options_reach_its_devices_alone(folder: Path) -> None:
    source = (
        "import sys, json, numpy as np, multiedge as me\n"
        "from multiedge.executors import open_pipeline\n"
        "item = {'x': np.ones((1, 16), dtype=np.float32)}\n"
        "def answer(**options):\n"
        "    with open_pipeline('parts', me.read_fleet('devices.yaml'), 'processes', **options) as pipeline:\n"
        "        return pipeline.map([item])[0][0].require()['y'].tolist()\n"
        "print(json.dumps([answer(), answer(backends={'numpy': {'gain': 0.0}, 'onnxruntime': {'optimisation': 'basic'}})]))\n"
    )
    (folder / "site" / "ask.py").write_text(source)
    plain, muted = json.loads(run(folder, module="ask").stdout)
    assert np.any(plain)
    assert not np.any(muted)


@pytest.mark.parametrize("profiler", ["measured", pytest.param("segments", marks=pytest.mark.slow)])
def test_it_is_profiled_whole_since_it_times_no_nodes(folder: Path, profiler: str) -> None:
    words = ["profile", "small.onnx", "--devices", "devices.yaml", "--profiler", profiler, "--budget-s", "0.4", "--json"]
    data = json.loads(run(folder, *words).stdout)
    source = "measured with 1 thread of numpy, shared among nodes by their work, scaled by speed 0.5"
    assert data["devices"]["phone"]["source"].removesuffix(", segments timed") == source
    assert data["devices"]["laptop"]["source"].startswith("measured with 1 thread")
    assert data["devices"]["this machine, 1 thread of numpy"]["seconds"] > 0
    hosts = data["settings"]["host"]
    assert "coverage" in hosts["1"]
    assert "coverage" not in hosts["1 numpy"]
    assert "numpy 7.0" in data["settings"]["runtime"]


def test_pages_and_comparisons_show_the_metrics_also_where_the_package_is_absent(folder: Path) -> None:
    for name in ("one", "two"):
        run(folder, "run", "parts", "--devices", "devices.yaml", "--executor", "inline", "--random", "3", "-o", f"{name}.json")
    shown = run(folder, "report", "one.json", "two.json", "-o", "page.html").stdout
    page = (folder / "page.html").read_text()
    for text in (shown, page):
        assert "idle" in text
        assert "stages" in text
    (folder / "site" / "acme_edge-1.0.dist-info" / "entry_points.txt").unlink()
    without = run(folder, "report", "one.json", "two.json", "-o", "page.html").stdout
    assert "idle" in without
    assert "longest time that a device does not compute" in (folder / "page.html").read_text()


def test_rank_files_of_a_job_hold_the_metrics(folder: Path) -> None:
    from tests.ianvs_jobs import prepare

    prepare(folder)
    measured = REPOSITORY / "examples" / "imagenet" / "multiedge_inference_bench" / "testenv" / "measured.py"
    environment = folder / "testenv" / "testenv.yaml"
    environment.write_text(environment.read_text() + f'    - name: "idle_s"\n      url: "{measured}"\n')
    basemodel = folder / "plain" / "basemodel.py"
    basemodel.write_text(
        basemodel.read_text().replace(
            "return {",
            "from multiedge.measurements import Event, Item, Measurements\n"
            "        events = (Event('compute', 0, 0, 'a', 0.0, 1.0),)\n"
            "        measurements = Measurements((Item(0, 0.0, 0.0, 1.0),), events, 0.0, 4.0)\n"
            "        return {'measurements': measurements, 'plan': None, ",
        )
    )
    run(folder, "-f", "plain/benchmarkingjob.yaml", module="core.cmd.benchmarking")
    with open(next(folder.glob("workspace/*/rank/all_rank.csv")), encoding="utf-8", newline="") as file:
        assert [row["idle_s"] for row in csv.DictReader(file)] == ["3.0"]


@pytest.mark.parametrize(
    ("edit", "words", "line"),
    [
        (
            ("numpy", "nunpy"),
            ["plan", "small.onnx", "--devices"],
            "device 'phone': unknown backend 'nunpy'; did you mean 'numpy'",
        ),
        (("numpy", "gone"), ["run", "parts", "--random", "1", "--devices"], "backend 'gone' cannot be imported from"),
        (
            ("backend: numpy", "backend: numpy, type: gpu"),
            ["run", "parts", "--random", "1", "--executor", "inline", "--devices"],
            "device 'phone': expected a type that backend 'numpy' computes on, cpu, got 'gpu'",
        ),
        (
            ("", ""),
            ["run", "parts", "--random", "1", "--option", "backends={numpy: {gian: 2}}", "--devices"],
            "backend 'numpy' has no option 'gian'; did you mean 'gain'?",
        ),
        (
            ("", ""),
            ["run", "parts", "--random", "1", "--option", "backends={numpy: {gain: much}}", "--devices"],
            "backend 'numpy', option 'gain': expected a number, got 'much'",
        ),
        (
            ("", ""),
            ["run", "parts", "--random", "1", "--option", "backends={synthetic: {}}", "--devices"],
            "backends: no device of devices.yaml has the backend 'synthetic'",
        ),
    ],
)
def test_mistakes_are_one_line(
    installed: Path, capsys: pytest.CaptureFixture[str], edit: tuple[str, str], words: list[str], line: str
) -> None:
    Path("devices.yaml").unlink()
    Path("devices.yaml").write_text(DEVICES.replace(*edit))
    assert main([*words, "devices.yaml"]) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert line in error


@pytest.mark.parametrize(
    ("metrics", "line"),
    [
        (
            {"fps": "acme_edge.metrics:idle"},
            "metric 'fps' is registered twice: multiedge.metrics.run:fps and acme_edge.metrics:idle; uninstall one or rename",
        ),
        (
            {"wrong": "acme_edge.metrics:wrong"},
            "metric acme_edge.metrics.wrong: expected a number, None or a Figure, got 'many'",
        ),
        ({"bare": "acme_edge.metrics:bare"}, "metric 'bare' (acme_edge.metrics:bare): expected a Metric"),
    ],
)
def test_a_metric_that_breaks_its_contract_is_one_line(
    installed: Path, capsys: pytest.CaptureFixture[str], metrics: dict[str, str], line: str
) -> None:
    outside(installed, metrics)
    assert main(["run", "parts", "--random", "1", "--executor", "inline", "--devices", "devices.yaml"]) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert line in error
