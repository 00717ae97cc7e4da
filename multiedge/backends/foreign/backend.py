"""What backends share whose runtime is in an environment of another Python."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from multiedge.backends.contract import Backend
from multiedge.backends.foreign.session import Adapter, ForeignSession
from multiedge.fleet import Device


@dataclass(frozen=True)
class ForeignBackend(Backend):
    """`python` is an interpreter of the Python that the runtime needs ('': one that is found here)."""

    pinned: ClassVar[str]
    """The version of the runtime that is set up."""

    python: str = ""

    @property
    def version(self) -> str:
        return self.pinned

    @property
    @abstractmethod
    def adapter(self) -> Adapter:
        """The runtime in its environment."""

    @property
    def is_set_up(self) -> bool:
        return self.adapter.environment.executable.exists()

    def prepare(self) -> None:
        self.adapter.environment.set_up()

    def open(self, path: Path, device: Device | None = None) -> ForeignSession:
        return self.adapter.open(path, device)
