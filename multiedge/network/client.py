"""Requests to a hub."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from multiedge.defaults import DEFAULT_HUB_PORT
from multiedge.errors import NetworkError
from multiedge.fleet import Fleet
from multiedge.network.as_fleet import fleet_of
from multiedge.network.encoding import decode, decode_all, encode, require_sha256
from multiedge.network.http import Counted, HubConnection
from multiedge.network.identity import Identity, join_address, parse_address, require_tls
from multiedge.network.records import (
    BlobState,
    Deployment,
    HeartbeatReply,
    HubState,
    ModelRecord,
    NodeState,
    PlanRecord,
    ResultRecord,
)
from multiedge.network.runs import RunReport

T = TypeVar("T")

_READ_BYTES = 1 << 20
UPLOAD_ATTEMPTS, UPLOAD_WAIT_S = 5, 0.1
"""How often an upload is resumed without progress, and how long to wait before; it doubles each time."""
CONFLICT = 409


class HubClient:
    """A connection to a hub, for one thread at a time; it is made on first use and again where the hub has closed it.

    Every method raises NetworkError of one line if the hub cannot be reached, refuses, or answers what is not understood.

    Args:
        address: 'HOST:PORT', or 'HOST' with the default port.
        identity: Who the caller is; None is possible on loopback only.
        timeout_s: How long to wait for the hub at each step.

    Raises:
        ConfigError: If the address is none, or is not of this machine and there is no identity.
    """

    def __init__(self, address: str, identity: Identity | None = None, *, timeout_s: float = 5.0) -> None:
        host, port = parse_address(address, "--hub", DEFAULT_HUB_PORT)
        require_tls(host, identity, "--hub")
        self.address = join_address(host, port)
        self._place = f"hub {self.address}"
        self._http = HubConnection(host, port, self._place, identity.client_context() if identity else None, timeout_s)

    def __enter__(self) -> HubClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; the next request makes another."""
        self._http.close()

    # -- nodes

    def state(self) -> HubState:
        """The hub itself."""
        return self._get(HubState, "/v1/hub")

    def heartbeat(self, state: NodeState) -> HeartbeatReply:
        """Tells the hub the state of a node. Returns what the node is to hold."""
        return decode(HeartbeatReply, self._http.call("POST", "/v1/heartbeat", encode(state)), self._place)

    def nodes(self) -> tuple[NodeState, ...]:
        """The nodes that are alive, by name."""
        return decode_all(NodeState, self._http.call("GET", "/v1/nodes"), self._place)

    def fleet(self, declared: Fleet | None = None) -> Fleet:
        """The nodes that are alive as a Fleet; see `fleet_of`."""
        return fleet_of(self.nodes(), declared, f"fleet of {self._place}")

    # -- pool

    def blob(self, sha256: str) -> BlobState:
        """What the pool has of a file."""
        answer, _ = self._http.request("HEAD", _blob_path(sha256))
        if answer.status not in (200, 404):
            raise NetworkError(f"{self._place}: refused to tell of a file: status {answer.status}", status=answer.status)
        stored = answer.getheader("Content-Length" if answer.status == 200 else "Upload-Offset") or "0"
        return BlobState(int(stored) if stored.isdecimal() else 0, answer.status == 200)

    def has(self, sha256: str) -> bool:
        """Whether the pool has the file of this digest."""
        return self.blob(sha256).complete

    def put(self, path: Path, sha256: str | None = None, progress: Callable[[int], None] = lambda count: None) -> int:
        """Uploads a file, unless the pool has it; an upload that was interrupted is resumed.

        Args:
            path: The file.
            sha256: Its digest; by default it is computed.
            progress: Called with newly sent bytes.

        Returns:
            Bytes that were sent.
        """
        digest, size = sha256 or sha256_of(path), path.stat().st_size
        sent, failures, stored = 0, 0, 0
        while True:
            try:
                state = self.blob(digest)
                if state.complete:
                    return sent
                failures, stored = (0 if state.stored_bytes > stored else failures), state.stored_bytes
                with path.open("rb") as file:
                    file.seek(state.stored_bytes)
                    body = Counted(file, progress)
                    try:
                        self._put_bytes(digest, body, state.stored_bytes, size)
                    finally:
                        sent += body.count
            except NetworkError as error:
                # The hub begins anew, or somebody else sends the same file.
                failures += 1
                if error.status not in (None, CONFLICT) or failures > UPLOAD_ATTEMPTS:
                    raise
                time.sleep(UPLOAD_WAIT_S * 2**failures)

    def put_bytes(self, data: bytes) -> str:
        """Uploads the bytes, unless the pool has them; returns their digest."""
        digest = hashlib.sha256(data).hexdigest()
        state = self.blob(digest)
        if not state.complete:
            rest = Counted(io.BytesIO(data[state.stored_bytes :]), lambda count: None)
            self._put_bytes(digest, rest, state.stored_bytes, len(data))
        return digest

    def read(self, sha256: str, offset: int, length: int) -> Iterator[bytes]:
        """The bytes [offset, offset + length) of a file in the pool, in pieces; a new call resumes anywhere.

        NetworkError if the connection ends before. The bytes are as the pool has them: compare them with their digest.
        """
        if not length:
            return
        yield from self._http.stream(_blob_path(sha256), offset, length)

    # -- plans and deployments

    def put_plan(
        self, record: PlanRecord, files: Mapping[str, Path], progress: Callable[[int], None] = lambda count: None
    ) -> int:
        """Uploads a plan and those of its files that the pool does not have.

        Args:
            record: The plan.
            files: The file of each digest in it.
            progress: Called with newly sent bytes.

        Returns:
            Bytes of files that were sent.
        """
        sent = sum(self.put(path, digest, progress) for digest, path in files.items())
        self._http.call("PUT", f"/v1/plans/{record.digest}", encode(record))
        return sent

    def plan(self, digest: str) -> PlanRecord:
        """The plan of a digest, which is checked."""
        record = self._get(PlanRecord, f"/v1/plans/{require_sha256('plan', digest)}")
        if record.digest != digest:
            raise NetworkError(f"{self._place}: expected plan {digest[:12]}, got {record.digest[:12]}")
        return record

    def deploy(self, deployment: Deployment) -> Deployment:
        """Asks for a deployment of a plan in the pool: its nodes fetch and load their stages. Returns it as it is now."""
        return decode(Deployment, self._http.call("PUT", _deployment_path(deployment.name), encode(deployment)), self._place)

    def undeploy(self, name: str) -> None:
        """Ends a deployment: its nodes may remove its stages."""
        self._http.call("DELETE", _deployment_path(name))

    def deployment(self, name: str) -> Deployment:
        """The deployment as it is now."""
        return self._get(Deployment, _deployment_path(name))

    def deployments(self) -> tuple[Deployment, ...]:
        """All deployments, by name."""
        return decode_all(Deployment, self._http.call("GET", "/v1/deployments"), self._place)

    # -- models and results

    def put_model(self, model: ModelRecord) -> ModelRecord:
        """Adds a version of a model. The same files and metadata again are the same version."""
        return decode(ModelRecord, self._http.call("POST", "/v1/models", encode(model)), self._place)

    def models(self) -> tuple[ModelRecord, ...]:
        """All versions of all models, by name and version."""
        return decode_all(ModelRecord, self._http.call("GET", "/v1/models"), self._place)

    def remove_model(self, name: str, version: int) -> None:
        """Removes a version of a model; the hub removes its files once nothing else has them."""
        self._http.call("DELETE", f"/v1/models/{quote(name, safe='')}/{version}")

    def put_result(self, result: ResultRecord) -> ResultRecord:
        """Adds a result, whose document is in the pool; see `put_bytes`."""
        return decode(ResultRecord, self._http.call("POST", "/v1/results", encode(result)), self._place)

    def results(self) -> tuple[ResultRecord, ...]:
        """All results, the latest first."""
        return decode_all(ResultRecord, self._http.call("GET", "/v1/results"), self._place)

    # -- runs

    def report(self, report: RunReport) -> None:
        """Tells the hub how a run goes."""
        self._http.call("POST", "/v1/runs", encode(report))

    def _get(self, kind: type[T], path: str) -> T:
        return decode(kind, self._http.call("GET", path), self._place)

    def _put_bytes(self, digest: str, body: Counted, offset: int, size: int) -> None:
        headers = {"Content-Length": str(size - offset)}
        self._http.call("PUT", f"{_blob_path(digest)}?offset={offset}&size={size}", body, headers)


def sha256_of(path: Path) -> str:
    """The digest of a file in hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
        return digest.hexdigest()


def _blob_path(sha256: str) -> str:
    return f"/v1/blobs/{require_sha256('pool', sha256)}"


def _deployment_path(name: str) -> str:
    return f"/v1/deployments/{quote(name, safe='')}"
