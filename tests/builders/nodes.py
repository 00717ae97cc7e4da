"""Nodes without a hub for the tests of fleets: each is a process of its own on loopback, whose plans are given folders.

python -m tests.builders.nodes NAME IDENTITY PORT FOLDER ...    prints its port; IDENTITY is a folder, or '-' for none
python -m tests.builders.nodes run FOLDER NAME=ADDRESS,...      a caller
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psutil

from multiedge.executors import open_pipeline
from multiedge.network.identity import Identity
from multiedge.onnx_io import read_manifest
from multiedge.onnx_io.shipment import shipment_of
from multiedge.serving.node.folder import LocalStages, Progress
from multiedge.serving.node.server import Door, NodeServer
from multiedge.serving.node.sessions import WorkerSessions
from tests.builders.pipelines import vectors

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


def begin_node(
    name: str, folders: Sequence[Path], identity: Path | None = None, port: int = 0, prefix: Sequence[str] = ()
) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, "-m", "tests.builders.nodes", name, str(identity or "-"), str(port)]
    return subprocess.Popen([*command, *map(str, folders)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def begun(name: str, process: subprocess.Popen[str]) -> RunningNode:
    """The node, once it listens."""
    assert process.stdout is not None
    return RunningNode(name, process, int(process.stdout.readline()))


def start_node(name: str, folders: Sequence[Path], identity: Path | None = None, port: int = 0) -> RunningNode:
    return begun(name, begin_node(name, folders, identity, port))


@contextmanager
def running_nodes(
    names: Sequence[str],
    folders: Sequence[Path],
    identities: Mapping[str, Path] = MappingProxyType({}),
    prefixes: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Iterator[dict[str, RunningNode]]:
    """A node of each name, with a certificate and behind the prefix of a command line where there is one; none outlives the
    block, and neither do their workers."""
    nodes: dict[str, RunningNode] = {}
    begin = {name: begin_node(name, folders, identities.get(name), 0, prefixes.get(name, ())) for name in names}
    try:
        nodes.update({name: begun(name, process) for name, process in begin.items()})
        yield nodes
    finally:
        for name, process in begin.items():
            end_node(nodes.get(name) or RunningNode(name, process, 0))


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


def run(folder: str, given: str) -> None:
    """Runs items on nodes, NAME=ADDRESS each, for ever."""
    nodes = dict(each.split("=") for each in given.split(","))
    with open_pipeline(folder, None, "fleet", nodes=nodes) as pipeline:
        pipeline.map(vectors(10))
        print("running", flush=True)
        while True:
            pipeline.map(vectors(10))


if __name__ == "__main__":
    run(*sys.argv[2:]) if sys.argv[1] == "run" else main(*sys.argv[1:])
