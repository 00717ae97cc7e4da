"""Paddle Lite: Baidu's runtime for devices, on x86-64 CPUs so far, in a process of Python 3.10.

Its models are made by X2Paddle and PaddlePaddle. An environment with all three is set up on first use, and sessions compute in
a process of it (`multiedge.backends.foreign`): each run copies inputs and outputs through a pipe. Memory of that process is not
counted.

X2Paddle reports each conversion to its maker unless it is told not to: it is told, and nothing is converted where the system
permits no process without a network. Conversions can be wrong without an error: those do not pass the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from multiedge.backends.foreign.backend import ForeignBackend
from multiedge.backends.foreign.environment import Environment
from multiedge.backends.foreign.models import state_defaults, write_names
from multiedge.backends.foreign.session import Adapter, ForeignSession
from multiedge.errors import ConfigError
from multiedge.files import temporary_folder
from multiedge.fleet import Device

VERSION, PYTHON = "2.13rc0", "3.10"
ADAPTER = Path(__file__).parent / "foreign" / "paddle_adapter.py"
PACKAGES = (
    f"paddlelite=={VERSION}",
    "x2paddle==1.6.0",
    "paddlepaddle==2.6.2",
    "onnx==1.15.0",
    "numpy==1.26.4",
    "requests==2.34.2",  # these two are not named by X2Paddle, which imports them
    "six==1.17.0",
)


@dataclass(frozen=True)
class PaddleLiteBackend(ForeignBackend):
    """Opens `.nb` files, and converts ONNX files to them, on one thread, in float32. Devices with more threads are refused.

    `python` is an interpreter of Python 3.10 ('': one that is found here).
    """

    formats = (".nb",)
    tolerances = {"float32": 1e-3}  # noqa: RUF012
    offline_only = True

    pinned = VERSION

    @property
    def adapter(self) -> Adapter:
        return Adapter("Paddle Lite", ADAPTER, Environment("paddle-lite", PYTHON, PACKAGES, self.python))

    def open(self, path: Path, device: Device | None = None) -> ForeignSession:
        if device is not None and device.threads > 1:
            raise ConfigError(
                f"device '{device.name}': backend 'paddle-lite' computes on 1 thread, and {device.threads} are stated; change"
                " its threads or its backend"
            )
        return super().open(path, device)

    def convert(self, source: Path, target: Path) -> None:
        """Writes `target`, and beside it the names of its inputs and outputs in order."""
        import onnx

        model = onnx.load(source)
        state_defaults(model)
        with temporary_folder("paddle-") as folder:
            onnx.save(model, folder / source.name)
            self.adapter.convert(folder / source.name, target, source)
        write_names(model, target)
