"""What a hub takes of its machine while 50 nodes and five runs report to it, and browsers watch."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

import psutil
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("cryptography")

from multiedge.network.client import HubClient
from multiedge.network.identity import Identity, parse_address
from multiedge.network.records import HEARTBEAT_S, LinkState, NodeState
from multiedge.serving.hub.authority import Authority
from tests.builders.reports_of_runs import report

pytestmark = pytest.mark.slow

NODES, RUNS, BROWSERS = 50, 5, 5
WINDOW_S = 8.0
MOST_SHARE = 0.6


@contextmanager
def hub_process(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    command = [sys.executable, "-m", "multiedge.cli", "hub", "run", "--data", str(folder), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield psutil.Process(process.pid), re.findall(r"127\.0\.0\.1:\d+", process.stdout.readline())[0]
        finally:
            process.terminate()


@pytest.mark.timing
def test_a_hub_of_50_nodes_is_not_slow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    authority = Authority.create(tmp_path)
    names = [f"node-{number}" for number in range(NODES)]
    identities = {name: authority.issue(tmp_path / "nodes" / name, f"node:{name}") for name in names}
    client, stop = Identity(tmp_path / "client"), threading.Event()

    def beat(address: str, name: str) -> None:
        links = tuple(LinkState(other, 1e7, 1e-3) for other in names if other != name)
        state = NodeState(name, "10.0.0.1:8471", 4 << 30, 2 << 30, links=links)
        with HubClient(address, identities[name]) as hub:
            while not stop.wait(HEARTBEAT_S):
                hub.heartbeat(replace(state, load=time.monotonic() % 1))

    def run(address: str, name: str) -> None:
        with HubClient(address, client) as hub:
            for second in range(1, 1000):
                hub.report(replace(report(float(second), 50 * second), run=name))
                if stop.wait(1.0):
                    return

    def watch(address: str, _: str) -> None:
        connection = HTTPSConnection(*parse_address(address), context=client.client_context())
        connection.request("GET", "/live/events")
        with connection.getresponse() as answer:
            try:
                while not stop.is_set() and answer.read1(1 << 16):
                    pass
            except HTTPException:  # the hub has ended
                pass
        connection.close()

    with ExitStack() as stack:
        hub, address = stack.enter_context(hub_process(tmp_path))
        groups = {"nobody watches": (beat, names), "five browsers watch": (watch, [""] * BROWSERS)}
        threads = [threading.Thread(target=run, args=(address, f"run-{number}")) for number in range(RUNS)]
        stack.callback(lambda: [thread.join() for thread in threads])
        stack.callback(stop.set)
        for thread in threads:
            thread.start()
        for what, (work, given) in groups.items():
            for each in given:
                threads.append(threading.Thread(target=work, args=(address, each)))
                threads[-1].start()
            time.sleep(2.0)
            share = _share_of_a_core(hub)
            with capsys.disabled():
                print(f"\n{NODES} nodes, {RUNS} runs, {what}: {share:.0%} of a core, {hub.memory_info().rss >> 20} MiB")
            assert share < MOST_SHARE
        with HubClient(address, client) as asked:
            assert len(asked.nodes()) == NODES


def _share_of_a_core(process: psutil.Process) -> float:
    before, began_s = process.cpu_times(), time.monotonic()
    time.sleep(WINDOW_S)
    after = process.cpu_times()
    return float((after.user + after.system - before.user - before.system) / (time.monotonic() - began_s))
