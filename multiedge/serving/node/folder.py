"""The local files of stages, as a worker opens them: fetched, verified, and linked into one folder per stage."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from multiedge.errors import ChangedError, ConfigError, MultiedgeError, PlanError, describe
from multiedge.files import write_bytes
from multiedge.network.encoding import decode, encode, require_sha256
from multiedge.network.records import PlanPart, PlanRecord
from multiedge.onnx_io.manifest import fingerprint, parse_manifest
from multiedge.onnx_io.weights import external_references
from multiedge.plan import LINKED, Part
from multiedge.serving.node.cache import Cache, FileNeed
from multiedge.serving.node.draft import Draft
from multiedge.serving.node.fetch import Fetch, Pool
from multiedge.serving.node.intervals import Interval, total, without

STAGES, PLANS = "stages", "plans"
MOST_PLANS = 256
"""Records of plans that are kept."""
_NAME = re.compile(r"(weights_|sub_model_)([0-9]{1,6})(\.linked|\.onnx|\.weights)")
"""What writing the parts of a plan calls files."""

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes that are needed."""


@dataclass(frozen=True)
class LocalStages:
    """Stages of a plan in files of this node. They stay until `release`.

    Attributes:
        directory: What a command to the worker has in place of the plan's digest.
        parts: By stage, what its routes have in place of the caller's parts: the same stages, with the names, digests and
            fingerprints of the files in `directory`. The same stage always has the same names.
        release: Says that no worker opens or uses these files any more; may be called twice.
    """

    directory: Path
    parts: Mapping[int, Part]
    release: Callable[[], None]


class PlanPool(Pool, Protocol):
    """Where plans and files come from: `multiedge.network.client.HubClient`."""

    def plan(self, digest: str) -> PlanRecord: ...


@dataclass(frozen=True)
class _Stage:
    """A stage as the plan has it, and what it needs of the pool by the local names of its files."""

    part: Part
    needs: Mapping[str, FileNeed]

    @property
    def key(self) -> str:
        """The name of its folder: stages of the same files share it, whichever plans they are of."""
        files = sorted((name, need.key) for name, need in self.needs.items())
        return hashlib.sha256(repr(files).encode()).hexdigest()


@dataclass(frozen=True)
class _Linked:
    """The folder of a stage: keys of its files in the cache, and fingerprints by name."""

    keys: frozenset[str]
    prints: Mapping[str, str]


class PlanFolders:
    """Brings stages of plans onto this node. Safe between threads.

    Args:
        folder: The node's own; what it holds below `stages` is made anew.
        limit_bytes: What files may take.
        pool: Opens a connection to the pool, which is closed after use.

    Raises:
        ConfigError: If another node uses the folder, or it cannot be written.
    """

    def __init__(self, folder: Path, limit_bytes: int, pool: Callable[[], AbstractContextManager[PlanPool]]) -> None:
        self._cache = Cache(folder, limit_bytes, self._on_removed)
        self._stages, self._plans, self._pool = folder / STAGES, folder / PLANS, pool
        self._lock = threading.Lock()
        self._linked: dict[str, _Linked] = {}
        shutil.rmtree(self._stages, ignore_errors=True)

    def __enter__(self) -> PlanFolders:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets another node use the folder."""
        self._cache.close()

    @property
    def used_bytes(self) -> int:
        """What its files take."""
        return self._cache.used_bytes

    def open(
        self,
        plan: str,
        stages: Collection[int],
        progress: Progress = lambda done, needed: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> LocalStages:
        """The files of these stages of the plan of this digest, fetched as far as they are not here.

        It takes as long as fetching does, and ends soon after `is_cancelled` returns True.

        Raises:
            ChangedError: If what the pool has is not what the digest stands for.
            NetworkError: If the pool cannot be reached, or refuses.
            PipelineError: When cancelled.
            PlanError: If the plan has no such stage, or is none that a node can run.
            ConfigError: If the files need more than the cache may hold.
        """
        record = self._record(plan)
        wanted = {number: _stage(record, plan, number) for number in sorted(stages)}
        needs = {need.key: (name, need) for stage in wanted.values() for name, need in stage.needs.items()}
        release = self._cache.use(need for _, need in needs.values())
        try:
            self._fetch(plan, needs.values(), progress, is_cancelled)
            parts = {number: self._local(stage) for number, stage in wanted.items()}
        except BaseException:
            release()
            raise
        return LocalStages(self._stages, parts, release)

    def _fetch(
        self, plan: str, needs: Collection[tuple[str, FileNeed]], progress: Progress, is_cancelled: Callable[[], bool]
    ) -> None:
        needed = sum(total(need.intervals) for _, need in needs)
        done = sum(total(self._cache.present(need)) for _, need in needs)

        def count(nbytes: int) -> None:
            nonlocal done
            done += nbytes
            progress(done, needed)

        progress(done, needed)
        if all(self._cache.fingerprint(need) for _, need in needs):
            return
        with self._pool() as pool:
            fetch = Fetch(self._cache, pool, count, is_cancelled)
            for name, need in needs:
                fetch.file(need, f"plan {plan[:12]}: '{name}'")

    def _record(self, digest: str) -> PlanRecord:
        """The plan, from an earlier fetch or from the pool, which may be away if it is here."""
        path = self._plans / f"{require_sha256('plan', digest)}.json"
        try:
            record = decode(PlanRecord, path.read_bytes(), str(path))
            if record.digest == digest:
                os.utime(path)
                return record
        except (OSError, MultiedgeError):
            pass  # absent or damaged: it is fetched again
        with self._pool() as pool:
            record = pool.plan(digest)
        if record.digest != digest:
            raise ChangedError(f"plan {digest[:12]}: the pool has another one under this digest")
        write_bytes(path, encode(record))
        for old in sorted(self._plans.glob("*.json"), key=lambda each: each.stat().st_mtime)[:-MOST_PLANS]:
            old.unlink(missing_ok=True)
        return record

    def _local(self, stage: _Stage) -> Part:
        """The part with the names and digests of its files here."""
        folder = self._stages / stage.key
        with self._lock:
            if stage.key not in self._linked:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                placed = {name: self._place(need, folder / name) for name, need in stage.needs.items()}
                _require_bytes(folder, stage)
                self._linked[stage.key] = _Linked(frozenset(need.key for need in stage.needs.values()), placed)
            prints = self._linked[stage.key].prints
        known = {name: prints[name] if known.startswith(LINKED) else known for name, known in stage.part.files.items()}
        files = {f"{stage.key}/{name}": each for name, each in known.items()}
        return replace(stage.part, file=f"{stage.key}/{stage.part.file}", files=files)

    def _place(self, need: FileNeed, path: Path) -> str:
        """Links a verified file to `path`, or copies what is needed of it where there are no hard links; its fingerprint."""
        source = self._cache.path(need)
        try:
            os.link(source, path)
        except OSError:
            with Draft(path, need.size, (), lambda present: None) as copy:
                for interval in need.intervals:
                    copy.copy(source, interval)
            return fingerprint(path)
        return self._cache.fingerprint(need)

    def _on_removed(self, key: str) -> None:
        """Removes the folders of stages that have a file which the cache removes."""
        with self._lock:
            stages = [stage for stage, linked in self._linked.items() if key in linked.keys]
            for stage in stages:
                del self._linked[stage]
                shutil.rmtree(self._stages / stage, ignore_errors=True)


def _stage(record: PlanRecord, plan: str, number: int) -> _Stage:
    """A stage of the plan; PlanError if there is none, or its files are not those of its part."""
    place = f"plan {plan[:12]}"
    manifest = parse_manifest(record.manifest, place)
    files = {part.stage: part for part in record.parts}
    if number not in files or not 0 <= number < len(manifest.parts):
        raise PlanError(f"{place}: has no stage {number}; it has {len(manifest.parts)}")
    part = manifest.parts[number]
    return _Stage(part, _needs(files[number], part, place))


def _needs(files: PlanPart, part: Part, place: str) -> dict[str, FileNeed]:
    needs = {local_name(file.name, place): FileNeed.of(file, f"{place}: '{file.name}'") for file in files.files}
    if needs.keys() != part.files.keys() or part.file not in needs:
        raise PlanError(f"{place}: stage {part.stage} needs {', '.join(part.files)}; the record has {', '.join(needs)}")
    return needs


def local_name(name: str, place: str) -> str:
    """The name of a file of a plan, made anew from its kind and number: no text of a peer names a file here.

    >>> local_name("weights_01.linked", "plan")
    'weights_1.linked'
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigError(f"{place}: expected the name of a file of a plan, such as 'sub_model_1.onnx', got {describe(name)}")
    return f"{match[1]}{int(match[2])}{match[3]}"


def _require_bytes(folder: Path, stage: _Stage) -> None:
    """PlanError unless all weights that the part refers to are among what was fetched: the rest of a sparse file is zeros."""
    for name, place in external_references(folder / stage.part.file):
        need = stage.needs.get(place.file.name)
        if need is None or without((Interval(place.offset, place.offset + place.length),), need.intervals):
            raise PlanError(
                f"{stage.part.file}: '{name}' reads bytes {place.offset} to {place.offset + place.length} of"
                f" '{place.file.name}', which the plan does not list; upload the plan again"
            )
