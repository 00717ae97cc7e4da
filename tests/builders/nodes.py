"""Nodes without a hub for the tests of fleets: each is a process of its own on loopback, whose plans are given folders.

    python -m tests.builders.nodes NAME IDENTITY FOLDER ...

prints its port. IDENTITY is a folder, or '-' for none.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from multiedge.network.identity import Identity
from multiedge.onnx_io import read_manifest
from multiedge.onnx_io.shipment import shipment_of
from multiedge.serving.node.folder import LocalStages, Progress
from multiedge.serving.node.server import Door, NodeServer
from multiedge.serving.node.sessions import WorkerSessions

ROOT = Path(__file__).parents[2]


class GivenPlans:
    """Plans in folders of the test, by their digests."""

    def __init__(self, folders: Sequence[str]) -> None:
        manifests = [read_manifest(folder) for folder in folders]
        self._plans = {shipment_of(manifest).record.digest: manifest for manifest in manifests}

    def open(
        self,
        plan: str,
        stages: Collection[int],
        progress: Progress = lambda done, needed: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> LocalStages:
        manifest = self._plans[plan]
        return LocalStages(Path(manifest.directory), {n: manifest.parts[n] for n in stages}, lambda: None)


@dataclass
class RunningNode:
    """The process of a node."""

    name: str
    process: subprocess.Popen[str]
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)


def start_node(name: str, folders: Sequence[Path], identity: Path | None = None, port: int = 0, *prefix: str) -> RunningNode:
    command = [*prefix, sys.executable, "-m", "tests.builders.nodes", name, str(identity or "-"), str(port)]
    process = subprocess.Popen([*command, *map(str, folders)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return RunningNode(name, process, int(process.stdout.readline()))


@contextmanager
def running_nodes(
    names: Sequence[str], folders: Sequence[Path], identity_of: Callable[[str], Path | None] = lambda name: None
) -> Iterator[dict[str, RunningNode]]:
    """A node of each name; none outlives the block, and neither do their workers."""
    nodes: dict[str, RunningNode] = {}
    try:
        for name in names:
            nodes[name] = start_node(name, folders, identity_of(name))
        yield nodes
    finally:
        for node in nodes.values():
            end_node(node)


def end_node(node: RunningNode) -> None:
    """Ends the node by force, and its workers."""
    workers = node.workers
    for number in (signal.SIGCONT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            node.signal(number)
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    node.process.wait(timeout=10)
    if node.process.stdout is not None:
        node.process.stdout.close()


def main(name: str, identity: str, port: str, *folders: str) -> None:
    chosen = None if identity == "-" else Identity(Path(identity))
    sessions = WorkerSessions(name, GivenPlans(folders), lambda hello: hello, chosen)
    door = Door(lambda accepted: sessions.serve(accepted.connection, accepted.peer, accepted.first + accepted.rest))
    server = NodeServer("127.0.0.1", int(port), chosen, {"OpenWorker": door})
    server.start()
    print(server.address.rpartition(":")[2], flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
