"""MNN: Alibaba's runtime for phones and small computers, on CPUs so far.

It opens its own format, `.mnn`. The converter's command would send a log of each conversion to its maker; the function that is
called here does not load that part of the package, and runs without a network in any case.

Nothing of the runtime is imported before it is used, so that options and declarations can be read without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from multiedge.backends.contract import Backend
from multiedge.errors import MissingDependencyError
from multiedge.fleet import Device

if TYPE_CHECKING:
    from multiedge.backends.mnn.session import MnnSession


@dataclass(frozen=True)
class MnnBackend(Backend):
    """Opens `.mnn` files, and converts ONNX files to them, on a device's threads, in float32.

    Its exponential and error functions are approximations: of DeiT-Tiny the outputs are 1.3e-4 from the reference.
    """

    formats = (".mnn",)
    tolerances = {"float32": 1e-3}  # noqa: RUF012
    offline_only = True

    @property
    def version(self) -> str:
        try:
            return metadata.version("mnn")
        except metadata.PackageNotFoundError:
            raise MissingDependencyError("mnn", extra="mnn") from None

    def open(self, path: Path, device: Device | None = None) -> MnnSession:
        from multiedge.backends.mnn.session import open_session

        return open_session(path, device)

    def convert(self, source: Path, target: Path) -> None:
        from multiedge.backends.mnn.session import convert

        convert(source, target)
