"""The paradigm inside an upstream checkout, and both projects installed side by side; each run is a process of its own."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from multiedge.ianvs.attach import attach, detach
from tests.builders import ianvs_standin
from tests.ianvs_jobs import prepare

ROOT = Path(__file__).parents[3]
JOB = "plain/benchmarkingjob.yaml"


@pytest.fixture
def folder(tmp_path):
    """A folder to run from: the jobs, a model, a dataset, and one base model at the top."""
    prepare(tmp_path / "work")
    strategy = tmp_path / "work" / "strategy"
    text = (strategy / "basemodel.py").read_text(encoding="utf-8")
    for line in (
        "from sedna.common.class_factory import ClassFactory, ClassType",
        '@ClassFactory.register(ClassType.GENERAL, alias="BaseModel")',
    ):
        assert line in text
        text = text.replace(line, "")
    (tmp_path / "work" / "basemodel.py").write_text(text.replace("self, strategy", "self, **kwargs"), encoding="utf-8")
    (strategy / "devices.yaml").rename(tmp_path / "work" / "devices.yaml")
    return tmp_path / "work"


def run(folder, *command, **environment):
    known = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env={**known, **environment}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_an_upstream_checkout_partitions_with_it_and_not_without(folder, tmp_path):
    checkout = ianvs_standin.write(tmp_path / "ianvs")
    command = (sys.executable, "-m", "core.cmd.benchmarking")
    assert run(folder, *command, PYTHONPATH=str(checkout)).stdout.strip() == ianvs_standin.OLD_RESULT
    attach(checkout, ROOT)
    result = run(folder, *command, PYTHONPATH=str(checkout)).stdout.strip()
    assert result == "{'pred': [0, 1, 2, 3], 'stages': 'phone > tablet'}"
    detach(checkout)
    assert run(folder, *command, PYTHONPATH=str(checkout)).stdout.strip() == ianvs_standin.OLD_RESULT


@pytest.mark.parametrize("is_old", [True, False], ids=["older originals", "as written"])
def test_a_build_folder_keeps_nothing_of_what_was_attached(tmp_path, is_old):
    """`python setup.py install` copies to `build/lib` first, and no file that is older than the one there."""
    checkout = ianvs_standin.write(tmp_path / "ianvs")
    file = Path(ianvs_standin.PARADIGM, "multiedge_inference", "multiedge_inference.py")
    original = (checkout / file).read_bytes()
    if is_old:
        os.utime(checkout / file, (1, 1))
    for expected in (ROOT / file).read_bytes(), original:
        attach(checkout, ROOT) if expected != original else detach(checkout)
        run(checkout, sys.executable, "setup.py", "-q", "build")
        assert (checkout / "build" / "lib" / file).read_bytes() == expected


BASE_MODEL = """
from sedna.common.class_factory import ClassFactory, ClassType
from sibling import NAME

@ClassFactory.register(ClassType.GENERAL, alias="BaseModel")
class BaseModel:
    def load(self, url): pass
    def predict(self, x, train_dataset=None):
        if NAME == "broken": raise ValueError("on purpose")
        return NAME
"""
WHO = """
from sedna.common.class_factory import ClassFactory, ClassType

@ClassFactory.register(ClassType.GENERAL, alias="who")
def who(y_true, y_pred):
    return y_pred
"""
MANUAL = """
import argparse
import onnxruntime
from sedna.common.class_factory import ClassFactory, ClassType

@ClassFactory.register(ClassType.GENERAL, alias="Classification")
class BaseModel:
    def __init__(self, **kwargs):
        parser = argparse.ArgumentParser()
        parser.add_argument("-f")
        parser.add_argument("--model_parallel", default=True)
        self.model_parallel = parser.parse_args().model_parallel
        self.partition_point_list = [
            {"input_names": ["x"], "output_names": ["h2"], "device_name": "gpu-0"},
            {"input_names": ["h2"], "output_names": ["y"], "device_name": "gpu-1"},
        ]
    def load(self, models_dir=None, map_info=None):
        self.devices = list(map_info.values())
        self.models = [onnxruntime.InferenceSession(models_dir + "/" + name) for name in map_info]
    def predict(self, data, input_shape=None, **kwargs):
        return " > ".join(f"{device}: {session.get_outputs()[0].name}" for device, session in zip(self.devices, self.models))
"""


@pytest.fixture
def upstream(folder, tmp_path):
    """Runs a job of these base models in a stand-in with the paradigm attached; the finished process."""
    checkout = ianvs_standin.write(tmp_path / "ianvs")
    stubs = tmp_path / "stubs" / "sedna" / "common"
    stubs.mkdir(parents=True)
    for package in (stubs, stubs.parent):
        (package / "__init__.py").touch()
    (stubs / "class_factory.py").write_text((ROOT / "core" / "common" / "class_factory.py").read_text(encoding="utf-8"))
    (folder / "who.py").write_text(WHO, encoding="utf-8")

    def upstream(*, devices="", **codes):
        entries = []
        for name, (alias, code) in codes.items():
            (folder / name).mkdir()
            (folder / name / "basemodel.py").write_text(code, encoding="utf-8")
            (folder / name / "sibling.py").write_text(f"NAME = '{name}'", encoding="utf-8")
            module = f"{{type: basemodel, name: {alias}, url: ./{name}/basemodel.py}}"
            text = f"algorithm: {{paradigm_type: multiedgeinference, initial_model_url: ./model.onnx, modules: [{module}]}}"
            (folder / name / "algorithm.yaml").write_text(text, encoding="utf-8")
            entries.append(f"{{name: {name}, url: ./{name}/algorithm.yaml}}")
        index = "train_index: ./dataset/train_index.txt, test_index: ./dataset/test_index.txt"
        (folder / "env.yaml").write_text(f"testenv: {{dataset: {{{index}}}, metrics: [{{name: who, url: ./who.py}}]{devices}}}")
        algorithms = ", ".join(entries)
        (folder / "job.yaml").write_text(
            "benchmarkingjob: {workspace: ./ws, testenv: ./env.yaml,"
            f" test_object: {{type: algorithms, algorithms: [{algorithms}]}}}}"
        )
        attach(checkout, ROOT)
        search = os.pathsep.join(map(str, (checkout, tmp_path / "stubs", ROOT)))
        command = (sys.executable, "-m", "core.cmd.benchmarking", "-f", "job.yaml")
        known = {**os.environ, "PYTHONPATH": search}
        return subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True, timeout=120, check=False)

    return upstream


def test_two_base_models_of_one_name_run_their_own_code_where_ianvs_runs_the_firsts(upstream):
    done = upstream(a=("BaseModel", BASE_MODEL), b=("BaseModel", BASE_MODEL))
    assert done.stdout.split() == ["a,a", "b,b"], done.stderr


def test_a_failing_test_case_gets_a_row_of_nan_and_the_job_fails_after_its_table(upstream):
    done = upstream(a=("BaseModel", BASE_MODEL), broken=("BaseModel", BASE_MODEL), c=("BaseModel", BASE_MODEL))
    assert done.stdout.split() == ["a,a", "broken,nan", "c,c"], done.stderr
    assert done.returncode == 1
    assert "test case failed: broken: pipeline runs failed, error: BaseModel.predict: ValueError: on purpose" in done.stderr


def test_the_form_of_ianvss_imagenet_job_runs(upstream):
    done = upstream(manual=("Classification", MANUAL), devices=', devices: [{url: "./none.yaml"}]')
    assert done.stdout.strip() == "manual,gpu-0: h2 > gpu-1: y", done.stderr
    assert "no such file './none.yaml'" in done.stderr


def test_without_multiedge_the_paradigm_still_runs_whole_models(folder, tmp_path):
    checkout = ianvs_standin.write(tmp_path / "ianvs")
    attach(checkout, ROOT)
    (folder / "basemodel.py").write_text(
        "class BaseModel:\n"
        "    def __init__(self, **kwargs): pass\n"
        "    def load(self, url): self.url = url\n"
        "    def predict(self, x, train_dataset=None): return self.url, len(x)\n",
        encoding="utf-8",
    )
    block = "import sys; sys.modules['multiedge'] = None; from core.cmd.benchmarking import main; main()"
    assert run(folder, sys.executable, "-c", block, PYTHONPATH=str(checkout)).stdout.strip() == "('model.onnx', 4)"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment with wheels of both projects, ours last; the packages that they need are this one's."""
    base = tmp_path_factory.mktemp("environment")
    wheels = base / "wheels"
    for source in (ianvs_standin.write(base / "ianvs"), copy_of_sources(base / "ours")):
        pip = (sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(source))
        run(base, *pip)
    venv.create(base / "venv", with_pip=False)
    target = sysconfig.get_path("purelib", vars={"base": str(base / "venv")})
    packages = Path(sysconfig.get_path("purelib"))
    borrowed = base / "borrowed"
    borrowed.mkdir()
    for package in packages.iterdir():
        if "multi_edge_bench" not in package.name and not package.name.endswith(".pth"):
            (borrowed / package.name).symlink_to(package)
    (Path(target) / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    return base


def copy_of_sources(folder):
    from shutil import copy, copytree, ignore_patterns

    for name in ("core", "multiedge", "partitioners", "profilers"):
        copytree(ROOT / name, folder / name, ignore=ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).is_file():
            copy(ROOT / name, folder)
    return folder


def install(base, pattern):
    (wheel,) = (base / "wheels").glob(pattern)
    python = str(base / "venv" / "bin" / "python")
    run(
        base,
        sys.executable,
        "-m",
        "pip",
        "-q",
        "--python",
        python,
        "install",
        "--force-reinstall",
        "--no-deps",
        "--no-index",
        str(wheel),
    )


@pytest.mark.slow
def test_side_by_side_nothing_of_ianvss_is_overwritten(environment, folder):
    base, binaries = environment, environment / "venv" / "bin"
    install(base, "ianvs-*")
    site = Path(sysconfig.get_path("purelib", vars={"base": str(base / "venv")}))
    before = {path: path.read_bytes() for path in site.joinpath("core").rglob("*.py")}
    install(base, "multi_edge_bench-*")
    assert {path: path.read_bytes() for path in site.joinpath("core").rglob("*.py")} == before

    theirs = run(folder, str(binaries / "ianvs"))
    assert theirs.stdout.strip() == ianvs_standin.OLD_RESULT
    assert "KubeEdge Ianvs 0.3.0 is installed, so its host runs" in theirs.stderr

    ours = run(folder, str(binaries / "python"), "-m", "multiedge.ianvs.host", "-f", JOB)
    assert "whole" in ours.stdout
    assert (site / "multiedge" / "_host" / "core" / "cmd" / "benchmarking.py").is_file()

    attach(site, ROOT)
    assert "'stages': 'phone > tablet'" in run(folder, str(binaries / "ianvs")).stdout
    detach(site)
    run(base, sys.executable, "-m", "pip", "-q", "--python", str(binaries / "python"), "uninstall", "-y", "multi-edge-bench")
    assert {path: path.read_bytes() for path in site.joinpath("core").rglob("*.py")} == before


def test_alone_the_command_runs_our_host(environment, folder):
    base = environment
    python = str(base / "venv" / "bin" / "python")
    run(base, sys.executable, "-m", "pip", "-q", "--python", python, "uninstall", "-y", "ianvs")
    install(base, "multi_edge_bench-*")
    assert "whole" in run(folder, str(base / "venv" / "bin" / "ianvs"), "-f", JOB).stdout
