"""The files that hold the weights of models that are written: links to the original ones, or copies."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiedge.errors import ModelError, PlanError
from multiedge.files import replacing
from multiedge.onnx_io.manifest import digest_of, fingerprint, named, new_digest
from multiedge.onnx_io.weights import Reference, is_external, refer

ALIGNMENT = 4096
"""Copied weights begin at multiples of this, so that a runtime can map them."""

SHORTENED = "the weights file ended while it was being copied; write the parts again"

_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class LinkedWeights:
    """Hard links to the files that hold the weights: `names` by original file."""

    folder: Path
    names: Mapping[Path, str]
    kind: str = "linked"

    def place(self, name: str, part: Any, references: Mapping[str, Reference]) -> dict[str, str]:
        """Writes the model `part` as `name.onnx`; returns the digest of each file that it needs."""
        used = set()
        for tensor in part.graph.initializer:
            if is_external(tensor):
                place = references[tensor.name]
                refer(tensor, self.names[place.file], place.offset, place.length)
                used.add(self.names[place.file])
        digest = _save(self.folder, name, part)
        return {f"{name}.onnx": digest, **{file: fingerprint(self.folder / file) for file in sorted(used)}}


@dataclass(frozen=True)
class CopiedWeights:
    """One weights file per part, with that part's bytes alone; tensors that share their bytes are stored once."""

    folder: Path
    kind: str = "copied"

    def place(self, name: str, part: Any, references: Mapping[str, Reference]) -> dict[str, str]:
        """As that of LinkedWeights."""
        file = f"{name}.weights"
        offsets: dict[Reference, int] = {}
        end = 0
        for tensor in part.graph.initializer:
            if is_external(tensor):
                source = references[tensor.name]
                if source not in offsets:
                    offsets[source] = end
                    end = -(-(end + source.length) // ALIGNMENT) * ALIGNMENT
                refer(tensor, file, offsets[source], source.length)
        digests = {f"{name}.onnx": _save(self.folder, name, part)}
        if offsets:
            digests[file] = _copy(self.folder / file, offsets)
        return digests


WeightFiles = LinkedWeights | CopiedWeights


def linked_or_copied(folder: Path, places: Iterable[Reference]) -> WeightFiles:
    """Hard links in the folder to the files of these places; where the file system has none, copies of the bytes."""
    files = sorted({place.file for place in places})
    names = {file: f"weights_{number}.linked" for number, file in enumerate(files, start=1)}
    try:
        for file, name in names.items():
            os.link(file, folder / name)
    except OSError:
        # Another file system, or one without hard links: the bytes must be brought here.
        for name in names.values():
            (folder / name).unlink(missing_ok=True)
        return CopiedWeights(folder)
    return LinkedWeights(folder, names)


def _save(folder: Path, name: str, part: Any) -> str:
    raw = part.SerializeToString(deterministic=True)
    path = folder / f"{name}.onnx"
    with replacing(path, error=PlanError, sync=False) as file:
        file.write(raw)
    return digest_of(path)


def _copy(path: Path, offsets: Mapping[Reference, int]) -> str:
    """Copies each range to its offset; returns the digest of the whole, made of the same bytes on their way through."""
    digest, at = new_digest(), 0
    # One buffer that stays in the processor's cache: mapping the file instead costs a page fault per few pages.
    with replacing(path, error=PlanError, sync=False) as target, memoryview(bytearray(_BUFFER_BYTES)) as buffer:
        for source, offset in offsets.items():
            gap = bytes(offset - at)
            digest.update(gap)
            target.write(gap)
            with source.file.open("rb", buffering=0) as file:
                file.seek(source.offset)
                for piece in _read_in_parts(file, source.length, buffer):
                    digest.update(piece)
                    target.write(piece)
            at = offset + source.length
    return named(digest)


def _read_in_parts(file: io.FileIO, length: int, buffer: memoryview) -> Iterator[memoryview]:
    """The next `length` bytes of `file`, as much as `buffer` holds at a time."""
    while length:
        count = file.readinto(buffer[: min(length, len(buffer))])
        if not count:
            raise ModelError(SHORTENED)
        yield buffer[:count]
        length -= count
