"""The process that converts one model: `python -m multiedge.backends.conversion REQUEST`, as `ready` starts it."""

from __future__ import annotations

import sys
from pathlib import Path

from multiedge.backends.conversion.convert import convert_checked
from multiedge.backends.conversion.inputs import kept_inputs
from multiedge.backends.conversion.lifetime import end_with
from multiedge.backends.conversion.ready import request_of
from multiedge.backends.conversion.record import load_conversion
from multiedge.backends.conversion.samples import Sample
from multiedge.backends.loading import backend_of, load_backend
from multiedge.fleet import REFERENCE_BACKEND
from multiedge.onnx_io.npz import read_npz
from multiedge.onnx_io.reader import declared_graph


def main(text: str) -> None:
    """Converts, and writes the record; the record says how it ended."""
    request = request_of(text)
    end_with(request["parent"])
    backend = backend_of(request)
    conversion = load_conversion(Path(request["record"]))
    part, folder = Path(conversion.model), Path(request["folder"])
    inputs = _inputs(part, [Path(path) for path in request["inputs"]])
    kept = kept_inputs(part, folder.parent) if conversion.inputs else None
    convert_checked(backend, load_backend(REFERENCE_BACKEND), conversion, folder, inputs, kept)


def _inputs(part: Path, paths: list[Path]) -> list[Sample]:
    if not paths:
        return []
    graph = declared_graph(part)
    tensors = {name: graph.tensors[name] for name in graph.inputs}
    return [Sample(f"inputs {path.name}", read_npz(path, tensors)) for path in paths]


if __name__ == "__main__":
    main(sys.argv[1])
