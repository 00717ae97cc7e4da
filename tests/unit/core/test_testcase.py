"""Test cases: the user's code runs undisturbed, and one that fails does not keep the others from running."""

import logging
import os
import re
import sys
from pathlib import Path

import pytest

from core.testcasecontroller.algorithm.algorithm import read_algorithm
from core.testcasecontroller.testcase.testcase import Failure, TestCase
from core.testcasecontroller.testcasecontroller import run_testcases
from core.testenvmanager.testenv.testenv import read_testenv
from tests.builders.ianvs_files import MODEL, algorithm_entry, environment_file, metric_entry


@pytest.fixture
def case(tmp_path):
    """Makes a test case of a base model's code and metrics' bodies."""

    def case(name="mine", code=MODEL, **bodies):
        metrics = [metric_entry(tmp_path, metric, body) for metric, body in (bodies or {"count": "return len(y_pred)"}).items()]
        (algorithm,) = read_algorithm(name, algorithm_entry(tmp_path, name, code)["url"])
        return TestCase(read_testenv(str(environment_file(tmp_path, *metrics))), algorithm)

    return case


def failing(step, words="raise ValueError('it broke')"):
    """The base model with `words` in place of what that function does."""
    return MODEL.replace({"load": "pass", "predict": "return list(data)", "__init__": "self.given = given"}[step], words)


def test_metrics_are_computed_of_labels_and_answers(case, tmp_path):
    metrics = case(labels="return ' '.join(y_true)", answers="return y_pred[0]").run(str(tmp_path))
    assert metrics == {"labels": "3 7", "answers": "/nowhere/a.jpg"}


def test_a_test_case_has_a_folder_of_its_own(case, tmp_path):
    first, second = case(), case()
    assert first.output_dir("work") != second.output_dir("work")
    assert Path(first.output_dir("work")).parent == Path("work/mine")
    first.run(str(tmp_path / "work"))
    assert (Path(first.output_dir(str(tmp_path / "work"))) / "output/inference").is_dir()


def test_what_the_users_code_changes_is_put_back(case, tmp_path):
    changes = (
        "os.chdir('/'); sys.path.append('/nowhere'); sys.argv.append('x'); os.environ['LEFT'] = '1'; del os.environ['PATH']"
    )
    code = failing("load", f"import os, sys; {changes}")
    before = (os.getcwd(), list(sys.path), list(sys.argv), dict(os.environ))
    case(code=code).run(str(tmp_path))
    assert (os.getcwd(), list(sys.path), list(sys.argv), dict(os.environ)) == before


def test_the_users_code_does_not_see_our_options(case, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ianvs", "-f", "job.yaml"])
    code = failing("predict", "import sys; return sys.argv[1:]")
    assert case(code=code, answers="return len(y_pred)").run(str(tmp_path)) == {"answers": 0}
    assert sys.argv == ["ianvs", "-f", "job.yaml"]


def test_the_environment_is_put_back_when_the_code_fails_too(case, tmp_path):
    before = os.getcwd()
    with pytest.raises(RuntimeError):
        case(code=failing("load", "import os; os.chdir('/'); raise ValueError")).run(str(tmp_path))
    assert os.getcwd() == before


@pytest.mark.parametrize(
    ("step", "words", "reason"),
    [
        ("__init__", "raise ValueError('no memory')", r"basemodel 'Model' \(.*\) cannot be made: ValueError: no memory"),
        ("load", "raise ValueError('no memory')", "Model.load: ValueError: no memory"),
        ("predict", "raise SystemExit(3)", "Model.predict: SystemExit: 3"),
    ],
)
def test_a_failure_names_the_step(case, tmp_path, step, words, reason):
    (failure,) = run_testcases([case(code=failing(step, words))], str(tmp_path))
    assert failure.algorithm.name == "mine"
    assert re.fullmatch(reason, failure.reason)


def test_a_failing_metric_fails_its_test_case(case, tmp_path):
    (failure,) = run_testcases([case(score="return 1 / 0")], str(tmp_path))
    assert failure.reason.endswith("score.py): ZeroDivisionError: division by zero")


def test_the_others_run_all_the_same_and_in_order(case, tmp_path):
    cases = [case("a"), case("b", failing("predict")), case("c")]
    first, failure, last = run_testcases(cases, str(tmp_path))
    assert [result.algorithm.name for result in (first, failure, last)] == ["a", "b", "c"]
    assert isinstance(failure, Failure)
    done = [first, last]
    assert [outcome.metrics for outcome in done] == [{"count": 2}] * 2
    assert [outcome.url for outcome in done] == [cases[0].output_dir(str(tmp_path)), cases[2].output_dir(str(tmp_path))]


def test_no_test_cases_give_nothing(tmp_path):
    assert list(run_testcases([], str(tmp_path))) == []


def test_an_interrupt_ends_the_job(case, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        list(run_testcases([case(code=failing("predict", "raise KeyboardInterrupt"))], str(tmp_path)))


@pytest.mark.parametrize(
    ("words", "has_traceback"),
    [
        pytest.param("raise ValueError('mine')", True, id="the-users-code"),
        pytest.param("from multiedge.errors import PlanError; raise PlanError('no plan fits')", False, id="explained-by-us"),
    ],
)
def test_a_traceback_is_logged_where_the_users_code_failed(case, tmp_path, capsys, words, has_traceback):
    list(run_testcases([case(code=failing("predict", words))], str(tmp_path)))
    shown = capsys.readouterr().err
    assert ("Traceback" in shown) is has_traceback
    assert "test case failed: mine: Model.predict" in shown
    assert logging.getLogger("ianvs").level == logging.INFO
