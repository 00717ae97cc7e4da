"""Whole jobs, written as Ianvs's users write them, from the yaml file to the table."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.cmd.benchmarking import main
from multiedge import __version__
from tests.ianvs_jobs import prepare

GOLDEN = Path(__file__).parents[2] / "golden"
IANVS = Path(sys.executable).with_name("ianvs")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with all jobs, in which `ianvs` is run."""
    monkeypatch.chdir(prepare(tmp_path))
    return tmp_path


def ranks(folder, job, name="all_rank.csv"):
    with open(folder / "workspace" / job / "rank" / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("job", ["plain", "points", "own_partition", "same_name", "strategy"])
def test_jobs_run_unchanged_and_print_one_table(folder, capsys, job):
    status = main(["-f", f"{job}/benchmarkingjob.yaml"])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    assert shown.out == (GOLDEN / "core_tables" / f"{job}.txt").read_text(encoding="utf-8")
    assert shown.err.splitlines()[-1].endswith("benchmarkingjob runs successfully.")


BASE_MODEL = re.compile(r"```python\n(?P<code>import os\n.*?class MyModel:.*?)\n```", re.DOTALL)


def test_the_complete_base_model_of_the_documents_runs_with_metrics_of_the_library(folder, capsys):
    page = (GOLDEN.parents[1] / "docs" / "custom-partition.md").read_text(encoding="utf-8")
    match = BASE_MODEL.search(page)
    assert match
    Path("my").mkdir()
    write("my/basemodel.py", match["code"])
    write("devices.yaml", "devices: [{name: phone, memory: 1GB}, {name: tablet}]\n")
    module = "{type: basemodel, name: MyModel, url: ./my/basemodel.py, hyperparameters: [{share: {values: [0.25]}}]}"
    model = "paradigm_type: multiedgeinference, initial_model_url: ./model.onnx"
    write("my/algorithm.yaml", f"algorithm: {{{model}, modules: [{module}]}}\n")
    metrics = "[{name: accuracy, url: ./testenv/accuracy.py}, {name: fps}, {name: peak_memory}, {name: partition_time_s}]"
    write("my/testenv.yaml", f"testenv: {{dataset: {{test_index: ./dataset/test_index.txt}}, metrics: {metrics}}}\n")
    algorithms = "{type: algorithms, algorithms: [{name: mine, url: ./my/algorithm.yaml}]}"
    write("my/job.yaml", f"benchmarkingjob: {{name: mine, testenv: ./my/testenv.yaml, test_object: {algorithms}}}\n")
    assert main(["-f", "my/job.yaml"]) == 0, capsys.readouterr().err
    (row,) = ranks(folder, "mine")
    assert (row["accuracy"], row["partition_time_s"]) == ("75.0", "NaN")
    assert float(row["fps"]) > 0
    assert float(row["peak_memory"]) > 1
    page = Path("workspace/mine/report.html").read_text(encoding="utf-8")
    assert "mine (share=0.25)" in page
    assert "phone" in page


def test_third_party_packages_can_be_imported_by_the_basemodel(folder, capsys):
    Path("packages").mkdir()
    write("packages/thirdparty.py", "VALUE = 1\n")
    edit(ALGORITHM, "  modules:", "  third_party_packages: [{name: thirdparty, url: ./packages/thirdparty.py}]\n  modules:")
    edit("plain/basemodel.py", "import os\n", "import os\nfrom thirdparty import VALUE\n")
    assert main(["-f", JOB]) == 0, capsys.readouterr().err
    assert sys.modules.pop("thirdparty").VALUE == 1


def test_a_job_file_must_be_yaml(folder, capsys):
    assert main(["-f", "plain/basemodel.py"]) == 1
    assert capsys.readouterr().err.endswith("plain/basemodel.py: expected a file that ends in .yaml or .yml\n")


def test_a_failing_test_case_leaves_the_others_on_the_table(folder, capsys):
    assert main(["-f", "failing/benchmarkingjob.yaml"]) == 1
    shown = capsys.readouterr()
    assert shown.out == (GOLDEN / "core_tables" / "failing.txt").read_text(encoding="utf-8")
    assert shown.err.splitlines()[-1] == (
        "RuntimeError: benchmarkingjob runs failed, error: 2 of 3 test cases failed: "
        "broken (how=parses): BaseModel.predict: SystemExit: 3 (and 1 more)"
    )
    assert 'raise ValueError("the model' in shown.err, "the traceback of the user's code"
    assert [row["algorithm"] for row in ranks(folder, "failing")] == ["whole"]


def test_if_all_fail_there_is_no_leaderboard_and_no_rank_file(folder, capsys):
    text = Path("failing/benchmarkingjob.yaml").read_text(encoding="utf-8")
    Path("all.yaml").write_text(text.replace("plain/", "failing/"), encoding="utf-8")
    assert main(["-f", "all.yaml"]) == 1
    shown = capsys.readouterr().out
    assert shown.count("failed: ") == 4
    assert "rank" not in shown
    assert not Path("workspace/failing/rank").exists()


def test_a_rerun_appends_to_the_rank_file(folder):
    for _ in range(2):
        assert main(["-f", "own_partition/benchmarkingjob.yaml"]) == 0
    rows = ranks(folder, "own_partition")
    assert len(rows) == 8
    assert len({row["url"] for row in rows}) == 8
    assert len(ranks(folder, "own_partition", "selected_rank.csv")) == 4
    assert all(Path(row["url"]).is_dir() for row in rows)


def test_every_row_has_its_own_folder_below_the_workspace(folder):
    assert main(["-f", "plain/benchmarkingjob.yaml"]) == 0
    (row,) = ranks(folder, "plain")
    assert row["url"].startswith("./workspace/plain/whole/")
    assert (folder / row["url"] / "output" / "inference" / "guesses.txt").read_text(encoding="utf-8") == "[0, 1, 2, 3]"
    assert (row["accuracy"], row["stages"]) == ("75.0", "NaN")


def test_a_job_leaves_folder_command_line_and_search_path_as_they_were(folder):
    Path("plain/basemodel.py").write_text(
        Path("plain/basemodel.py")
        .read_text(encoding="utf-8")
        .replace("self.session = None", "os.chdir('/'); __import__('sys').path.append('/nowhere'); os.environ['LEFT'] = '1'"),
        encoding="utf-8",
    )
    before = (os.getcwd(), list(sys.argv), list(sys.path), dict(os.environ))
    assert main(["-f", "plain/benchmarkingjob.yaml"]) == 1
    assert (os.getcwd(), sys.argv, sys.path, dict(os.environ)) == before


def edit(path, old, new):
    text = Path(path).read_text(encoding="utf-8")
    assert old in text
    Path(path).write_text(text.replace(old, new), encoding="utf-8")


def write(path, text):
    Path(path).write_text(text, encoding="utf-8")


JOB, TESTENV, ALGORITHM = "plain/benchmarkingjob.yaml", "testenv/testenv.yaml", "plain/algorithm.yaml"
MODULE = '    - {type: basemodel, name: BaseModel, url: "./plain/basemodel.py"}\n'
MISTAKES = {
    "no job file": lambda: os.remove(JOB),
    "an empty job file": lambda: write(JOB, ""),
    "a job file that is no mapping": lambda: write(JOB, "- benchmarkingjob\n"),
    "a job file that is no yaml": lambda: write(JOB, "benchmarkingjob: {name: [}\n"),
    "a job that is no mapping": lambda: write(JOB, "benchmarkingjob: 3\n"),
    "a misspelt key of the job": lambda: edit(JOB, "testenv:", "test_env:"),
    "a job without a name": lambda: edit(JOB, 'name: "plain"', "name:"),
    "a simulated cluster": lambda: edit(JOB, "  rank:", "  simulation: {cloud_number: 1}\n  rank:"),
    "no testenv file": lambda: os.remove(TESTENV),
    "an unknown kind of test object": lambda: edit(JOB, 'type: "algorithms"', 'type: "algorithm"'),
    "no algorithm file": lambda: os.remove(ALGORITHM),
    "an algorithm file that is no mapping": lambda: write(ALGORITHM, "nothing\n"),
    "a paradigm of Ianvs's": lambda: edit(ALGORITHM, "multiedgeinference", "lifelonglearning"),
    "a misspelt paradigm": lambda: edit(ALGORITHM, "multiedgeinference", "multiedgeinferenc"),
    "a misspelt key of the algorithm": lambda: edit(ALGORITHM, "initial_model_url", "initial_model_ur"),
    "a misspelt key of the testenv": lambda: edit(TESTENV, "metrics:", "metric:"),
    "no modules": lambda: edit(ALGORITHM, "modules:", "modules: []\n  mode:"),
    "an unknown kind of module": lambda: edit(ALGORITHM, 'type: "basemodel"', 'type: "basemodle"'),
    "no basemodel file": lambda: os.remove("plain/basemodel.py"),
    "an alias that the basemodel does not register": lambda: edit(ALGORITHM, '"BaseModel"', '"BaseModle"'),
    "a basemodel that needs a package that is not there": lambda: edit("plain/basemodel.py", "import os", "import oss"),
    "a hyperparameter that the basemodel does not take": lambda: edit(
        "plain/basemodel.py", "__init__(self, **kwargs)", "__init__(self, cut)"
    ),
    "a second basemodel": lambda: edit(ALGORITHM, "  modules:\n", "  modules:\n" + MODULE),
    "no list of packages": lambda: edit(ALGORITHM, "  modules:", "  third_party_packages: 3\n  modules:"),
    "a package that cannot be imported": lambda: edit(
        ALGORITHM, "  modules:", "  third_party_packages: [{name: a, url: ./plain/algorithm.yaml}]\n  modules:"
    ),
    "a metric without a file": lambda: edit(TESTENV, '      url: "./testenv/accuracy.py"\n', ""),
    "a metric listed twice": lambda: edit(TESTENV, '"stages"', '"accuracy"'),
    "no metric file": lambda: os.remove("testenv/accuracy.py"),
    "a metric that fails": lambda: edit("testenv/accuracy.py", '["pred"]', '["prediction"]'),
    "no dataset index": lambda: os.remove("dataset/test_index.txt"),
    "an empty dataset": lambda: write("dataset/test_index.txt", "\n"),
    "a missing model": lambda: os.remove("model.onnx"),
    "a corrupt model": lambda: write("model.onnx", "not a model"),
}


def lines_of(path):
    """The golden file: a line in brackets for each mistake, then the last line of stderr."""
    lines = (GOLDEN / path).read_text(encoding="utf-8").splitlines()
    return dict(zip((line.strip("[]") for line in lines[::2]), lines[1::2], strict=True))


def check_last_line(capsys, folder, expected):
    """Where the golden line ends in '...', the rest is a runtime's and changes with its version."""
    line = capsys.readouterr().err.splitlines()[-1].replace(str(folder), "FOLDER")
    assert line.startswith(expected.removesuffix("...")) if expected.endswith("...") else line == expected, line


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_one_clear_line(folder, capsys, mistake):
    MISTAKES[mistake]()
    assert main(["-f", JOB]) == 1
    check_last_line(capsys, folder, lines_of("core_error_lines.txt")[mistake])


POINTS = "points/basemodel.py"
CUTS = {
    "a cut tensor that does not exist": lambda: edit(POINTS, '["h2"]', '["h22"]'),
    "a node in no part": lambda: edit(POINTS, '"input_names": ["h2"]', '"input_names": ["h3"]'),
    "points that are no list": lambda: edit(POINTS, "partition_point_list = [", "partition_point_list = 3; _ = ["),
    "a model that is not there": lambda: os.remove("model.onnx"),
    "a model that is none": lambda: write("model.onnx", "not a model"),
    "a misspelt field of a point": lambda: edit(POINTS, '"output_names": ["y"]', '"outputs": ["y"]'),
}


@pytest.mark.parametrize("mistake", CUTS)
def test_each_bad_cut_is_one_clear_line(folder, capsys, mistake):
    CUTS[mistake]()
    assert main(["-f", "points/benchmarkingjob.yaml"]) == 1
    check_last_line(capsys, folder, lines_of("core_cut_error_lines.txt")[mistake])


DEVICES = "strategy/devices.yaml"
FLEETS = {
    "a point on an unknown device": lambda: edit(DEVICES, "device_name: tablet", "device_name: tablt"),
    "memory too small for any plan": lambda: (edit(DEVICES, '"512"', "40B"), edit(DEVICES, "1GiB", "40B")),
    "a size that is none": lambda: edit(DEVICES, "1GiB", "lots"),
    "an unknown strategy": lambda: edit("strategy/algorithm.yaml", '"manual", "single"', '"singel"'),
    "no devices.yaml": lambda: os.remove(DEVICES),
    "devices nowhere": lambda: edit("strategy/algorithm.yaml", "  devices:", "  comment:"),
}


@pytest.mark.parametrize("mistake", FLEETS)
def test_each_bad_fleet_is_one_clear_line(folder, capsys, mistake):
    FLEETS[mistake]()
    assert main(["-f", "strategy/benchmarkingjob.yaml"]) == 1
    check_last_line(capsys, folder, lines_of("core_fleet_error_lines.txt")[mistake])


def test_a_bad_cut_never_uses_parts_of_an_earlier_run(folder, capsys):
    assert main(["-f", "points/benchmarkingjob.yaml"]) == 0
    edit(POINTS, '["h2"]', '["h22"]')
    assert main(["-f", "points/benchmarkingjob.yaml"]) == 1
    assert len(ranks(folder, "points")) == 1


def test_hyperparameters_choose_the_strategy(folder):
    assert main(["-f", "strategy/benchmarkingjob.yaml"]) == 0
    found = {row["basemodel-strategy"]: row["stages"] for row in ranks(folder, "strategy")}
    assert found == {"manual": "phone > tablet", "single": found["single"]}
    assert found["single"] in ("phone", "tablet")


def ianvs(folder, *words):
    return subprocess.run([IANVS, *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_keeps_table_and_progress_apart(tmp_path):
    done = ianvs(prepare(tmp_path), "-f", "plain/benchmarkingjob.yaml")
    assert (done.returncode, done.stdout) == (0, (GOLDEN / "core_tables" / "plain.txt").read_text(encoding="utf-8"))
    assert done.stderr.splitlines()[-1].endswith("benchmarkingjob runs successfully.")


def test_the_command_fails_with_one_last_line(tmp_path):
    done = ianvs(tmp_path, "--benchmarking_config_file", "none.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("RuntimeError: benchmarkingjob runs failed, error: none.yaml: no such file (looked from ")


def test_the_command_without_arguments_prints_help_and_exits_1(tmp_path):
    done = ianvs(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--benchmarking_config_file" in done.stderr


@pytest.mark.parametrize("words", [["--nonsense"], ["-f"], ["-f", "a.yaml", "b.yaml"]])
def test_wrong_usage_exits_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["-v"])
    assert (caught.value.code, capsys.readouterr().out.strip()) == (0, __version__)
