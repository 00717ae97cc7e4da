"""What a hub keeps over restarts, except the files of its pool: one SQLite file in WAL mode.

Several processes may use it at a time: `multiedge hub token` adds a token while the hub runs.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from multiedge.errors import ConfigError
from multiedge.network.encoding import decode, encode
from multiedge.network.records import Deployment, ModelRecord, NodeState, PlanRecord, ResultRecord
from multiedge.serving.hub.authority import TokenRecord

T = TypeVar("T")

FILE_NAME = "hub.sqlite"
VERSION = 1
BUSY_S = 5.0
"""How long to wait for another process that writes."""
_SCHEMA = """
CREATE TABLE tokens (number TEXT PRIMARY KEY, secret_sha256 TEXT, holder TEXT, expires_s REAL, used_s REAL);
CREATE TABLE holders (holder TEXT PRIMARY KEY, issued_s REAL);
CREATE TABLE nodes (name TEXT PRIMARY KEY, state BLOB);
CREATE TABLE plans (digest TEXT PRIMARY KEY, record BLOB, created_s REAL);
CREATE TABLE deployments (name TEXT PRIMARY KEY, record BLOB);
CREATE TABLE models (name TEXT, version INTEGER, record BLOB, PRIMARY KEY (name, version));
CREATE TABLE results (number INTEGER PRIMARY KEY, record BLOB);
"""


class Store:
    """The tables of a hub; each method is one transaction.

    Args:
        folder: The hub's data folder; it is made if needed.
        clock: UNIX time.

    Raises:
        ConfigError: If the file cannot be opened, or is of a later version.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = folder / FILE_NAME, clock
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{self._path}: cannot be opened: {error}; choose another folder with --data") from None

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode=WAL")
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise ConfigError(f"{self._path}: is of version {version}, this release reads {VERSION}; update this release")
            if version < VERSION:
                for statement in _SCHEMA.split(";"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version={VERSION}")

    def close(self) -> None:
        self._database.close()

    # -- who may join

    def add_token(self, record: TokenRecord) -> None:
        values = (record.number, record.secret_sha256, record.holder, record.expires_s, record.used_s)
        self._database.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?)", values)

    def token(self, number: str) -> TokenRecord | None:
        row = self._database.execute("SELECT * FROM tokens WHERE number = ?", (number,)).fetchone()
        return TokenRecord(*row) if row else None

    def use_token(self, number: str, holder: str) -> bool:
        """Marks the token as used, for a holder that is known from now on; False if it was used before."""
        now = self._clock()
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            used = self._database.execute("UPDATE tokens SET used_s = ? WHERE number = ? AND used_s IS NULL", (now, number))
            if used.rowcount:
                self._database.execute("INSERT OR REPLACE INTO holders VALUES (?, ?)", (holder, now))
        return bool(used.rowcount)

    def is_known(self, holder: str) -> bool:
        """Whether somebody has joined under this name."""
        return self._database.execute("SELECT 1 FROM holders WHERE holder = ?", (holder,)).fetchone() is not None

    # -- nodes

    def put_node(self, state: NodeState) -> None:
        self._database.execute("INSERT OR REPLACE INTO nodes VALUES (?, ?)", (state.name, encode(state)))

    def nodes(self) -> tuple[NodeState, ...]:
        """The nodes that have ever been there, as they were when their address last changed."""
        return self._all(NodeState, "SELECT state FROM nodes ORDER BY name")

    # -- plans and deployments

    def put_plan(self, digest: str, record: PlanRecord) -> None:
        """Keeps a plan; one that is there already counts as new again."""
        self._database.execute("INSERT OR REPLACE INTO plans VALUES (?, ?, ?)", (digest, encode(record), self._clock()))

    def plan(self, digest: str) -> PlanRecord | None:
        return self._one(PlanRecord, "SELECT record FROM plans WHERE digest = ?", digest)

    def plans(self) -> tuple[PlanRecord, ...]:
        return self._all(PlanRecord, "SELECT record FROM plans")

    def drop_plans(self, age_s: float) -> int:
        """Removes the plans that are older and that no deployment has; returns how many."""
        kept = {digest for each in self.deployments() for digest in each.plans}
        rows = self._database.execute("SELECT digest FROM plans WHERE created_s < ?", (self._clock() - age_s,)).fetchall()
        old = [row for row in rows if row[0] not in kept]
        self._database.executemany("DELETE FROM plans WHERE digest = ?", old)
        return len(old)

    def put_deployment(self, deployment: Deployment) -> Deployment:
        """Keeps the deployment, in place of an earlier one of its name; returns it with its time."""
        kept = replace(deployment, created_s=self._clock())
        self._database.execute("INSERT OR REPLACE INTO deployments VALUES (?, ?)", (kept.name, encode(kept)))
        return kept

    def remove_deployment(self, name: str) -> bool:
        """Whether there was one."""
        return bool(self._database.execute("DELETE FROM deployments WHERE name = ?", (name,)).rowcount)

    def deployments(self) -> tuple[Deployment, ...]:
        return self._all(Deployment, "SELECT record FROM deployments ORDER BY name")

    # -- models and results

    def put_model(self, model: ModelRecord) -> ModelRecord:
        """Keeps the model as its next version; the latest version if it is the same."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            query = "SELECT record FROM models WHERE name = ? ORDER BY version DESC LIMIT 1"
            latest = self._one(ModelRecord, query, model.name)
            number = latest.version if latest else 0
            if latest and replace(model, version=number, created_s=latest.created_s) == latest:
                return latest
            kept = replace(model, version=number + 1, created_s=self._clock())
            self._database.execute("INSERT INTO models VALUES (?, ?, ?)", (kept.name, kept.version, encode(kept)))
        return kept

    def models(self) -> tuple[ModelRecord, ...]:
        return self._all(ModelRecord, "SELECT record FROM models ORDER BY name, version")

    def remove_model(self, name: str, version: int) -> bool:
        """Whether there was one."""
        removed = self._database.execute("DELETE FROM models WHERE name = ? AND version = ?", (name, version))
        return bool(removed.rowcount)

    def put_result(self, result: ResultRecord) -> ResultRecord:
        kept = replace(result, created_s=self._clock())
        self._database.execute("INSERT INTO results (record) VALUES (?)", (encode(kept),))
        return kept

    def results(self) -> tuple[ResultRecord, ...]:
        return self._all(ResultRecord, "SELECT record FROM results ORDER BY number DESC")

    def _one(self, kind: type[T], query: str, *values: Any) -> T | None:
        row = self._database.execute(query, values).fetchone()
        return self._record(kind, row[0]) if row else None

    def _all(self, kind: type[T], query: str) -> tuple[T, ...]:
        rows: Iterable[tuple[bytes]] = self._database.execute(query)
        return tuple([self._record(kind, row[0]) for row in rows])

    def _record(self, kind: type[T], data: bytes) -> T:
        return decode(kind, data, str(self._path))
