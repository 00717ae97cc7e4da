"""A shared-memory ring per transfer, with a doorbell.

A ring has one slot per ticket, that is one per item under way, and an item owns its ticket until the caller has its
answer. So a slot has one writer and one reader at a time, nobody waits for a free one, and bounded tickets are the
back-pressure of the whole pipeline. A slot is a file in the run's folder that both ends map; it grows with the messages.

The doorbell is a named pipe per process: one record of 28 bytes says which slot to read and how long it is. The kernel's
locks in write and read order the payload before the record, so no counter is shared. Records stay below PIPE_BUF, so
writers never mix, and below the pipe's capacity, so they never block.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import select
import struct
import time
from pathlib import Path
from typing import Any

from multiedge.errors import PipelineError
from multiedge.transports.message import Address, Message, decode, plan_layout, write
from multiedge.transports.rundir import file_of

_RECORD = struct.Struct("<IIIQQ")
_WAKE = 0xFFFFFFFF
_READ_BYTES = _RECORD.size * 512
MOST_RECORDS = 2048
"""Messages that may wait for one process: what fits into a pipe of 64 KiB, with room to spare."""
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)
"""Maps all pages at once: taking a fault for each costs more than the copy."""
_SLACK_BYTES = 4096
"""Room to spare, since headers grow a little with their logs."""


class SharedMemoryEndpoint:
    """The mailbox of process `name` in the run's folder."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        inbox = file_of(directory, "inbox", name)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(inbox, 0o600)
        # Open for both: with a writer of its own, a pipe never reports its end when another writer goes.
        self._inbox = os.open(inbox, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poller = select.poll()
        self._poller.register(self._inbox, select.POLLIN)
        self._bells: dict[str, int] = {}
        self._oldest_epoch = 0
        self._slots: dict[tuple[int, int, int], mmap.mmap] = {}

    def send(self, peer: str, message: Message) -> None:
        header, payloads, size = plan_layout(message)
        address = message.address
        slot = self._slot(address, size)
        if slot is None:
            return  # the run's folder has gone, and with it everyone who could wait for this
        write(slot, header, payloads)
        self._ring_bell(peer, _RECORD.pack(*address, size))

    def receive(self, timeout_s: float) -> list[Message]:
        if timeout_s > 0 and not self._wait(timeout_s):
            return []
        try:
            data = os.read(self._inbox, _READ_BYTES)
        except BlockingIOError:
            return []
        found = []
        for *fields, size in _RECORD.iter_unpack(data):
            address = Address(*fields)
            if address.transfer != _WAKE and address.epoch >= self._oldest_epoch:
                slot = self._slot(address, size, made=True)
                if slot is not None:
                    found.append(decode(address, slot))
        return found

    def _wait(self, timeout_s: float) -> bool:
        """Whether there is something to read; poll counts whole milliseconds, so a shorter rest is slept."""
        whole_ms = int(timeout_s * 1000)
        until = time.monotonic() + timeout_s
        if self._poller.poll(whole_ms):
            return True
        rest = until - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        return bool(rest > 0 and self._poller.poll(0))

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._inbox, _RECORD.pack(0, _WAKE, 0, 0, 0))

    def forget(self, before_epoch: int) -> None:
        self._oldest_epoch = before_epoch
        for key in [key for key in self._slots if key[0] < before_epoch]:
            del self._slots[key]

    def close(self) -> None:
        self._slots.clear()
        for fd in (self._inbox, *self._bells.values()):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._bells.clear()

    def _ring_bell(self, peer: str, record: bytes) -> None:
        try:
            if peer not in self._bells:
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
                self._bells[peer] = os.open(file_of(self._directory, "inbox", peer), flags)
            os.write(self._bells[peer], record)
        except OSError as error:
            # Nobody reads there (any more): the one who watches the processes knows it already.
            if error.errno not in (errno.ENXIO, errno.EPIPE, errno.ENOENT, errno.EAGAIN):
                raise
            if (fd := self._bells.pop(peer, None)) is not None:
                os.close(fd)

    def _slot(self, address: Address, size: int, *, made: bool = False) -> mmap.mmap | None:
        """The mapped slot, at least `size` bytes; None if it is void by now.

        The sender makes it; who finds it `made` is the receiver. A process that is new finds records of earlier epochs in
        its inbox, whose slots have been removed.
        """
        key = address[:3]
        slot = self._slots.get(key)
        if slot is None or len(slot) < size:
            path = self._directory / f"slot-{key[0]}-{key[1]}-{key[2]}"
            try:
                slot = _map(path, 0 if made else size)
            except FileNotFoundError:
                return None
            self._slots[key] = slot
        return slot


def _map(path: Path, size: int) -> mmap.mmap:
    """The file's memory; one that is smaller than `size` is made or grown first, with 0 it has to exist."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if size else 0), 0o600)
    try:
        if size > os.fstat(fd).st_size:
            _allocate(fd, size + _SLACK_BYTES, path)
        return mmap.mmap(fd, 0, mmap.MAP_SHARED | _POPULATE)
    finally:
        os.close(fd)


def _allocate(fd: int, size: int, path: Path) -> None:
    """Reserves the pages now: writing to a mapping of a full file system ends the process without a word."""
    try:
        allocate: Any = getattr(os, "posix_fallocate", None)
        if allocate:
            allocate(fd, 0, size)
        else:
            os.ftruncate(fd, size)
    except OSError as error:
        raise PipelineError(
            f"{path.parent}: no room for a message of {size / 2**20:.1f} MiB ({error.strerror});"
            " free shared memory, lower --depth, or use --transport pipe"
        ) from error
