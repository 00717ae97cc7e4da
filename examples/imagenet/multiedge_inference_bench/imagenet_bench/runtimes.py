"""Which runtimes besides onnxruntime can hold parts on this machine, and the algorithm file with a row for each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from multiedge.backends import BACKENDS
from multiedge.backends.contract import Backend
from multiedge.backends.conversion.ready import can_be_offline
from multiedge.backends.stages import load_backend
from multiedge.errors import MultiedgeError, one_line
from multiedge.files import write_text
from multiedge.fleet import REFERENCE_BACKEND

ALGORITHM = "algorithm-runtimes.yaml"
BENCH = "./examples/imagenet/multiedge_inference_bench"


def prepare_runtimes(cache: Path) -> tuple[list[str], dict[str, str]]:
    """Writes the algorithm file into `cache`. The values of its hyperparameter `runtimes`, and why runtimes are left out."""
    left_out = {name: reason for name in converting() if (reason := why_not(name))}
    usable = [name for name in converting() if name not in left_out]
    values = [*usable, *([", ".join([*usable[:2], REFERENCE_BACKEND])] if len(usable) > 1 else [])]
    text, path = yaml.safe_dump(algorithm(values or [REFERENCE_BACKEND]), sort_keys=False), cache / ALGORITHM
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    return values, left_out


def converting() -> list[str]:
    """Names of the runtimes for which parts are converted, and the outputs compared."""
    backends = {name: load_backend(name) for name in BACKENDS.names()}
    return [name for name, backend in backends.items() if backend.tolerances and ".onnx" not in backend.formats]


def why_not(name: str) -> str:
    """Why the runtime cannot be used here; '' if it can."""
    backend = load_backend(name)
    try:
        _ = backend.version
    except MultiedgeError as error:
        return one_line(error)
    if type(backend).prepare is not Backend.prepare:
        return "its converter has an environment of its own, which takes minutes to set up"
    if backend.offline_only and not can_be_offline():
        return "this system permits no process without a network, in which its converter must run"
    return ""


def algorithm(runtimes: list[str]) -> dict[str, Any]:
    """The content of the algorithm file: parts cut by hand, once for each value of `runtimes`."""
    grid = {"strategy": ["manual"], "fleet": ["train-efficientnet"], "runtimes": runtimes}
    module = {
        "type": "basemodel",
        "name": "ManualPipeline",
        "url": f"{BENCH}/testalgorithms/manual/basemodel.py",
        "hyperparameters": [{name: {"values": values}} for name, values in grid.items()],
    }
    model = "./.cache/imagenet/models/efficientnet_lite0/model.onnx"
    return {"algorithm": {"paradigm_type": "multiedgeinference", "initial_model_url": model, "modules": [module]}}
