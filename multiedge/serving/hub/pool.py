"""The files of a hub by their content: each is named by its SHA-256, and there only once all of it is verified."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from multiedge.errors import NetworkError
from multiedge.network.client import sha256_of
from multiedge.network.encoding import require_sha256
from multiedge.network.records import BlobState
from multiedge.quantity import human_bytes

KEEP_UPLOAD_S = 7 * 24 * 3600.0
"""How long an upload that was not finished can be resumed."""
RESERVE_BYTES = 256 << 20
"""What an upload leaves free on the disk."""


class Pool:
    """Files below a folder. Paths come from digests alone, which are checked.

    Args:
        folder: Where the files are; it is made if needed.
        most_bytes: The largest file that is taken.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._files, self._uploads, self._most_bytes = folder / "files", folder / "uploads", most_bytes
        for each in (self._files, self._uploads):
            each.mkdir(parents=True, exist_ok=True)
        for path in self._uploads.iterdir():
            if time.time() - path.stat().st_mtime > KEEP_UPLOAD_S:
                path.unlink()

    def path(self, sha256: str) -> Path:
        """Where the file of this digest is, or would be."""
        return self._files / require_sha256("pool", sha256)[:2] / sha256

    def state(self, sha256: str) -> BlobState:
        """What is there of the file."""
        path = self.path(sha256)
        if path.is_file():
            return BlobState(path.stat().st_size, True)
        upload = self._uploads / sha256
        return BlobState(upload.stat().st_size if upload.is_file() else 0, False)

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self._files.glob("*/*"))

    def remove_unused(self, used: Collection[str], age_s: float) -> int:
        """Removes the files that are older and not `used`; returns their bytes."""
        removed, before_s = 0, time.time() - age_s
        for path in self._files.glob("*/*"):
            status = path.stat()
            if path.name not in used and status.st_mtime < before_s:
                path.unlink()
                removed += status.st_size
        return removed

    def open_upload(self, sha256: str, offset: int, size: int) -> Path:
        """The file to which bytes from `offset` are appended; NetworkError if they are refused."""
        stored = self.state(sha256).stored_bytes
        if not 0 <= offset <= size:
            raise NetworkError(f"upload: expected an offset from 0 to the size, got {offset} of {size}", status=400)
        if size > self._most_bytes:
            limit = human_bytes(self._most_bytes)
            raise NetworkError(
                f"upload: expected at most {limit}, got {human_bytes(size)}; run the hub with a larger --max-file", status=413
            )
        if offset != stored:
            raise NetworkError(f"upload: expected it to continue at {stored}, got {offset}", status=409)
        free = shutil.disk_usage(self._uploads).free - RESERVE_BYTES
        if size - offset > free:
            raise NetworkError(
                f"upload: {human_bytes(size - offset)} do not fit the hub's disk, where {human_bytes(max(0, free))} are free;"
                " free some space",
                status=507,
            )
        return self._uploads / sha256

    def finish(self, sha256: str) -> None:
        """Takes a complete upload into the pool; NetworkError if its content has another digest: then it is removed."""
        upload, path = self._uploads / sha256, self.path(sha256)
        found = sha256_of(upload)
        if found != sha256:
            upload.unlink()
            raise NetworkError(f"upload: expected a file with SHA-256 {sha256[:12]}..., got {found[:12]}...", status=422)
        with upload.open("rb") as file:
            os.fsync(file.fileno())
        path.parent.mkdir(exist_ok=True)
        os.replace(upload, path)
