"""Plans brought to the nodes of a hub: files uploaded, the deployment made, and awaited until every stage is loaded."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from multiedge.errors import NetworkError, PipelineError
from multiedge.network.client import HubClient
from multiedge.network.records import Deployment, Expected, ModelRecord, PlanRow
from multiedge.onnx_io.shipment import Shipment, digest_of_bytes, shipment_of
from multiedge.plan import CALLER, Manifest

Progress = Callable[[str, float], None]

LOOK_S = 0.2
FAILED_S = 3.0
"""How long a deployment must be failed before that counts: nodes try again."""
AWAY_S = 10.0
"""How long the hub may be away while the deployment is awaited."""


@dataclass(frozen=True)
class RowParts:
    """A row of the table with its parts."""

    name: str
    kind: str
    expected: Expected
    manifest: Manifest
    is_approximate: bool = False

    def record(self, digest: str) -> PlanRow:
        """The row as the hub gets it, with the digest of its plan."""
        parts, moves = self.manifest.parts, self.manifest.transfers
        nodes = tuple(dict.fromkeys(name for part in parts for name in part.devices))
        first = {move.target for move in moves if move.source == CALLER}
        last = {move.source for move in moves if move.target == CALLER}
        return PlanRow(
            self.name,
            self.kind,
            digest,
            self.expected,
            nodes,
            tuple(name for name in nodes if any(name in part.devices for part in parts if part.stage in first)),
            tuple(name for name in nodes if any(name in part.devices for part in parts if part.stage in last)),
            self.is_approximate,
        )


@dataclass(frozen=True)
class Deployed:
    """What came of a deployment: its rows, the first of which is its plan, bytes that were sent to the hub, and the seconds of
    each step."""

    deployment: Deployment
    rows: tuple[RowParts, ...]
    sent_bytes: int
    seconds: dict[str, float]


def bring(
    client: HubClient,
    rows: Sequence[RowParts],
    name: str,
    timeout_s: float,
    progress: Progress,
    text: Mapping[str, Path] = MappingProxyType({}),
) -> Deployed:
    """Uploads what the pool does not have of some plans, deploys them, and waits until all of their stages are loaded.

    Args:
        client: The hub.
        rows: The plans, the most important first.
        name: That of the deployment.
        timeout_s: How long to wait for the nodes.
        progress: Called with the step and the share of it that is done.
        text: Of a language model, the files of its tokenizer by name.

    Returns:
        What came of it.

    Raises:
        NetworkError: If the hub refuses.
        PipelineError: If a node fails, or the time is over; the deployment goes on.
    """
    start = time.monotonic()
    progress("computing digests", 0.0)
    shipments = [shipment_of(row.manifest) for row in rows]
    digests = {file: digest_of_bytes(path) for file, path in text.items()}
    sent = _upload(client, shipments, progress) + sum(client.put(path, digests[file]) for file, path in text.items())
    uploaded = time.monotonic()
    first = rows[0].manifest
    of_model = [each for row, each in zip(rows, shipments, strict=True) if row.manifest.model_hash == first.model_hash]
    client.put_model(_model(first, of_model))
    records = tuple(row.record(each.record.digest) for row, each in zip(rows, shipments, strict=True))
    client.deploy(Deployment(name, records[0].plan, Path(first.model).name, rows[0].expected, rows=records, text=digests))
    deployment = _await_ready(client, name, timeout_s, progress)
    seconds = {"upload_s": uploaded - start, "ready_s": time.monotonic() - uploaded}
    return Deployed(deployment, tuple(rows), sent, seconds)


def _upload(client: HubClient, shipments: Sequence[Shipment], progress: Progress) -> int:
    """Bytes that were sent; plans share weights, which are sent once."""
    files = {digest: path for shipment in shipments for digest, path in shipment.files.items()}
    total, sent = max(1, sum(path.stat().st_size for path in files.values())), 0

    def count(nbytes: int) -> None:
        nonlocal sent
        sent += nbytes
        progress("uploading", sent / total)

    return sum(client.put_plan(shipment.record, shipment.files, count) for shipment in shipments)


def _model(manifest: Manifest, shipments: Sequence[Shipment]) -> ModelRecord:
    """The model in the pool: the files of weights that the parts of its plans share."""
    parts = (part for shipment in shipments for part in shipment.record.parts)
    files = {file.name: file.sha256 for part in parts for file in part.files if file.ranges}
    name = "".join(char if (char.isalnum() and char.isascii()) or char in "._-" else "_" for char in Path(manifest.model).stem)
    shapes = {name: list(shape) for name, shape in manifest.input_shapes.items()}
    metadata = {"inputs": list(manifest.inputs), "outputs": list(manifest.outputs), "input_shapes": shapes}
    return ModelRecord(name.strip("._-")[:63] or "model", manifest.model_hash, files, metadata)


def _await_ready(client: HubClient, name: str, timeout_s: float, progress: Progress) -> Deployment:
    """The deployment once it is ready. A hub that begins anew in between does no harm."""
    deadline, failed_s, away_s, shown = time.monotonic() + timeout_s, math.inf, math.inf, ""
    while True:
        now = time.monotonic()
        try:
            deployment, away_s = client.deployment(name), math.inf
        except NetworkError as error:
            away_s = min(away_s, now)
            if error.status is not None or now - away_s > AWAY_S:
                raise
            time.sleep(LOOK_S)
            continue
        if deployment.phase == "ready":
            return deployment
        failed_s = min(failed_s, now) if deployment.phase == "failed" else math.inf
        if now - failed_s > FAILED_S or now > deadline:
            verb = "failed" if deployment.phase == "failed" else f"is not ready after {timeout_s:g} s"
            raise PipelineError(f"deployment '{name}' {verb}: {deployment.reason}; nodes go on trying, see: multiedge fleet")
        progress(f"{deployment.phase}: {deployment.reason}", _share(deployment))
        if deployment.phase != shown and not sys.stderr.isatty():
            print(f"{name}: {deployment.phase}: {deployment.reason}", file=sys.stderr, flush=True)
        shown = deployment.phase
        time.sleep(LOOK_S)


def _share(deployment: Deployment) -> float:
    """The share of all files that nodes have."""
    total = sum(place.held.total_bytes or 0 for place in deployment.places)
    return sum(place.held.done_bytes or 0 for place in deployment.places) / total if total else 0.0
