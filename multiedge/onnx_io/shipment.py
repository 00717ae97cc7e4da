"""A plan's folder as it is sent to other machines: its record, and which file each digest in it stands for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from multiedge.network.records import ByteRange, PlanFile, PlanPart, PlanRecord
from multiedge.onnx_io.manifest import to_json
from multiedge.onnx_io.weights import is_external, reference
from multiedge.plan import LINKED, Manifest, Part

_READ_BYTES = 1 << 20
_KNOWN: dict[tuple[int, int, int, int, int, int | None], str] = {}


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
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = dict(zip(names, pool.map(lambda name: digest_of_bytes(folder / name), names), strict=True))
        parts = tuple(
            PlanPart(part.stage, part.devices, tuple(_file(folder, part, name, digests[name], pool) for name in part.files))
            for part in manifest.parts
        )
    return Shipment(PlanRecord(_manifest_text(manifest), parts), {digest: folder / name for name, digest in digests.items()})


def digest_of_bytes(path: Path, offset: int = 0, length: int | None = None) -> str:
    """SHA-256 of [offset, offset + length) of a file, by default of all of it.

    Digests are kept while the process lasts, by the file's inode, size and time: a new plan of a run links the same weights.
    """
    status = path.stat()
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, offset, length)
    if key not in _KNOWN:
        digest = hashlib.sha256()
        left = status.st_size - offset if length is None else length
        with path.open("rb") as file:
            file.seek(offset)
            while left and (piece := file.read(min(left, _READ_BYTES))):
                digest.update(piece)
                left -= len(piece)
        _KNOWN[key] = digest.hexdigest()
    return _KNOWN[key]


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


def _file(folder: Path, part: Part, name: str, digest: str, pool: Executor) -> PlanFile:
    path = folder / name
    is_shared = part.files[name].startswith(LINKED)
    return PlanFile(name, path.stat().st_size, digest, _ranges(folder, part, path, pool) if is_shared else ())


def _ranges(folder: Path, part: Part, path: Path, pool: Executor) -> tuple[ByteRange, ...]:
    """The ranges of the file that the part's tensors are in, ascending."""
    proto = onnx.load(str(folder / part.file), load_external_data=False)
    places = [reference(tensor, folder) for tensor in proto.graph.initializer if is_external(tensor)]
    target = path.resolve()
    spans = sorted({(place.offset, place.length) for place in places if place.file == target and place.length})
    digests = pool.map(lambda span: digest_of_bytes(path, *span), spans)
    return tuple(ByteRange(*span, digest) for span, digest in zip(spans, digests, strict=True))
