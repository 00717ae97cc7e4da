"""What a node keeps of the pool, by content: one sparse file for the bytes that a stage needs of a file, with an index.

A file is written once: when all of its ranges are here and their digests hold, it never changes again, so a worker that has
mapped it is not disturbed, and its time of modification shows that it is the verified one. Stages that need other bytes of
the same weights get a file of their own, into which the bytes that are here already are copied.

The index of a file is replaced atomically after its bytes have reached the disk. A node that is killed at any moment finds
files that are complete and verified, and files with a list of the bytes that were fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from multiedge.errors import ConfigError, MultiedgeError
from multiedge.files import TEMPORARY, lock_folder, write_text
from multiedge.formats.documents import read_json
from multiedge.formats.records import reader_of
from multiedge.network.encoding import require_sha256
from multiedge.network.records import ByteRange, PlanFile
from multiedge.onnx_io.manifest import fingerprint
from multiedge.quantity import human_bytes
from multiedge.serving.node.draft import Draft
from multiedge.serving.node.intervals import Interval, Intervals, joined, total

log = logging.getLogger(__name__)

FILES = "files"
INDEX = ".json"


@dataclass(frozen=True)
class FileNeed:
    """Bytes of a file of the pool: `sha256` and `size` are those of the whole file."""

    sha256: str
    size: int
    ranges: tuple[ByteRange, ...]

    @classmethod
    def of(cls, file: PlanFile, place: str) -> FileNeed:
        """What a stage needs of a file; NetworkError or ConfigError if its digests or ranges cannot be."""
        ranges = file.ranges or (ByteRange(0, file.size, file.sha256),)
        for each in ranges:
            require_sha256(place, each.sha256)
            if each.offset < 0 or each.length < 0 or each.offset + each.length > file.size:
                raise ConfigError(f"{place}: bytes {each.offset} to {each.offset + each.length} lie outside {file.size}")
        return cls(require_sha256(place, file.sha256), file.size, tuple(sorted(set(ranges), key=lambda each: each.offset)))

    @property
    def key(self) -> str:
        """Its name in the cache: a digest of what it is."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def intervals(self) -> Intervals:
        return joined(Interval(each.offset, each.offset + each.length) for each in self.ranges)


@dataclass(frozen=True)
class Entry:
    """The index of a file: the bytes that are in it, and its fingerprint once all are, verified; '' before."""

    need: FileNeed
    present: Intervals = ()
    fingerprint: str = ""


class Cache:
    """Files below `folder`, of at most `limit_bytes` together; of one process at a time. Safe between threads.

    Files in use, see `using`, are not removed; of the others, those that were not used for the longest time are removed first.

    Raises:
        ConfigError: If another node uses the folder, or it cannot be written.
    """

    def __init__(self, folder: Path, limit_bytes: int, on_removed: Callable[[str], None] = lambda key: None) -> None:
        self._folder, self._limit_bytes, self._on_removed = folder / FILES, limit_bytes, on_removed
        self._lock = threading.RLock()
        self._in_use: Counter[str] = Counter()
        self._writing: dict[str, threading.Lock] = {}
        self._guard = lock_folder(folder, "node")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._entries = self._read()
        except BaseException:
            self._guard.close()
            raise

    def close(self) -> None:
        """Lets another process use the folder; may be called once."""
        self._guard.close()

    @property
    def used_bytes(self) -> int:
        """What the files take, with what is still to come of those that are in use."""
        with self._lock:
            return sum(self._taken(key) for key in self._entries)

    def path(self, need: FileNeed) -> Path:
        return self._folder / need.key

    def present(self, need: FileNeed) -> Intervals:
        """The bytes of it that are here already."""
        with self._lock:
            entry = self._entries.get(need.key)
        return entry.present if entry else ()

    def fingerprint(self, need: FileNeed) -> str:
        """That of the file when it was verified; '' if it is not complete."""
        with self._lock:
            entry = self._entries.get(need.key)
        return entry.fingerprint if entry else ""

    @contextmanager
    def writing(self, need: FileNeed) -> Iterator[Draft | None]:
        """The file open for what is missing of it, by one thread at a time; None if it is complete.

        It must be in use. What was written is kept whether the block ends or fails; it is complete once `Draft.finish` was
        called.
        """
        with self._lock:
            lock = self._writing.setdefault(need.key, threading.Lock())
        with lock:
            if self.fingerprint(need):
                yield None
                return
            with Draft(self.path(need), need.size, self.present(need), lambda present: self._keep(need, present)) as draft:
                yield draft
            if draft.is_finished:
                self._keep(need, need.intervals, fingerprint(self.path(need)))

    def complete_files(self, sha256: str) -> list[tuple[Path, Intervals]]:
        """Files with verified bytes of a file of the pool."""
        with self._lock:
            entries = [entry for entry in self._entries.values() if entry.need.sha256 == sha256 and entry.fingerprint]
        return [(self.path(entry.need), entry.present) for entry in entries]

    def use(self, needs: Iterable[FileNeed]) -> Callable[[], None]:
        """Makes room for these files and keeps them until what comes back is called, which may be done twice.

        Raises:
            ConfigError: If they do not fit beside the files that are in use.
        """
        wanted = {need.key: need for need in needs}
        with self._lock:
            self._in_use.update(wanted.keys())
            try:
                self._make_room(wanted)
            except BaseException:
                self._in_use.subtract(wanted.keys())
                raise
            for key, need in wanted.items():
                self._entries.setdefault(key, Entry(need))
                with contextlib.suppress(FileNotFoundError):
                    os.utime(self._index(key))
        pending = [wanted.keys()]
        return lambda: self._end_use(pending.pop()) if pending else None

    def _end_use(self, keys: Iterable[str]) -> None:
        with self._lock:
            self._in_use.subtract(keys)
            for key in [key for key in keys if not self._in_use[key]]:
                del self._in_use[key]
                if not self._entries[key].present:
                    self._remove(key)

    def _make_room(self, wanted: dict[str, FileNeed]) -> None:
        new = sum(total(need.intervals) for key, need in wanted.items() if key not in self._entries)
        unused = sorted((key for key in self._entries if not self._in_use[key]), key=self._used_at)
        while self.used_bytes + new > self._limit_bytes and unused:
            self._remove(unused.pop(0))
        if self.used_bytes + new > self._limit_bytes:
            raise ConfigError(
                f"cache: {human_bytes(new)} more do not fit: it holds at most {human_bytes(self._limit_bytes)}, of which"
                f" {human_bytes(self.used_bytes)} are in use; start the node with a larger --cache"
            )

    def _taken(self, key: str) -> int:
        entry = self._entries[key]
        return total(entry.need.intervals if self._in_use[key] else entry.present)

    def _used_at(self, key: str) -> float:
        try:
            return self._index(key).stat().st_mtime
        except OSError:
            return 0.0

    def _keep(self, need: FileNeed, present: Intervals, print_of_file: str = "") -> None:
        entry = Entry(need, present, print_of_file)
        write_text(self._index(need.key), json.dumps(asdict(entry)))
        with self._lock:
            self._entries[need.key] = entry

    def _remove(self, key: str) -> None:
        """The index first: bytes without an index are removed at the next start."""
        self._on_removed(key)
        self._entries.pop(key, None)
        self._index(key).unlink(missing_ok=True)
        (self._folder / key).unlink(missing_ok=True)

    def _index(self, key: str) -> Path:
        return self._folder / f"{key}{INDEX}"

    # -- what an earlier process left -------------------------------------------------------------------------------------

    def _read(self) -> dict[str, Entry]:
        for path in self._folder.glob(TEMPORARY):
            path.unlink(missing_ok=True)
        entries = {path.stem: self._read_entry(path) for path in self._folder.glob(f"*{INDEX}")}
        for path in self._folder.iterdir():
            if entries.get(path.stem) is None:
                path.unlink()
        return {key: entry for key, entry in entries.items() if entry is not None}

    def _read_entry(self, index: Path) -> Entry | None:
        """What the index says; None if it is damaged, or the file is not the one that was verified."""
        file = index.with_suffix("")
        try:
            entry: Entry = reader_of(Entry)(read_json(index))
            if entry.need.key != file.name or file.stat().st_size != entry.need.size:
                return None
            if entry.fingerprint and entry.fingerprint != fingerprint(file):
                log.warning(
                    "cache: a file of %s has changed since it was verified; it is fetched again", entry.need.sha256[:12]
                )
                return None
            return replace(entry, present=joined(entry.present))
        except (MultiedgeError, OSError):
            return None
