"""Parts with a runtime and a precision for each device, chosen at a limited loss of accuracy; made once and kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

from imagenet_bench.index import read_index
from imagenet_bench.preprocess import read_picture
from multiedge.backends.loading import load_backend
from multiedge.errors import MultiedgeError
from multiedge.files import write_text
from multiedge.fleet import REFERENCE_BACKEND
from multiedge.formats.devices import read_fleet
from multiedge.onnx_io import read_graph, read_manifest, write_parts
from multiedge.plan import Manifest
from multiedge.run import plan_model
from multiedge.variants.choice import choose_variants
from multiedge.variants.costs import Variant
from multiedge.variants.measuring import converted_parts
from multiedge.variants.task import Task


def variant_parts(model: Path, devices: Path, index: Path, strategy: str, limit: float, variants: str) -> Manifest:
    """The parts of the best plan that loses at most `limit` of the right answers on the pictures of the index.

    `variants` are BACKEND:PRECISION by commas. int8 is calibrated with the same pictures, without their classes.
    """
    graph = read_graph(model)
    version = load_backend(REFERENCE_BACKEND).version
    # A plan names the file of its model, so the parts of one checkout are not those of another.
    what = (str(model.resolve()), graph.model_hash, devices.read_text("utf-8"), index.read_text("utf-8"))
    known = (*what, strategy, limit, variants, version)
    folder = model.parents[2] / "variants" / hashlib.sha256(repr(known).encode()).hexdigest()[:16]
    complete = folder / "complete"
    if complete.is_file():
        try:
            return read_manifest(folder)
        except MultiedgeError:  # changed since: made again
            complete.unlink()
    rows = read_index(index)
    task = Task(
        graph=graph,
        fleet=read_fleet(devices),
        items=[{graph.inputs[0]: read_picture(picture)} for picture, _ in rows],
        labels=[label for _, label in rows],
        limit=limit,
        planner=lambda profile, fleet: plan_model(profile, fleet, strategy),
        budget_s=3.0,
    )
    choice = choose_variants(task, tuple(map(Variant.parse, variants.split(","))))
    manifest = write_parts(graph, choice.best.plan, folder, profile=choice.best.profile)
    converted_parts(choice.task, choice.best, manifest)
    write_text(complete, "")
    return manifest
