"""Whatever ends a run, no process, descriptor or shared memory stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from multiedge.executors import open_pipeline
from multiedge.executors.processes import ProcessesExecutor
from multiedge.files import owner
from multiedge.transports import rundir
from tests.builders.pipelines import item, synthetic_chain, synthetic_fleet
from tests.builders.stage_hosts import ended

ENDLESS = """
import itertools, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.builders.pipelines import item, synthetic_chain, synthetic_fleet
from multiedge.executors import open_pipeline
with open_pipeline(synthetic_chain(Path(sys.argv[1]), seconds=0.01), synthetic_fleet(3)) as pipeline:
    executor = pipeline.executor
    print(executor.directory, *(worker.pid for worker in executor.pool.workers.values()), flush=True)
    pipeline.map(item(number) for number in itertools.count())
"""
END_LIMIT_S = 2.0
TRANSPORTS = ("shared-memory", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pipe", "tcp")))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_success_leaves_nothing(tmp_path: Path, transport: str) -> None:
    manifest = synthetic_chain(tmp_path)
    before = psutil.Process().num_fds()
    for _ in range(2):
        with open_pipeline(manifest, synthetic_fleet(3), transport=transport) as pipeline:
            executor = pipeline.executor
            assert isinstance(executor, ProcessesExecutor)
            directory, pids = executor.directory, [worker.pid for worker in executor.pool.workers.values()]
            results, _ = pipeline.map(item(number) for number in range(50))
        assert [float(result.require()["t3"][0]) for result in results] == [number + 3.0 for number in range(50)]
        assert directory is not None
        assert not directory.exists()
        assert not any(psutil.pid_exists(pid) for pid in pids)
    assert psutil.Process().num_fds() <= before


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_worker_that_was_killed_leaves_nothing(tmp_path: Path, transport: str) -> None:
    manifest = synthetic_chain(tmp_path, seconds=0.002)
    before = psutil.Process().num_fds()
    with open_pipeline(manifest, synthetic_fleet(4), transport=transport) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)
        directory, pids = executor.directory, [worker.pid for worker in executor.pool.workers.values()]
        pipeline.map(item(number) for number in range(20))
        os.kill(pids[1], signal.SIGKILL)
        results, measured = pipeline.map(item(number) for number in range(100))
        pids += [worker.pid for worker in executor.pool.workers.values()]
        slots = [path for path in directory.glob("slot-*") if int(path.name.split("-")[1]) < executor.epoch]
    assert all(not result.error for result in results)
    assert [fault.kind for fault in measured.faults][:1] == ["crash"]
    assert slots == []
    assert not directory.exists()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert psutil.Process().num_fds() <= before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-c", ENDLESS, str(tmp_path), str(Path(__file__).parents[3])]
    with ended(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout is not None
        directory, *pids = run.stdout.readline().split()
        time.sleep(0.3)
        start = time.monotonic()
        os.kill(run.pid, how)
        run.wait(timeout=10)
        while _alive(pids) or Path(directory).exists():
            assert time.monotonic() - start < END_LIMIT_S, f"after {how.name}: {_alive(pids)}, {directory}"
            time.sleep(0.02)


def _alive(pids: list[str]) -> list[str]:
    return [pid for pid in pids if psutil.pid_exists(int(pid)) and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE]


def test_folders_of_dead_runs_are_swept_up(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    left = tmp_path / f"multiedge-{owner(gone.pid)}-abc"
    mine = tmp_path / f"multiedge-{owner()}-abc"
    left.mkdir()
    mine.mkdir()
    made = rundir.make(tmp_path)
    assert not left.exists()
    assert mine.exists()
    assert made.exists()


@pytest.mark.parametrize(
    "seconds", [4, pytest.param(600, marks=[pytest.mark.slow, pytest.mark.timeout(900)])], ids=["short", "ten minutes"]
)
def test_memory_does_not_grow(tmp_path: Path, seconds: int) -> None:
    manifest = synthetic_chain(tmp_path)
    with open_pipeline(manifest, synthetic_fleet(3), record_events=False) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)
        pids = [os.getpid(), *(worker.pid for worker in executor.pool.workers.values())]
        pipeline.map(item(number) for number in range(1000))
        before = [psutil.Process(pid).memory_info().rss for pid in pids]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pipeline.map(item(number) for number in range(500))
        after = [psutil.Process(pid).memory_info().rss for pid in pids]
    growth = [(b - a) / 2**20 for a, b in zip(before, after, strict=True)]
    assert max(growth) < 4.0, growth
