"""A session whose runtime is in a process of another interpreter."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from multiedge.backends.contract import Array, Provider, Session, Tensors
from multiedge.backends.foreign import serve
from multiedge.backends.foreign.environment import Environment, foreign_environment
from multiedge.errors import ModelError, did_you_mean
from multiedge.fleet import Device

SERVE = Path(serve.__file__)
END_S = 5.0
"""How long a process may take to end when its pipe is closed."""


@dataclass(frozen=True)
class Adapter:
    """A runtime in another interpreter: `file` has its `convert` and `open_model`, as `serve` describes them."""

    runtime: str
    file: Path
    environment: Environment

    def convert(self, source: Path, target: Path, model: Path | None = None) -> None:
        """Writes `target`. ModelError with the runtime's reason and `model`, of which `source` was made."""
        process = _Process(self, "convert", str(source.resolve()), str(target.resolve()))
        try:
            process.receive(model or source, "cannot convert this file")
        finally:
            process.close()

    def open(self, path: Path, device: Device | None) -> ForeignSession:
        """A session with the device's threads. ModelError if the runtime cannot load the file."""
        if not path.is_file():
            raise ModelError(f"{path}: no such model file; write the plan's parts again or correct the path")
        process = _Process(self, "open", str(path.resolve()), str(device.threads if device else 1))
        try:
            header, _ = process.receive(path, "cannot load this file")
        except BaseException:
            process.close()
            raise
        return ForeignSession(process, path, tuple(header["inputs"]), tuple(header["outputs"]))


class ForeignSession:
    """Sends inputs to the process and takes its outputs, one run at a time. A batch is never joined."""

    batch_is_free = False

    def __init__(self, process: _Process, path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        self._process, self.path = process, path
        self.inputs, self.outputs = inputs, outputs
        self.provider = Provider(f"CPU, Python {process.adapter.environment.python}")

    def run(self, tensors: Tensors) -> dict[str, Array]:
        missing = [name for name in self.inputs if name not in tensors]
        if missing:
            raise ModelError(f"{self.path}: input '{missing[0]}' was not given{did_you_mean(missing[0], tensors)}")
        self._process.send({name: tensors[name] for name in self.inputs})
        _, arrays = self._process.receive(self.path, "cannot run")
        return arrays

    def close(self) -> None:
        """Ends the process; the session cannot be used afterwards."""
        self._process.close()


class _Process:
    """A process of `serve` with pipes to it; what it prints is kept for an error."""

    def __init__(self, adapter: Adapter, *words: str) -> None:
        self.adapter = adapter
        python = adapter.environment.set_up()
        self._printed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self._process = subprocess.Popen(
            [str(python), "-I", str(SERVE), str(adapter.file), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env=foreign_environment(),
        )

    def send(self, arrays: Tensors) -> None:
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            raise ModelError(f"{self.adapter.runtime}: the session was closed")
        try:
            serve.write_message(self._process.stdin, {}, dict(arrays))
        except BrokenPipeError as error:
            raise ModelError(f"{self.adapter.runtime}: its process has ended: {self._last()}") from error

    def receive(self, path: Path, what: str) -> tuple[dict[str, Any], dict[str, Any]]:
        assert self._process.stdout is not None
        try:
            message = serve.read_message(self._process.stdout)
        except ValueError:  # it ended in the middle of a message
            message = None
        if message is None:
            raise ModelError(f"{path}: {self.adapter.runtime}: its process has ended: {self._last()}")
        if "error" in message[0]:
            raise ModelError(f"{path}: {self.adapter.runtime} {what}: {message[0]['error']}")
        return message

    def _last(self) -> str:
        """The last line that the process has printed, or how it ended."""
        self._printed.seek(0)
        lines = self._printed.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.wait(END_S)}"

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                with suppress(BrokenPipeError):  # what it had not read yet is lost with it
                    pipe.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._printed.close()


def _check(session: ForeignSession) -> Session:
    """For the type checker: the class satisfies the contract."""
    return session
