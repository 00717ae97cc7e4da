"""The inputs of --inputs kept beside what they are for: they calibrate int8, and its agreement is measured on them."""

from __future__ import annotations

import argparse
from pathlib import Path

from multiedge.backends.boundaries import keep_boundaries, run_stages
from multiedge.backends.conversion.inputs import PartInputs, keep_inputs
from multiedge.backends.stages import CONVERTED
from multiedge.commands import _options
from multiedge.onnx_io import read_manifest
from multiedge.onnx_io.items import model_items, whole_items


def keep_given(args: argparse.Namespace) -> None:
    """Keeps the given inputs beside the model, or for a folder of parts what each part gets when the model runs on them."""
    path = Path(args.model)
    if not path.is_dir():
        items = model_items(path, args.inputs)
        keep_inputs(path, path.parent / CONVERTED, PartInputs(tuple(items), _options.read_labels(args, len(items))))
        return
    manifest = read_manifest(path)
    items = whole_items(manifest, args.inputs)
    keep_boundaries(manifest, run_stages(manifest, items), _options.read_labels(args, len(items)))
