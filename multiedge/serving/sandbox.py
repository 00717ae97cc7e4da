"""A fleet on one machine, to try and to test: a hub and nodes, each a process in a network namespace and a folder of its own.

They share no memory and no file, and their links have the rates of a devices.yaml (`multiedge.transports.namespaces`). All are
started by the commands that a reader of docs/fleet.md types on real machines. They end with the process that started them,
whatever ends that; namespaces that it left are removed by the next one.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from multiedge.defaults import DEFAULT_HUB_PORT, DEFAULT_NODE_PORT
from multiedge.errors import ConfigError, NetworkError, PipelineError
from multiedge.fleet import CALLER_NAME, Device, Fleet
from multiedge.network.client import HubClient
from multiedge.network.identity import HUB, Identity, join_address
from multiedge.serving.hub.authority import CLIENT_FOLDER
from multiedge.transports.namespaces import Network

STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 5.0
LOOK_S = 0.05
LAST_LINES = 3
_APART: dict[str, Any] = {"process_group": 0} if sys.version_info >= (3, 11) else {"start_new_session": True}
"""Ctrl-C reaches this process alone, which ends the others. In one session the scheduler treats all of them alike."""
RATES_MBIT_PER_S = (20.0, 50.0, 100.0, 1000.0)
"""Of the nodes' interfaces, in turn, where no devices.yaml states others."""


def sandbox_fleet(nodes: int, rates_mbit_per_s: Sequence[float] = RATES_MBIT_PER_S) -> Fleet:
    """Nodes `node-1`, `node-2`, ... of one thread whose interfaces have these rates in turn; ConfigError for less than one."""
    if nodes < 1:
        raise ConfigError(f"--nodes: expected at least 1, got {nodes}")
    rates = [rates_mbit_per_s[number % len(rates_mbit_per_s)] for number in range(nodes)]
    devices = (Device(f"node-{n}", bandwidth_bytes_per_s=rate * 1e6 / 8) for n, rate in enumerate(rates, start=1))
    return Fleet(tuple(devices), name="sandbox")


@dataclass
class Member:
    """A hub or a node: the command that starts it again, where it writes what it logs, and its process."""

    name: str
    command: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def family(self) -> list[psutil.Process]:
        """Its process and all that it has started, innermost first."""
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.process.pid)
            return [*reversed(first.children(recursive=True)), first]
        return []

    def last_words(self) -> str:
        """The last lines of its log, in one."""
        return "; ".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]) or "it logged nothing"


class Sandbox:
    """A hub and the nodes of a fleet; a context manager.

    Args:
        fleet: One node for each device, with its memory and threads; links as declared. Its `source` is the device at which
            the caller is, which is in the namespace of this process.
        folder: Has the data folders, `hub` and one named after each node, and the logs.
        progress: Called with a line about each step.

    Raises:
        ConfigError: If a device is called 'hub', and as `Network` does, without root or tools.
        PipelineError: If hub or nodes do not start; nothing is left then.
    """

    def __init__(self, fleet: Fleet, folder: Path, progress: Callable[[str], None] = lambda line: None) -> None:
        if HUB in fleet.names:
            raise ConfigError(f"{fleet.name}: expected another name for device '{HUB}': this one stands for the hub")
        self.fleet, self.folder, self._progress = fleet, folder, progress
        self.members: dict[str, Member] = {}
        self._network: Network | None = None

    @property
    def network(self) -> Network:
        """The links, to change, cut and count them; ends are the devices, 'hub' and 'caller'."""
        if self._network is None:
            raise PipelineError("the sandbox is not running")
        return self._network

    @property
    def address(self) -> str:
        """HOST:PORT of the hub."""
        return join_address(self.network.hosts[HUB], DEFAULT_HUB_PORT)

    @property
    def identity(self) -> Identity:
        """That of a client, for plans, deployments and runs."""
        return Identity(self.folder / HUB / CLIENT_FOLDER)

    def client(self) -> HubClient:
        """A connection to the hub, which the caller closes."""
        return HubClient(self.address, self.identity)

    def __enter__(self) -> Sandbox:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process and removes the network. May be called twice."""
        for member in self.members.values():
            self.resume(member.name)
        _end([process for member in self.members.values() for process in member.family])
        for member in self.members.values():
            member.process.wait()
        self.members.clear()
        if self._network is not None:
            self._network.close()
            self._network = None

    # -- what happens to members

    def start(self, name: str) -> None:
        """Starts the hub or a node that has ended, by the same command."""
        self.members[name] = self._spawn(name, self.members[name].command)

    def kill(self, name: str) -> None:
        """Ends the hub or a node, with its workers, without notice."""
        for process in reversed(self.members[name].family):
            _signal(process, signal.SIGKILL)
        self.members[name].process.wait()

    def stop(self, name: str) -> None:
        """The hub or a node, with its workers, stands still until `resume`; its connections stay open."""
        for process in reversed(self.members[name].family):
            _signal(process, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Ends `stop`."""
        for process in self.members[name].family:
            _signal(process, signal.SIGCONT)

    def wait_alive(self, names: Sequence[str] | None = None, timeout_s: float = STARTS_WITHIN_S) -> None:
        """Returns once the hub has heard of these nodes, by default of all; PipelineError if one has ended, or not in time."""
        missing, until = set(names or self.fleet.names), time.monotonic() + timeout_s
        with self.client() as client:
            while missing:
                with suppress(NetworkError):
                    missing -= {state.name for state in client.nodes()}
                self._require(until, f"{len(missing)} of {len(self.fleet.names)} nodes")
                time.sleep(LOOK_S)

    # -- starting

    def _start(self) -> None:
        hub = Device(HUB)
        self._network = Network(replace(self.fleet, devices=(*self.fleet.devices, hub)), CALLER_NAME)
        self.folder.mkdir(parents=True, exist_ok=True)
        data = self.folder / HUB
        _multiedge("hub", "init", "--data", str(data))
        self._progress(f"hub at {self.address}, data in {data}")
        self.members[HUB] = self._spawn(HUB, ("hub", "run", "--data", str(data), "--listen", self.address))
        self._wait_for_hub()
        for device in self.fleet.devices:
            self._join(device, data)
        self.wait_alive()
        self._progress(f"{len(self.fleet.names)} nodes are there: {', '.join(self.fleet.names)}")

    def _join(self, device: Device, hub_data: Path) -> None:
        name = device.name
        token = _multiedge("hub", "token", "--data", str(hub_data)).strip()
        where = (
            "--hub",
            self.address,
            "--data",
            str(self.folder / name),
            "--listen",
            f"{self.network.hosts[name]}:{DEFAULT_NODE_PORT}",
        )
        memory = () if device.memory_bytes is None else ("--memory", f"{device.memory_bytes}B")
        share = () if device.speed is None or device.speed >= 1 else ("--cpu-share", f"{device.speed:g}")
        command = ("node", "--name", name, *where, "--threads", str(device.threads), *memory, *share)
        self.members[name] = self._spawn(name, (*command, "--join", token))
        # A token is good for one time: started again, the node has its certificate.
        self.members[name].command = command
        self._progress(f"{name} at {self.network.hosts[name]}, data in {self.folder / name}")

    def _spawn(self, name: str, words: tuple[str, ...]) -> Member:
        log = self.folder / f"{name}.log"
        # `setpriv` has the kernel end the process with its parent, also when that is killed.
        command = ["setpriv", "--pdeathsig", "TERM", *self.network.command(name), sys.executable, "-m", "multiedge.cli", *words]
        with log.open("ab") as file:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, **_APART)
        return Member(name, words, log, process)

    def _wait_for_hub(self) -> None:
        until = time.monotonic() + STARTS_WITHIN_S
        with self.client() as client:
            while True:
                try:
                    client.state()
                    return
                except NetworkError:
                    self._require(until, "the hub")
                    time.sleep(LOOK_S)

    def _require(self, until_s: float, what: str) -> None:
        for member in self.members.values():
            if member.process.poll() is not None:
                raise PipelineError(f"'{member.name}' ended with {member.process.returncode}: {member.last_words()}")
        if time.monotonic() >= until_s:
            raise PipelineError(f"{what} did not start within {STARTS_WITHIN_S:.0f} s; see the logs in {self.folder}")


def _multiedge(*words: str) -> str:
    """What a command of this project prints; PipelineError with its error."""
    done = subprocess.run([sys.executable, "-m", "multiedge.cli", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PipelineError(f"`multiedge {' '.join(words)}` failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def _end(processes: Sequence[psutil.Process]) -> None:
    """Ends processes, by SIGKILL what does not end by SIGTERM."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(list(processes), timeout=ENDS_WITHIN_S)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=ENDS_WITHIN_S)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
