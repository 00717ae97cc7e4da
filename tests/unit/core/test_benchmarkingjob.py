"""A job from its file to its table, with everything wrong found before anything runs."""

import subprocess
import sys

import pytest

from core.__version__ import __version__
from core.cmd import benchmarking
from core.cmd.benchmarkingjob import JobError, read_job
from core.storymanager.rank.rank import Rank
from multiedge.errors import ConfigError
from tests.builders.ianvs_files import MODEL, algorithm_entry, environment_file, job_file, metric_entry

BROKEN = MODEL.replace("return list(data)", "raise ValueError('it broke')")


@pytest.fixture
def job(tmp_path):
    """Writes a job with algorithms of these base models, and returns its path."""

    def job(*codes, **keys):
        environment = environment_file(tmp_path, metric_entry(tmp_path, "fps", "return len(y_pred)"))
        entries = [algorithm_entry(tmp_path, f"a{number}", code) for number, code in enumerate(codes or (MODEL,))]
        return str(job_file(tmp_path, entries, environment, **keys))

    return job


def test_a_job_as_values(job, tmp_path):
    read = read_job(job(MODEL, MODEL))
    assert (read.name, read.workspace) == ("job", str(tmp_path / "workspace" / "job"))
    assert [algorithm.name for algorithm in read.algorithms] == ["a0", "a1"]
    assert read.rank == Rank()


def test_a_workspace_has_a_default(job):
    assert read_job(job(workspace=None)).workspace == "./workspace/job"


def test_a_job_prints_its_table_and_writes_its_rank_files(job, tmp_path, capsys):
    assert benchmarking.main(["-f", job(MODEL, MODEL)]) == 0
    shown = capsys.readouterr()
    assert [line.split() for line in shown.out.splitlines()[3:5]] == [["1", "a0", "2"], ["2", "a1", "2"]], shown.out
    assert shown.err.splitlines()[-1].endswith("benchmarkingjob runs successfully.")
    assert sorted(path.name for path in (tmp_path / "workspace/job/rank").iterdir()) == ["all_rank.csv", "selected_rank.csv"]


@pytest.mark.parametrize(
    ("codes", "summary"),
    [
        ((MODEL, BROKEN), "1 of 2 test cases failed: a1: Model.predict: ValueError: it broke"),
        ((BROKEN, MODEL, BROKEN), "2 of 3 test cases failed: a0: Model.predict: ValueError: it broke (and 1 more)"),
    ],
    ids=["one", "two"],
)
def test_a_failed_test_case_is_summed_up_below_the_others_table(job, capsys, codes, summary):
    with pytest.raises(JobError) as caught:
        read_job(job(*codes)).run()
    assert str(caught.value) == summary
    shown = capsys.readouterr().out
    assert shown.count("failed: ") == codes.count(BROKEN)
    assert shown.count("multiedgeinference") <= codes.count(MODEL)


def test_a_job_of_failures_alone_writes_no_rank_file(job, tmp_path, capsys):
    assert benchmarking.main(["-f", job(BROKEN)]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("no results\nfailed: a0: ")
    assert shown.err.splitlines()[-1].startswith("RuntimeError: benchmarkingjob runs failed, error: 1 of 1 test cases failed")
    assert not (tmp_path / "workspace/job/rank").exists()


def test_every_job_leaves_a_report_page(job, tmp_path):
    assert benchmarking.main(["-f", job(MODEL, BROKEN)]) == 1
    page = (tmp_path / "workspace/job/report.html").read_text(encoding="utf-8")
    assert "Ianvs job: job" in page
    assert "it broke" in page
    assert "a0" in page


def rows(folder):
    lines = (folder / "workspace/job/rank/all_rank.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [line.split(",")[1] for line in lines]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("raise KeyboardInterrupt", 130),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", 130),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143),
        ("import os; os._exit(9)", 9),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -11),
    ],
    ids=["interrupt", "sigint", "sigterm", "exit", "crash"],
)
def test_test_cases_that_have_ended_are_kept_whatever_ends_the_job(job, tmp_path, words, status):
    code = MODEL.replace("return list(data)", f"{words}; import time; time.sleep(30)")
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import sys; "
    block = f"{start}from core.cmd.benchmarking import main; sys.exit(main(['-f', {job(MODEL, code)!r}]))"
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    assert rows(tmp_path) == ["a0"]
    assert ("a0" in done.stdout) is (status > 100)


def test_a_damaged_rank_file_is_found_before_anything_runs(job, tmp_path, capsys):
    rank = tmp_path / "workspace" / "job" / "rank"
    rank.mkdir(parents=True)
    (rank / "all_rank.csv").write_text("damaged", encoding="utf-8")
    assert benchmarking.main(["-f", job(MODEL)]) == 1
    assert "test case 1 of 1" not in capsys.readouterr().err


def test_an_empty_dataset_is_found_before_anything_runs(job, tmp_path):
    read = read_job(job())
    (tmp_path / "index.txt").write_text("")
    with pytest.raises(ConfigError, match=r"index\.txt: the test dataset is empty"):
        read.run()
    assert not (tmp_path / "workspace").exists()


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        pytest.param({"name": None}, "benchmarkingjob.name: expected", id="no-name"),
        pytest.param({"testenv": "none.yaml"}, "benchmarkingjob.testenv: no such file 'none.yaml'", id="no-testenv"),
        pytest.param({"simulation": {"cloud_number": 1}}, "simulation: this host starts no cluster", id="a-cluster"),
        pytest.param({"test_object": {"type": "models"}}, "test_object.type: unknown value 'models'", id="another-object"),
        pytest.param(
            {"test_object": {"type": "algorithms"}}, "test_object.algorithms: missing; expected a list", id="no-algorithms"
        ),
        pytest.param({"test_objekt": {}}, r"unknown key 'test_objekt'; did you mean 'test_object'\?", id="a-slip"),
        pytest.param({"rank": []}, "benchmarkingjob.rank: expected a mapping", id="rank-a-list"),
    ],
)
def test_a_job_that_cannot_be_used_is_one_clear_line(job, keys, error):
    path = job(**keys)
    with pytest.raises(ConfigError, match=error) as caught:
        read_job(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "status", "shown"),
    [([], 1, "usage: ianvs"), (["-f"], 2, "expected one argument"), (["-v"], 0, __version__)],
    ids=["no-words", "no-file", "version"],
)
def test_the_command_line(words, status, shown):
    command = [sys.executable, "-m", "core.cmd.benchmarking", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert shown in done.stderr + done.stdout


def test_a_repeated_job_runs_its_rows_in_turn_and_shows_medians_with_intervals(job, tmp_path, capsys):
    assert benchmarking.main(["-f", job(MODEL, MODEL, repeat=3, rank={"sort_by": [{"fps": "descend"}]})]) == 0
    lines = (tmp_path / "workspace/job/rank/all_rank.csv").read_text().splitlines()
    assert lines[0].startswith("rank,algorithm,fps,fps_interval,paradigm")
    assert [line.split(",")[:4] for line in lines[1:]] == [["1", "a0", "2.0", "2.0 to 2.0"], ["1", "a1", "2.0", "2.0 to 2.0"]]
    shown = capsys.readouterr()
    assert "interval" not in shown.out
    order = [line.split("test case ")[1] for line in shown.err.splitlines() if "test case " in line and " done " not in line]
    assert order == ["1 of 2: a0", "2 of 2: a1"] * 3


def test_a_case_that_failed_is_not_run_again(job, tmp_path, capsys):
    assert benchmarking.main(["-f", job(MODEL, BROKEN, repeat=2)]) == 1
    shown = capsys.readouterr()
    assert shown.err.count("test case failed") == 1
    assert "1 of 2 test cases failed" in shown.err


def test_no_round_is_no_job(job):
    with pytest.raises(ConfigError, match="repeat"):
        read_job(job(repeat=0))
