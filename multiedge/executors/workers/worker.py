"""The process of one device: `python -m multiedge.executors.workers.worker DIRECTORY FD`.

Commands come as lines of JSON over the socket FD. When it closes, the one who started us has gone: what the run shares
is removed and the process ends, even in the midst of a computation.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from multiedge.backends.contract import Session
from multiedge.backends.stages import load_backend, open_part
from multiedge.errors import MultiedgeError
from multiedge.executors.flow.routes import Routes
from multiedge.executors.flow.stage_loop import StageLoop
from multiedge.executors.workers.board import Board
from multiedge.executors.workers.emulation import Pace, pin
from multiedge.fleet import Device, Link
from multiedge.meters.memory import read_memory
from multiedge.transports import TRANSPORTS, rundir
from multiedge.transports.links import LinkShaper

BEAT_S = 0.1
WAIT_S = 1.0


class Control:
    """The line to the one who started this process; a thread of its own reads it and shows that we live."""

    def __init__(self, fd: int, directory: Path) -> None:
        self._socket = socket.socket(fileno=fd)
        self._directory = directory
        self._rest = b""
        self.commands: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def first(self) -> dict[str, Any]:
        """The first command; waits for it."""
        while self.commands.empty():
            self._read()
        return self.commands.get()

    def watch(self, board: Board, wake: Any) -> None:
        """From now on commands are queued as they come, and `wake` is called for each."""
        threading.Thread(target=self._watch, args=(board, wake), name="control", daemon=True).start()

    def say(self, **words: Any) -> None:
        self._socket.sendall(json.dumps(words).encode() + b"\n")

    def _watch(self, board: Board, wake: Any) -> None:
        while True:
            board.beat(time.monotonic(), read_memory())
            if select.select([self._socket], [], [], BEAT_S)[0]:
                self._read()
                wake()

    def _read(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            rundir.remove(self._directory)
            os._exit(0)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if command["do"] == "stop":
                os._exit(0)
            self.commands.put(command)


class Worker:
    """Carries out commands between the steps of the stage loop."""

    def __init__(self, control: Control, directory: Path, hello: Mapping[str, Any]) -> None:
        self._control = control
        device = {**hello["device"], "power": None}
        self._device = Device(**device)
        self._options = hello["session"]
        self._speed = float(hello["speed"])
        pin(hello["cores"])
        board = Board(directory, self._device.name)
        self._pace = Pace(self._speed * float(hello["factor"]))
        endpoint = TRANSPORTS.load(hello["transport"])(directory, self._device.name)
        shaper = LinkShaper(self._device.name, {peer: Link(**link) for peer, link in hello["links"].items()}, hello["seed"])
        self._loop = StageLoop(
            self._device.name,
            endpoint,
            shaper,
            board,
            self._pace,
            caller=hello["caller"],
            micro_batch=hello["micro_batch"],
            record=hello["record"],
        )
        self._sessions: dict[str, Session] = {}
        control.watch(board, endpoint.wake)

    def work(self) -> None:
        """Until the process is told to end."""
        while True:
            try:
                while True:
                    self._carry_out(self._control.commands.get_nowait())
            except Empty:
                self._loop.step(WAIT_S)

    def _carry_out(self, command: Mapping[str, Any]) -> None:
        try:
            getattr(self, f"_do_{command['do']}")(command)
        except MultiedgeError as error:
            self._control.say(did="failed", do=command["do"], error=str(error))
        except MemoryError:
            self._control.say(did="failed", do=command["do"], error="out of memory")

    def _do_configure(self, command: Mapping[str, Any]) -> None:
        routes = Routes.from_json(command["routes"])
        stages = routes.stages_on(self._device.name)
        loads = self._open(command["directory"], routes, stages)
        for path in set(self._sessions) - {os.path.join(command["directory"], routes.parts[stage].file) for stage in stages}:
            self._sessions.pop(path).close()
        sessions = {stage: self._sessions[os.path.join(command["directory"], routes.parts[stage].file)] for stage in stages}
        self._loop.configure(command["epoch"], routes, sessions)
        self._control.say(did="configured", epoch=command["epoch"], loads=loads)

    def _do_prepare(self, command: Mapping[str, Any]) -> None:
        routes = Routes.from_json(command["routes"])
        loads = self._open(command["directory"], routes, routes.stages_on(self._device.name))
        self._control.say(did="prepared", loads=loads)

    def _open(self, directory: str, routes: Routes, stages: tuple[int, ...]) -> list[list[float]]:
        backend, loads = load_backend(self._device.backend, self._options), []
        for stage in stages:
            path = os.path.join(directory, routes.parts[stage].file)
            if path not in self._sessions:
                begin = time.monotonic()
                self._sessions[path] = open_part(backend, Path(path), self._device)
                loads.append([stage, begin, time.monotonic()])
        return loads

    def _do_speed(self, command: Mapping[str, Any]) -> None:
        self._pace.speed = self._speed * float(command["factor"])

    def _do_link(self, command: Mapping[str, Any]) -> None:
        link = Link(**command["link"])
        self._loop.shaper.change(command["peer"], link)
        self._loop.mailbox.restore(command["peer"], link, time.monotonic())


def main(directory: str, fd: str) -> None:
    # A group of our own: Ctrl-C goes to the one who started us, and a stopped worker is not left behind an ended parent.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = Control(int(fd), Path(directory))
    Worker(control, Path(directory), control.first()).work()


if __name__ == "__main__":
    main(*sys.argv[1:])
