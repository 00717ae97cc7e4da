import pytest

from core.cmd import benchmarking


@pytest.mark.parametrize(
    ("error", "status", "last"),
    [
        (KeyboardInterrupt(), 130, "interrupted; the test cases that have ended are in the rank files"),
        (benchmarking.Terminated(), 143, "terminated; the test cases that have ended are in the rank files"),
        (ZeroDivisionError("division by zero"), 1, "benchmarkingjob runs failed, error: ZeroDivisionError: division by zero"),
        (
            OSError(28, "No space left on device"),
            1,
            "benchmarkingjob runs failed, error: OSError: [Errno 28] No space left on device",
        ),
    ],
)
def test_whatever_ends_a_job_ends_in_one_line(monkeypatch, capsys, error, status, last):
    def read_job(url):
        raise error

    monkeypatch.setattr(benchmarking, "read_job", read_job)
    assert benchmarking.main(["-f", "job.yaml"]) == status
    assert capsys.readouterr().err.splitlines()[-1].endswith(last)
