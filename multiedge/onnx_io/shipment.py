"""A plan's folder as it is sent to other machines: its record, and which file each digest in it stands for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from multiedge.network.client import sha256_of
from multiedge.network.records import ByteRange, PlanFile, PlanPart, PlanRecord
from multiedge.onnx_io.manifest import to_json
from multiedge.onnx_io.weights import is_external, reference
from multiedge.plan import LINKED, Manifest, Part


@dataclass(frozen=True)
class Shipment:
    """What a hub gets of a plan.

    Attributes:
        record: The plan; it names no path of this machine.
        files: The file of each SHA-256 in the record.
    """

    record: PlanRecord
    files: Mapping[str, Path]

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.files.values())


def shipment_of(manifest: Manifest) -> Shipment:
    """The plan of a folder as it is sent.

    Of weights that parts share with the whole model, the record has the range of each tensor that a part reads. Tensors are
    ranges of their own, so that plans which cut the model at other places share them.

    Args:
        manifest: What `read_runnable` read.

    Returns:
        The Shipment; equal plans of one model have equal records, on whichever machine.
    """
    folder = Path(manifest.directory)
    names = dict.fromkeys(name for part in manifest.parts for name in part.files)
    digests = {name: sha256_of(folder / name) for name in names}
    ranges: dict[tuple[Path, int, int], ByteRange] = {}
    parts = tuple(
        PlanPart(part.stage, part.devices, tuple(_plan_file(folder, part, name, digests[name], ranges) for name in part.files))
        for part in manifest.parts
    )
    return Shipment(PlanRecord(_manifest_text(manifest), parts), {digest: folder / name for name, digest in digests.items()})


def _manifest_text(manifest: Manifest) -> str:
    """plan.json without what holds on this machine alone: the model's path, times of files, and the profile."""
    parts = tuple(
        replace(each, files={name: _portable(known) for name, known in each.files.items()}) for each in manifest.parts
    )
    plan = replace(manifest.plan, solve_s=0.0) if manifest.plan else None
    return json.dumps(to_json(replace(manifest, model=Path(manifest.model).name, parts=parts, profile="", plan=plan)))


def _portable(known: str) -> str:
    """A digest as it is; of a linked file the size, and 0 for the time."""
    return f"{known.rpartition(':')[0]}:0" if known.startswith(LINKED) else known


def _plan_file(folder: Path, part: Part, name: str, digest: str, ranges: dict[tuple[Path, int, int], ByteRange]) -> PlanFile:
    path = folder / name
    is_shared = part.files[name].startswith(LINKED)
    return PlanFile(name, path.stat().st_size, digest, _ranges(folder, part, path, ranges) if is_shared else ())


def _ranges(folder: Path, part: Part, path: Path, known: dict[tuple[Path, int, int], ByteRange]) -> tuple[ByteRange, ...]:
    """The ranges of the file that the part's tensors are in, ascending; `known` keeps digests for other parts."""
    proto = onnx.load(str(folder / part.file), load_external_data=False)
    places = [reference(tensor, folder) for tensor in proto.graph.initializer if is_external(tensor)]
    target = path.resolve()
    spans = sorted({(place.offset, place.length) for place in places if place.file == target and place.length})
    with path.open("rb") as file:
        for offset, length in spans:
            if (path, offset, length) not in known:
                file.seek(offset)
                known[path, offset, length] = ByteRange(offset, length, hashlib.sha256(file.read(length)).hexdigest())
    return tuple(known[path, offset, length] for offset, length in spans)
