"""Answers by request id, kept in SQLite: an id is answered once, also when its client connects again or the server restarts.

An answer is kept until it is older than the retention permits, or others need its space. Requests with a callback are kept
from the moment in which they are accepted, so that a server that is started again computes them.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from multiedge.errors import ConfigError, require_least
from multiedge.serving.inference.contract import Array, InferReply, InferRequest, Invalid
from multiedge.transports.open_inference import messages, pack, unpack

FILE_NAME = "requests.sqlite"
VERSION = 1
BUSY_S = 5.0
SWEEP_EACH = 256
"""After so many answers the retention is applied."""
_SCHEMA = """
CREATE TABLE answers (model TEXT, id TEXT, digest TEXT, version TEXT, parameters TEXT, outputs BLOB, done_s REAL,
 PRIMARY KEY (model, id));
CREATE INDEX answers_by_time ON answers (done_s);
CREATE TABLE accepted (model TEXT, id TEXT, digest TEXT, version TEXT, parameters TEXT, inputs BLOB, accepted_s REAL,
 PRIMARY KEY (model, id));
CREATE TABLE callbacks (model TEXT, id TEXT, url TEXT, body BLOB, failures INTEGER, due_s REAL, ready_s REAL, reason TEXT,
 is_over INTEGER, PRIMARY KEY (model, id));
CREATE INDEX callbacks_by_time ON callbacks (is_over, due_s);
"""

Key = tuple[str, str]
"""Model and id."""


@dataclass(frozen=True)
class Retention:
    """How long answers are kept.

    Attributes:
        age_s: An older answer is removed.
        most_bytes: What all outputs may take; the oldest make room.

    Raises:
        ConfigError: If a value is negative.
    """

    age_s: float = 24 * 3600.0
    most_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        require_least("age_s", self.age_s, 0.0)
        require_least("most_bytes", self.most_bytes, 0)


@dataclass(frozen=True)
class Callback:
    """A result that is to be sent to `url`; it has failed so often since it was ready (UNIX time)."""

    model: str
    id: str
    url: str
    body: bytes
    failures: int
    ready_s: float

    @property
    def key(self) -> Key:
        """That of its request."""
        return self.model, self.id


@dataclass(frozen=True)
class Sent:
    """What became of a callback: `is_over` once it was taken or given up; `reason` is why it was not taken, '' if it was."""

    url: str
    failures: int
    is_over: bool
    reason: str = field(default="")


def digest_of(request: InferRequest) -> str:
    """The digest of a request's inputs: an id stands for one computation."""
    digest = xxhash.xxh3_128()
    for name, array in sorted(request.inputs.items()):
        digest.update(f"{name} {array.dtype} {array.shape};".encode())
        digest.update(repr(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array).data)
    return digest.hexdigest()


class RequestStore:
    """The tables; each method is one transaction, from any thread.

    Args:
        folder: Where the file is; it is made if needed.
        retention: How long answers are kept.
        clock: UNIX time.

    Raises:
        ConfigError: If the file cannot be opened, or is of a later version.
    """

    def __init__(self, folder: Path, retention: Retention = Retention(), clock: Callable[[], float] = time.time) -> None:
        self._path, self._retention, self._now = folder / FILE_NAME, retention, clock
        self._lock = threading.Lock()
        self._added = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{self._path}: cannot be opened: {error}; choose another folder with --data") from None

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise ConfigError(f"{self._path}: is of version {version}, this release reads {VERSION}; update this release")
        if version < VERSION:
            self._database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")

    def close(self) -> None:
        """Closes the file; may be called twice."""
        with self._lock:
            self._database.close()

    # -- answers

    def answer(self, request: InferRequest, digest: str) -> InferReply | None:
        """The kept answer of the request's id; None if there is none. Invalid if the id had other inputs."""
        row = self._one("SELECT digest, version, parameters, outputs FROM answers WHERE model = ? AND id = ?", _key(request))
        if row is None:
            return None
        require_same(request, row[0], digest)
        return InferReply(_unpacked(row[3]), json.loads(row[2]), row[1])

    def put(self, request: InferRequest, digest: str, reply: InferReply, body: bytes | None = None) -> None:
        """Keeps an answer. With a `body` that is sent to the callback of the request, which was accepted, from now on."""
        values = (
            *_key(request),
            digest,
            reply.version,
            json.dumps(dict(reply.parameters)),
            _packed(reply.outputs),
            self._now(),
        )
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            self._finish(_key(request), body)
            self._added += 1
            if self._added % SWEEP_EACH == 0:
                self._sweep()

    # -- requests with a callback

    def accept(self, request: InferRequest, digest: str, url: str) -> None:
        """Keeps a request whose result is to be sent to `url`, until it is answered. Accepted again, it stays as it was."""
        parameters = json.dumps(dict(request.parameters))
        values = (*_key(request), digest, request.version, parameters, _packed(request.inputs), self._now())
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("INSERT OR IGNORE INTO accepted VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            # A callback without a body is not due.
            query = "INSERT OR IGNORE INTO callbacks VALUES (?, ?, ?, NULL, 0, NULL, NULL, '', 0)"
            self._database.execute(query, (*_key(request), url))

    def fail(self, request: InferRequest, body: bytes) -> None:
        """An accepted request has no answer: `body`, which says why, is sent to its callback."""
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._finish(_key(request), body)

    def accepted(self) -> tuple[InferRequest, ...]:
        """The requests that were accepted and have no answer, the oldest first."""
        rows = self._all("SELECT model, id, version, parameters, inputs FROM accepted ORDER BY accepted_s")
        return tuple(
            InferRequest(model, _unpacked(inputs), version=version, id=number, parameters=json.loads(parameters))
            for model, number, version, parameters, inputs in rows
        )

    def due_callbacks(self, now_s: float, most: int) -> tuple[Callback, ...]:
        """Results that are to be sent now, the longest due first."""
        query = (
            "SELECT model, id, url, body, failures, ready_s FROM callbacks"
            " WHERE is_over = 0 AND due_s <= ? ORDER BY due_s LIMIT ?"
        )
        return tuple(Callback(*row) for row in self._all(query, (now_s, most)))

    def callback_failed(self, callback: Callback, failures: int, due_s: float, reason: str) -> None:
        """The result was not taken, and is to be sent again."""
        query = "UPDATE callbacks SET failures = ?, due_s = ?, reason = ? WHERE model = ? AND id = ?"
        self._change(query, (failures, due_s, reason, *callback.key))

    def callback_done(self, callback: Callback, reason: str) -> None:
        """The result was taken, or is given up for a reason; its body is not kept."""
        self._change(
            "UPDATE callbacks SET is_over = 1, body = NULL, reason = ? WHERE model = ? AND id = ?", (reason, *callback.key)
        )

    def sent(self, key: Key) -> Sent | None:
        """What became of a request's callback; None if it has none."""
        row = self._one("SELECT url, failures, is_over, reason FROM callbacks WHERE model = ? AND id = ?", key)
        return Sent(row[0], row[1], bool(row[2]), row[3]) if row else None

    # -- retention

    def sweep(self) -> int:
        """Removes what the retention does not permit; returns how many answers."""
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            return self._sweep()

    @property
    def used_bytes(self) -> int:
        """What the outputs of all answers take."""
        row = self._one("SELECT COALESCE(SUM(LENGTH(outputs)), 0) FROM answers", ())
        return int(row[0]) if row else 0

    def _sweep(self) -> int:
        oldest_s = self._now() - self._retention.age_s
        removed = self._database.execute("DELETE FROM answers WHERE done_s < ?", (oldest_s,)).rowcount
        self._database.execute("DELETE FROM callbacks WHERE is_over = 1 AND ready_s < ?", (oldest_s,))
        sizes = self._database.execute("SELECT model, id, LENGTH(outputs) FROM answers ORDER BY done_s DESC").fetchall()
        kept = 0
        for model, number, nbytes in sizes:
            kept += nbytes
            if kept > self._retention.most_bytes:
                self._database.execute("DELETE FROM answers WHERE model = ? AND id = ?", (model, number))
                removed += 1
        return removed

    def _finish(self, key: Key, body: bytes | None) -> None:
        self._database.execute("DELETE FROM accepted WHERE model = ? AND id = ?", key)
        if body is not None:
            query = "UPDATE callbacks SET body = ?, due_s = ?, ready_s = ? WHERE model = ? AND id = ? AND is_over = 0"
            self._database.execute(query, (body, self._now(), self._now(), *key))

    def _one(self, query: str, values: Iterable[Any]) -> Any:
        with self._lock:
            return self._database.execute(query, tuple(values)).fetchone()

    def _all(self, query: str, values: Iterable[Any] = ()) -> list[Any]:
        with self._lock:
            return self._database.execute(query, tuple(values)).fetchall()

    def _change(self, query: str, values: Iterable[Any]) -> None:
        with self._lock:
            self._database.execute(query, tuple(values))


def require_same(request: InferRequest, known: str, digest: str) -> None:
    """Invalid unless both digests are the same."""
    if known != digest:
        raise Invalid(f"request id '{request.id}' was used for other inputs of '{request.model}'; give each request its own id")


def _key(request: InferRequest) -> Key:
    return request.model, request.id


def _packed(tensors: Mapping[str, Array]) -> bytes:
    message = messages()["ModelInferResponse"]()
    pack(message.outputs, message.raw_output_contents, tensors)
    return bytes(message.SerializeToString())


def _unpacked(data: bytes) -> dict[str, Array]:
    message = messages()["ModelInferResponse"].FromString(data)
    return unpack(message.outputs, message.raw_output_contents)
