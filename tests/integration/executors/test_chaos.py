"""Faults at random on every way to run a pipeline: each item is answered once, right or with its own error; nothing is left."""

from __future__ import annotations

import pytest

from tests.builders.sandboxes import obstacle
from tests.chaos.report import Report, joined
from tests.chaos.schedule import GAP_S, Kind
from tests.chaos.targets import TARGETS, lives

FEW = ("shared-memory", "tcp", "replanned", "remote")
FEW_S, ALL_S = 12.0, 600.0
LONGEST_SILENCE_S = 60.0
"""On a machine with other work; an item that hangs five workers takes most of it."""
SEED = 15

pytestmark = [
    # Ray leaves the log files and handles of the processes that it starts to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning:ray"),
]


def survive(name: str, kinds: frozenset[Kind], seconds: float, gap_s: float, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs pipelines of the target one after another; a failure prints the schedule with which it can be repeated."""
    reports: list[Report] = []
    for schedule, report in lives(TARGETS[name], kinds, SEED, seconds, gap_s):
        reports.append(report)
        problems = report.problems(LONGEST_SILENCE_S)
        assert not problems, f"{problems}\nreplay: python -m tests.chaos --target {name} --replay FILE with\n{schedule}"
    with capsys.disabled():
        print(f"\n{joined(name, reports)}")


def require(name: str) -> None:
    """Skips the test where the target cannot run."""
    if name == "remote":
        pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")
    if name == "ray":
        pytest.importorskip("ray", reason="the extra `ray` is not installed", exc_type=ImportError)
    if name in ("namespaces", "fleet") and (reason := obstacle()):
        pytest.skip(reason)


@pytest.mark.parametrize("name", FEW)
def test_every_item_is_answered_once_under_faults(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    require(name)
    # Once both servers refuse the part, the items under way wait for them as long as they would for ones that return.
    waits = {Kind.CHANGED_PART} if name == "remote" else set()
    survive(name, TARGETS[name].kinds - waits, FEW_S / len(FEW), 0.5, capsys)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TARGETS)
def test_every_item_is_answered_once_under_faults_for_ten_minutes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    require(name)
    survive(name, TARGETS[name].kinds, ALL_S / len(TARGETS), GAP_S, capsys)
