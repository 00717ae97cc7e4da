"""A pool in memory that counts what it sends, and small plans for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from multiedge.errors import NetworkError
from multiedge.network.records import PlanRecord
from multiedge.onnx_io.shipment import shipment_of
from multiedge.plan import Manifest
from tests.builders.onnx_models import layers
from tests.builders.parts import split_at

PIECE_BYTES = 1000


@dataclass
class FakePool:
    """Files and plans by digest. `sent` counts bytes by digest; after `most_bytes`, connections end."""

    files: dict[str, bytes] = field(default_factory=dict)
    plans: dict[str, PlanRecord] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    requests: list[tuple[int, int]] = field(default_factory=list)
    most_bytes: float = float("inf")

    def __call__(self) -> FakePool:
        return self

    def __enter__(self) -> FakePool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def plan(self, digest: str) -> PlanRecord:
        if digest not in self.plans:
            raise NetworkError("pool: no such plan", status=404)
        return self.plans[digest]

    def read(self, digest: str, offset: int, length: int) -> Iterator[bytes]:
        if digest not in self.files:
            raise NetworkError("pool: no such file", status=404)
        self.requests.append((offset, length))
        for at in range(offset, offset + length, PIECE_BYTES):
            piece = self.files[digest][at : min(at + PIECE_BYTES, offset + length)]
            if self.sent.total() + len(piece) > self.most_bytes:
                raise NetworkError("pool: the connection ended")
            self.sent[digest] += len(piece)
            yield piece

    def put(self, manifest: Manifest) -> str:
        """Uploads a plan's folder; returns the digest of its record."""
        shipment = shipment_of(manifest)
        self.files |= {digest: path.read_bytes() for digest, path in shipment.files.items()}
        self.plans[shipment.record.digest] = shipment.record
        return shipment.record.digest


def split_layers(folder: Path, boundaries: Sequence[int], count: int = 6, width: int = 64, **options: bool) -> Manifest:
    """Parts of a chain of matrix products, each of width x width floats, whose weights are in a file beside the model."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    if not path.exists():
        onnx.save(layers(count, width), path, save_as_external_data=True, location="model.data", size_threshold=0)
    return split_at(path, boundaries, folder / "-".join(map(str, ("parts", *boundaries))), **options)
