"""LiteRT, formerly TensorFlow Lite: Google's runtime for phones and small computers, on CPUs so far.

It opens its own format, `.tflite`, with a `.json` file beside it that names the tensors. ONNX files are converted with onnx2tf,
which needs Python 3.12 and its own versions of onnx, onnxruntime and numpy: an environment with these is set up on first use.
Inputs and outputs keep the layout of the ONNX file: outputs that the converter has turned are turned back.

Nothing of the runtime is imported before it is used, so that options and declarations can be read without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from multiedge.backends.contract import Backend
from multiedge.backends.foreign.environment import Environment
from multiedge.errors import MissingDependencyError
from multiedge.fleet import Device
from multiedge.profile import MemoryUse

if TYPE_CHECKING:
    from multiedge.backends.litert.session import LiteRtSession

PYTHON = "3.12"
"""What onnx2tf needs from 2.0 on; for others, pip would install a version from before, which makes other files."""


@dataclass(frozen=True)
class LiteRtBackend(Backend):
    """Opens `.tflite` files, and converts ONNX files to them, on a device's threads, in float32.

    `onnx2tf` is the version of the converter, `python` an interpreter of Python 3.12 for it ('': one that is found here).
    """

    formats = (".tflite",)
    tolerances = {"float32": 1e-4}  # noqa: RUF012

    onnx2tf: str = "2.6.9"
    python: str = ""

    @property
    def version(self) -> str:
        try:
            return metadata.version("ai-edge-litert")
        except metadata.PackageNotFoundError:
            raise MissingDependencyError("ai-edge-litert", extra="litert") from None

    @property
    def converter(self) -> Environment:
        """Where onnx2tf is."""
        return Environment("onnx2tf", PYTHON, (f"onnx2tf=={self.onnx2tf}",), self.python)

    def memory_use(self) -> MemoryUse:
        return MemoryUse(weight_copies=2)  # those of the file, which is mapped, and those that XNNPACK packs

    def prepare(self) -> None:
        self.converter.set_up()

    def open(self, path: Path, device: Device | None = None) -> LiteRtSession:
        from multiedge.backends.litert.session import open_session

        return open_session(path, device)

    def convert(self, source: Path, target: Path) -> None:
        """Writes `target`, and beside it the names of its tensors."""
        from multiedge.backends.litert.convert import convert

        convert(self.converter.set_up(), source, target)
