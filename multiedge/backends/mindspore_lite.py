"""MindSpore Lite: Huawei's runtime for devices, on CPUs so far, in a process of Python 3.7.

Its package is published for that Python. An environment with it is set up on first use, and sessions compute in a process of it
(`multiedge.backends.foreign`): each run copies inputs and outputs through a pipe. Memory of that process is not counted.

Its converter is wrong on some networks without an error, such as EfficientNet-Lite0: those do not pass the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from multiedge.backends.foreign.backend import ForeignBackend
from multiedge.backends.foreign.environment import Environment
from multiedge.backends.foreign.models import state_defaults, write_names
from multiedge.backends.foreign.session import Adapter
from multiedge.files import temporary_folder

VERSION, PYTHON = "2.0.0", "3.7"
ADAPTER = Path(__file__).parent / "foreign" / "mindspore_adapter.py"


@dataclass(frozen=True)
class MindSporeLiteBackend(ForeignBackend):
    """Opens `.mindir` files, and converts ONNX files to them, on a device's threads, in float32.

    `python` is an interpreter of Python 3.7 ('': one that is found here).
    """

    formats = (".mindir",)
    tolerances = {"float32": 1e-3}  # noqa: RUF012

    pinned = VERSION

    @property
    def adapter(self) -> Adapter:
        packages = (f"mindspore-lite=={VERSION}", "numpy==1.21.6")
        return Adapter("MindSpore Lite", ADAPTER, Environment("mindspore-lite", PYTHON, packages, self.python))

    def convert(self, source: Path, target: Path) -> None:
        """Writes `target`, and beside it the names of its inputs and outputs in order."""
        import onnx

        model = onnx.load(source)
        state_defaults(model)
        with temporary_folder("mindspore-") as folder:
            onnx.save(model, folder / source.name)
            self.adapter.convert(folder / source.name, target, source)
        write_names(model, target)
