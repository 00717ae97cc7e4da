"""OpenVINO: Intel's runtime, for CPUs so far.

It opens its own format, `.xml` with the weights in a `.bin` file beside it: those are mapped, while an ONNX file is held in
memory twice until it is compiled. Three settings differ from its defaults: numbers are float32, since a CPU with units for
bfloat16 or float16 would be used with these without being asked; threads are those of the device; and they are not bound to
cores, since stages share them.

Nothing of the runtime is imported before it is used, so that options and declarations can be read without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from multiedge.backends.contract import Backend, NodeTimer, Tensors
from multiedge.errors import MissingDependencyError
from multiedge.fleet import Device
from multiedge.profile import MemoryUse

if TYPE_CHECKING:
    from multiedge.backends.openvino.session import OpenVinoSession


@dataclass(frozen=True)
class OpenVinoBackend(Backend):
    """Opens `.xml` files, and converts ONNX files to them, on a device's threads.

    `precision` is what the CPU computes with; one that it has no units for is refused. int8 is made with calibration inputs by
    NNCF. `denormals` is whether the smallest numbers are kept; without them it may be faster.
    """

    formats = (".xml",)
    precisions = ("float32", "bfloat16", "float16", "int8")
    tolerances = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}  # noqa: RUF012
    approximate = ("int8",)

    precision: Literal["float32", "bfloat16", "float16", "int8"] = "float32"
    denormals: bool = True

    @property
    def version(self) -> str:
        try:
            return metadata.version("openvino")
        except metadata.PackageNotFoundError:
            raise MissingDependencyError("openvino", extra="openvino") from None

    def open(self, path: Path, device: Device | None = None) -> OpenVinoSession:
        from multiedge.backends.openvino.session import open_session

        return open_session(self, path, device)

    def convert(self, source: Path, target: Path) -> None:
        """Writes `target` and its `.bin`, with the weights as they are: but for int8, `precision` is one of the computation."""
        self.convert_calibrated(source, target, ())

    def convert_calibrated(self, source: Path, target: Path, inputs: Sequence[Tensors]) -> None:
        if self.is_approximate:
            from multiedge.backends.openvino.quantisation import convert_int8

            convert_int8(source, target, inputs)
            return
        from multiedge.backends.openvino.session import convert

        convert(source, target)

    def memory_use(self) -> MemoryUse:
        """Measured: weights exist once, since what was mapped to pack them goes back to the system; beside activations there
        are gaps between them, and what is made for each node."""
        return MemoryUse(working_copies=2)

    def node_timer(self) -> NodeTimer | None:
        """None for int8: quantisation adds nodes, and fuses others than those of the model."""
        if self.is_approximate:
            return None
        from multiedge.backends.openvino.node_times import OpenVinoNodeTimer

        return OpenVinoNodeTimer(self)
