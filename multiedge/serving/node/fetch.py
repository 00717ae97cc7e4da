"""Bytes of the pool into a file of the cache: those that are missing, and only if their digests hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Protocol

from multiedge.errors import ChangedError, NetworkError, PipelineError
from multiedge.network.records import ByteRange
from multiedge.serving.node.cache import Cache, FileNeed
from multiedge.serving.node.draft import Draft
from multiedge.serving.node.intervals import Interval, common, total, without

ATTEMPTS = 6
"""How often a fetch that ended early is resumed without progress."""
RETRY_S = 0.25
"""Before it is resumed; it doubles each time."""


class Pool(Protocol):
    """Where files come from: `multiedge.network.client.HubClient`."""

    def read(self, sha256: str, offset: int, length: int) -> Iterator[bytes]:
        """Bytes of the file of this digest, in pieces; NetworkError if they end early, with a status if they are refused."""
        ...


class Fetch:
    """Brings files into the cache.

    Args:
        cache: Where they go; they must be in use.
        pool: Where they come from.
        progress: Called with newly present bytes.
        is_cancelled: Ends the fetch soon after it returns True.
    """

    def __init__(self, cache: Cache, pool: Pool, progress: Callable[[int], None], is_cancelled: Callable[[], bool]) -> None:
        self._cache, self._pool, self._progress, self._is_cancelled = cache, pool, progress, is_cancelled

    def file(self, need: FileNeed, place: str) -> None:
        """Returns when all ranges of the file are here and verified; `place` begins errors.

        Raises:
            ChangedError: If the pool has other bytes than those of a digest.
            NetworkError: If the pool does not answer, or refuses.
            PipelineError: When cancelled.
            ConfigError: If the file cannot be written.
        """
        with self._cache.writing(need) as draft:
            if draft is None:
                return
            self._copy(need, draft)
            self._read(need, draft)
            if wrong := [each for each in need.ranges if not draft.holds(each)]:
                # What was interrupted or copied may be what is wrong: each range has one chance to come whole.
                self._drop(draft, wrong)
                self._read(need, draft)
                wrong = [each for each in wrong if not draft.holds(each)]
            if wrong:
                self._drop(draft, wrong)
                first = wrong[0]
                raise ChangedError(
                    f"{place}: bytes {first.offset} to {first.offset + first.length} in the pool are not those of the plan"
                    f" (SHA-256 {first.sha256[:12]}...); upload the plan again"
                )
            draft.finish()

    def _drop(self, draft: Draft, ranges: list[ByteRange]) -> None:
        for each in ranges:
            draft.drop(each)
        self._progress(-sum(each.length for each in ranges))

    def _copy(self, need: FileNeed, draft: Draft) -> None:
        """Takes what is here in other files."""
        for path, present in self._cache.complete_files(need.sha256):
            for interval in common(present, without(need.intervals, draft.present)):
                draft.copy(path, interval)
                self._progress(len(interval))

    def _read(self, need: FileNeed, draft: Draft) -> None:
        """Fetches what is missing, one request for each run of bytes, and resumes where the connection ended."""
        attempts = 0
        while missing := without(need.intervals, draft.present):
            try:
                for interval in missing:
                    self._request(need, draft, interval)
            except NetworkError as error:
                attempts = 0 if total(without(need.intervals, draft.present)) < total(missing) else attempts + 1
                if error.status is not None or attempts >= ATTEMPTS:
                    raise
                self._wait(RETRY_S * 2**attempts)

    def _request(self, need: FileNeed, draft: Draft, interval: Interval) -> None:
        at = interval.start
        with closing(_as_generator(self._pool.read(need.sha256, interval.start, len(interval)))) as pieces:
            for piece in pieces:
                draft.write(at, piece)
                at += len(piece)
                self._progress(len(piece))
                self._require_wanted()

    def _wait(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._require_wanted()
            time.sleep(min(0.05, seconds))

    def _require_wanted(self) -> None:
        if self._is_cancelled():
            raise PipelineError("fetching was cancelled")


def _as_generator(pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
    """What `closing` can end when a request is given up."""
    yield from pieces
