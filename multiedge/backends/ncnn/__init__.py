"""ncnn: Tencent's runtime for phones and small computers, on CPUs so far.

It opens its own format, `.param` with the weights in a `.bin` file beside it, and a `.json` file that names the tensors. ONNX
files are converted with pnnx, a program whose package would bring PyTorch: it has an environment of its own. ncnn has no axis
for a batch: items of a batch are computed one by one. Its float16 weights and activations, the default, are turned off.

Nothing of the runtime is imported before it is used, so that options and declarations can be read without it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from multiedge.backends.contract import Backend
from multiedge.backends.foreign.environment import Environment
from multiedge.errors import MissingDependencyError
from multiedge.fleet import Device

if TYPE_CHECKING:
    from multiedge.backends.ncnn.session import NcnnSession

PYTHON = "{}.{}".format(*sys.version_info)
"""This one's version: the program itself uses none."""


@dataclass(frozen=True)
class NcnnBackend(Backend):
    """Opens `.param` files, and converts ONNX files to them, on a device's threads, in float32.

    `pnnx` is the version of the converter. `winograd` is whether convolutions of 3 x 3 are transformed, which is faster and
    rounds more.
    """

    formats = (".param",)
    tolerances = {"float32": 1e-3}  # noqa: RUF012

    pnnx: str = "20261020"
    winograd: bool = True

    @property
    def version(self) -> str:
        try:
            return metadata.version("ncnn")
        except metadata.PackageNotFoundError:
            raise MissingDependencyError("ncnn", extra="ncnn") from None

    @property
    def converter(self) -> Environment:
        """Where pnnx is."""
        return Environment("pnnx", PYTHON, (f"pnnx=={self.pnnx}",), is_alone=True)

    def prepare(self) -> None:
        self.converter.set_up()

    def open(self, path: Path, device: Device | None = None) -> NcnnSession:
        from multiedge.backends.ncnn.session import open_session

        return open_session(self, path, device)

    def convert(self, source: Path, target: Path) -> None:
        """Writes `target`, its `.bin`, and beside them the names of its tensors."""
        from multiedge.backends.ncnn.convert import convert

        convert(self.converter.set_up(), source, target)
