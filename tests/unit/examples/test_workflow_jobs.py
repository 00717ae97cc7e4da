"""The job files of the benchmark of workflows, what its prepare.py makes of options, and the metrics."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from core.common import class_factory
from core.common.user_module import UserModule
from multiedge.commands._script import run_script
from multiedge.errors import ConfigError, StageError
from multiedge.executors.flow.contract import Result
from multiedge.formats.devices import read_fleet
from partitioners import PARTITIONERS
from tests.builders.workflow_example import ROOT, importable

BENCH = importable()

from workflow_bench.folder import Note, WorkflowFolder, is_made, write_note  # noqa: E402
from workflow_bench.jobs import write_jobs  # noqa: E402
from workflow_bench.pipeline import WorkflowPipeline, answer_of, fleet_file  # noqa: E402
from workflow_bench.table import MODELS, NAMES  # noqa: E402

DOCUMENTS = sorted(path for name in NAMES for path in (BENCH / name).glob("*.yaml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    """prepare.py, which has a namesake in another example."""
    spec = spec_from_file_location("workflows_prepare", BENCH / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The folders of two workflows with items and no models."""
    for name, answers in (("cascade", [(3,), (7,)]), ("video", [(0, 1, 0, 0, 0, 2)])):
        folder = WorkflowFolder(tmp_path / name)
        note = folder.items("items", [({"x": np.ones(1)}, answer) for answer in answers])
        write_note(folder.path, note, {}, seed=0)
        for document in (BENCH / name).glob("*.yaml"):
            (folder.path / document.name).write_text(document.read_text())
    return tmp_path


def test_the_job_names_files_that_are_there_or_made(cache: Path) -> None:
    write_jobs(cache, ["cascade"])
    job = load(BENCH / "benchmarkingjob.yaml")["benchmarkingjob"]
    for url in (job["testenv"], *(each["url"] for each in job["test_object"]["algorithms"])):
        made = cache / Path(url).name
        assert (ROOT / url).is_file() or (url == f"./.cache/workflows/{made.name}" and made.is_file()), url
    keys = [name for each in job["rank"]["sort_by"] for name in each]
    assert set(keys) <= {each["name"] for each in load(BENCH / "testenv" / "testenv.yaml")["testenv"]["metrics"]}


def test_the_rows_are_the_documents_of_what_was_made(cache: Path) -> None:
    index = write_jobs(cache, ["cascade", "video"])
    assert index.read_text().splitlines() == [
        "cascade/items/00000.npz 3",
        "cascade/items/00001.npz 7",
        "video/items/00000.npz 0,1,0,0,0,2",
    ]
    rows = {}
    for name in ("algorithm-alone", "algorithm-split"):
        (module,) = load(cache / f"{name}.yaml")["algorithm"]["modules"]
        assert (ROOT / module["url"]).is_file()
        rows[name] = {name: spec["values"] for entry in module["hyperparameters"] for name, spec in entry.items()}
    assert rows["algorithm-alone"]["workflow"] == ["cascade/large", "cascade/small", "cascade/workflow", "video/workflow"]
    assert rows["algorithm-split"]["workflow"] == ["cascade/workflow", "video/workflow"]
    for grid in rows.values():
        assert set(grid["strategy"]) <= set(PARTITIONERS.names())
        assert all(read_fleet(fleet_file(fleet)).devices for fleet in grid["fleet"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_document_names_models_that_are_made_and_functions_that_are_there(path: Path) -> None:
    steps = load(path)["steps"].values()
    models = {Path(step["model"]).stem for step in steps if "model" in step}
    assert models <= set(MODELS[path.parent.name])
    for step in steps:
        if "transform" in step:
            file, _, function = step["transform"].partition(":")
            assert f"\ndef {function}(*, " in (path.parent / file).read_text()


def test_every_workflow_has_a_document_of_all_its_models() -> None:
    for name, models in MODELS.items():
        steps = load(BENCH / name / "workflow.yaml")["steps"].values()
        assert sorted(Path(step["model"]).stem for step in steps if "model" in step) == sorted(models)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--model", "cascade/smal=x.onnx"], "did you mean 'cascade/small'?"),
        (["--model", "cascade/small"], "--model: expected WORKFLOW/NAME=FILE, got 'cascade/small'"),
        (["--workflow", "audio"], "espeak-ng is not installed; run: apt-get install espeak-ng"),
    ],
)
def test_what_cannot_be_prepared_is_told_in_one_line(
    prepare: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    wrong: str,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    run_script(prepare.parser(), prepare.prepare, ["--cache", str(tmp_path / "cache"), *options])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if wrong in line]
    assert "\n" not in line


def test_what_is_there_is_kept_and_documents_are_renewed(
    prepare: ModuleType, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def maker(name: str) -> Any:
        def make(folder: WorkflowFolder) -> Note:
            made.append(name)
            return folder.items("items", [({"x": np.ones(1)}, (1,))])

        return make

    monkeypatch.setattr(prepare, "maker", maker)
    (cache / "cascade" / "workflow.yaml").write_text("old")
    for options in ([], ["--again"]):
        prepare.prepare(prepare.parser().parse_args(["--cache", str(cache), "--workflow", "cascade", *options]))
    assert made == ["cascade"]
    assert (cache / "cascade" / "workflow.yaml").read_text() == (BENCH / "cascade" / "workflow.yaml").read_text()


def test_accuracy_is_of_the_rows_of_the_workflow() -> None:
    class_factory.install()
    metric = UserModule(str(BENCH / "testenv" / "answers.py"), "accuracy").registered()
    outcome = {"rows": [1, 2, 3], "answers": [(4,), (1, 0), (9,)]}
    assert metric(["8", "4", "/folder/1,0", "5"], outcome) == 66.7


def test_an_answer_is_a_class_or_whole_numbers() -> None:
    def result(**tensors: Any) -> Result:
        return Result(0, tensors, "", 0.0, 1.0)

    assert answer_of(result(logits=np.array([[0.1, 0.9, 0.3]]))) == (1,)
    assert answer_of(result(answer=np.array([[2, 0]]))) == (2, 0)
    with pytest.raises(StageError, match="item 3 was not answered: lost"):
        answer_of(Result(3, None, "lost", 0.0, 1.0))


def test_what_is_missing_is_told_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="unknown fleet 'bord'; did you mean 'board'"):
        fleet_file("bord")
    with pytest.raises(ConfigError, match=r"gone/workflow.yaml: expected a workflow, found no file; run prepare.py"):
        WorkflowPipeline("gone/workflow", "board", "single").graph()


def test_a_folder_is_made_again_for_another_seed_or_other_files(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"one")
    given = {"small": model}
    write_note(tmp_path, Note("items", 1, {}), given, seed=0)
    assert is_made(tmp_path, given, 0)
    assert not is_made(tmp_path, given, 3)
    assert not is_made(tmp_path, {}, 0)
    model.write_bytes(b"three")
    assert not is_made(tmp_path, given, 0)
    model.unlink()
    with pytest.raises(ConfigError, match="expected a model's ONNX file, found none"):
        is_made(tmp_path, given, 0)
