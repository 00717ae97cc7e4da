"""The process of one device: `python -m multiedge.executors.workers.worker DIRECTORY FD [registered-functions]`.

Commands come over the socket FD. When it closes, the process that started this one has gone: what the run shares is removed
and the worker ends, even in the midst of a computation. With the third argument, transforms of workflows call functions that
installed packages register, and no others.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from multiedge.backends.composed.functions import allow_registered_only
from multiedge.backends.contract import Session
from multiedge.backends.heap import memory_returned
from multiedge.backends.stages import open_on
from multiedge.errors import ChangedError, MultiedgeError
from multiedge.executors.flow.routes import Routes
from multiedge.executors.flow.stage_loop import StageLoop
from multiedge.executors.workers.board import Board
from multiedge.executors.workers.emulation import Pace, pin
from multiedge.executors.workers.messages import (
    Command,
    Configure,
    Configured,
    Failed,
    Hello,
    Load,
    Prepare,
    Prepared,
    Reply,
    SetClock,
    SetLink,
    SetSpeed,
    Stop,
    command_decoder,
    encode,
)
from multiedge.executors.workers.process import REGISTERED_FUNCTIONS
from multiedge.meters.memory import read_memory
from multiedge.meters.nvml import GpuMemory, gpu_memory_of
from multiedge.transports import TRANSPORTS, rundir
from multiedge.transports.links import LinkShaper
from multiedge.transports.message import Endpoint

BEAT_S = 0.1
WAIT_S = 1.0
PIECE_BYTES = 1 << 16


class Control:
    """The connection to the process that started this one; a thread reads it, and gives signs of life."""

    def __init__(self, fd: int, directory: Path) -> None:
        self._socket = socket.socket(fileno=fd)
        self._directory = directory
        self._decoder = command_decoder()
        self.commands: SimpleQueue[Command] = SimpleQueue()

    def first(self) -> Hello:
        """Waits for the first command."""
        while self.commands.empty():
            self._read()
        hello = self.commands.get()
        if not isinstance(hello, Hello):
            raise TypeError(f"expected Hello first, got {type(hello).__name__}")
        return hello

    def watch(self, board: Board, endpoint: Endpoint, gpu: GpuMemory | None = None) -> None:
        """From now on commands are queued as they come, and the endpoint is woken for each."""
        threading.Thread(target=self._watch, args=(board, endpoint, gpu), name="control", daemon=True).start()

    def reply(self, reply: Reply) -> None:
        self._socket.sendall(encode(reply))

    def _watch(self, board: Board, endpoint: Endpoint, gpu: GpuMemory | None) -> None:
        while True:
            board.beat(endpoint.clock(), read_memory(), gpu.sample() if gpu else None)
            if select.select([self._socket], [], [], BEAT_S)[0]:
                self._read()
                endpoint.wake()

    def _read(self) -> None:
        try:
            data = self._socket.recv(PIECE_BYTES)
        except OSError:
            data = b""
        if not data:
            rundir.remove(self._directory)
            os._exit(0)
        for command in self._decoder.feed(data):
            if isinstance(command, Stop):
                os._exit(0)
            self.commands.put(command)


class Worker:
    """Carries out commands between the steps of the stage loop."""

    def __init__(self, control: Control, directory: Path, hello: Hello) -> None:
        self._control, self._hello, self._device = control, hello, hello.device
        pin(hello.cores)
        board = Board(directory, self._device.name, hello.memory_limit_bytes)
        endpoint = TRANSPORTS.load(hello.transport)(directory, self._device.name)
        shaper = LinkShaper(self._device.name, hello.links, hello.seed)
        self._clock = endpoint.clock
        self._pace = Pace(hello.speed * hello.factor, self._clock)
        self._loop = StageLoop(
            self._device.name,
            endpoint,
            shaper,
            board,
            self._pace,
            caller=hello.caller,
            micro_batch=hello.micro_batch,
            record=hello.record,
            clock=self._clock,
        )
        self._sessions: dict[str, Session] = {}
        control.watch(board, endpoint, gpu_memory_of(self._device))

    def step(self, timeout_s: float) -> None:
        """Carries out the commands that have come, then runs at most one stage, after waiting for up to `timeout_s`."""
        while not self._control.commands.empty():
            self._carry_out(self._control.commands.get())
        self._loop.step(timeout_s)

    def _carry_out(self, command: Command) -> None:
        match command:
            case Prepare() | Configure():
                self._control.reply(self._load(command))
            case SetSpeed(factor):
                self._pace.speed = self._hello.speed * factor
            case SetLink():
                self._set_link(command)
            case SetClock(offset_s):
                self._clock.offset_s = offset_s

    def _load(self, command: Prepare | Configure) -> Reply:
        try:
            loads = self._open(command.directory, command.routes)
            if isinstance(command, Prepare):
                return Prepared(loads)
            self._configure(command)
            return Configured(command.epoch, loads, read_memory().resident_bytes)
        except ChangedError as error:
            return Failed("changed", str(error))
        except MultiedgeError as error:
            return Failed("load", str(error))
        except MemoryError:
            return Failed("memory", "out of memory while loading its stages")

    def _configure(self, command: Configure) -> None:
        routes = command.routes
        paths = {stage: self._path(command.directory, routes, stage) for stage in routes.stages_on(self._device.name)}
        for path in self._sessions.keys() - set(paths.values()):
            self._sessions.pop(path).close()
        sessions = {stage: self._sessions[path] for stage, path in paths.items()}
        self._loop.configure(command.epoch, routes, sessions, command.alone)

    def _open(self, directory: str, routes: Routes) -> tuple[Load, ...]:
        """Loads the device's stages that are not loaded yet."""
        loads = []
        for stage in routes.stages_on(self._device.name):
            path = self._path(directory, routes, stage)
            if path not in self._sessions:
                begin = self._clock()
                with memory_returned():
                    opened = open_on(self._device, self._hello.backends, Path(directory), routes.parts[stage])
                self._sessions[path] = opened.session
                loads.append(Load(stage, begin, self._clock(), replace(opened.ran, stage=stage)))
        return tuple(loads)

    def _path(self, directory: str, routes: Routes, stage: int) -> str:
        return os.path.join(directory, routes.parts[stage].file)

    def _set_link(self, command: SetLink) -> None:
        if command.source == self._device.name:
            self._loop.shaper.change(command.target, command.link)
        else:
            self._loop.mailbox.restore(command.source, command.link, self._clock())


def main(directory: str, fd: str, functions: str = "") -> None:
    if functions == REGISTERED_FUNCTIONS:
        allow_registered_only()
    # A group of its own: Ctrl-C goes to the process that started this one, and a stopped worker is not left behind an ended
    # parent.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = Control(int(fd), Path(directory))
    worker = Worker(control, Path(directory), control.first())
    while True:
        worker.step(WAIT_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
