"""Shared-memory slots per transfer and sender, with a notification pipe per process.

A slot is a file in the run's folder that both ends map: a flag that states whether it is in use, then the message. The
sender takes the first free slot, so that a few stay in the processor's caches, and makes another if none is free; the
receiver frees it after the arrays have been used. No sender waits for a free slot: tickets bound the items in the pipeline,
and with them the slots. A slot grows with its messages; one for which shared memory has no room is a file on disk.
The arrays of a message can be written straight into its slot before it is sent; the receiver reads them there.

The notification pipe is a named pipe: one record of 30 bytes names the slot to read and its length. The kernel's locks in
write and read order the payload before the record, so no counter is shared. Records are shorter than PIPE_BUF, so records of
several writers never mix, and fewer than the pipe's capacity, so writing never blocks.
"""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import select
import struct
from collections.abc import Sequence
from pathlib import Path

from multiedge.errors import PipelineError
from multiedge.transports.clock import RunClock
from multiedge.transports.message import (
    Address,
    Array,
    ArraySpec,
    Layout,
    Message,
    plan_layout,
    plan_places,
    read_layout,
    read_message,
)
from multiedge.transports.rundir import elsewhere, file_of, reserve

_RECORD = struct.Struct("<IHHQIHQ")
"""Epoch, transfer, ticket and sequence; the sender's process, the number of its slot, the bytes of the message."""
_WAKE = 0xFFFF
_READ_BYTES = _RECORD.size * 512
_SELECT_FILES = 1024
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)
"""Maps all pages in advance: one page fault for each costs more than the copy."""
_SLACK_BYTES = 4096
"""Spare bytes, since headers grow a little with their logs."""
_FLAG_BYTES = 64
_FREE, _TAKEN = 0, 1

Ring = tuple[int, int, int]
"""Epoch, transfer and the sender's process."""


class Slot:
    """The memory of one message at a time, as its sender and its receiver see it.

    Messages of one transfer mostly have the same layout, so what was made for the last one is kept: the header that was
    written, and the arrays at both ends.
    """

    def __init__(self, index: int, memory: mmap.mmap) -> None:
        self.index, self.memory = index, memory
        self.places: tuple[Array, ...] = ()
        self._written: Layout | None = None
        self._read: Layout | None = None
        self._views: tuple[Array, ...] = ()

    def prepare(self, layout: Layout) -> None:
        """Makes `places` those of a message with this layout; the slot counts as in use from now on."""
        self.memory[0] = _TAKEN
        if self._written is not layout:
            layout.write_header(self.memory, _FLAG_BYTES)
            self.places, self._written = layout.places(self.memory, _FLAG_BYTES), layout

    def fits(self, layout: Layout, size: int) -> bool:
        """Whether a message of `size` bytes can be completed here that was begun with `prepare`."""
        return self._written is layout and len(self.memory) >= size

    def read(self, address: Address) -> Message:
        layout = read_layout(self.memory, _FLAG_BYTES)
        if self._read is not layout or not layout.has_views_only:
            self._views, self._read = layout.views(self.memory, _FLAG_BYTES), layout
        return read_message(address, layout, self._views, self.memory, _FLAG_BYTES)

    @property
    def is_free(self) -> bool:
        return self.memory[0] == _FREE

    def free(self) -> None:
        self.memory[0] = _FREE


class SharedMemoryEndpoint:
    """The mailbox of process `name` in the run's folder."""

    def __init__(self, directory: Path, name: str) -> None:
        self.clock = RunClock()
        self._directory = directory
        inbox = file_of(directory, "inbox", name)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(inbox, 0o600)
        # Opened for both: a pipe with an open writer never reports its end when another writer closes.
        self._inbox = os.open(inbox, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poller = select.poll()
        self._poller.register(self._inbox, select.POLLIN)
        self._notifiers: dict[str, int] = {}
        self._oldest_epoch = 0
        self._rings: dict[Ring, dict[int, Slot]] = {}
        self._reserved: dict[Address, Slot] = {}
        self._reading: dict[Address, Slot] = {}

    def reserve(self, address: Address, source: str, specs: Sequence[ArraySpec]) -> tuple[Array, ...] | None:
        layout = plan_places(source, specs)
        try:
            slot = self._free_slot(address, _FLAG_BYTES + layout.stop)
        except PipelineError:  # no room for it: the message is refused as well, if there is none by then
            return None
        if slot is None:
            return None
        slot.prepare(layout)
        self._reserved[address] = slot
        return slot.places

    def send(self, peer: str, message: Message) -> None:
        address = message.address
        layout, arrays = plan_layout(message)
        size = _FLAG_BYTES + layout.nbytes(message)
        reserved = self._reserved.pop(address, None)
        slot = reserved if reserved and reserved.fits(layout, size) else self._free_slot(address, size)
        if slot is None:
            return  # the run's folder has been removed, so no receiver waits for this message
        slot.prepare(layout)
        for place, array in zip(slot.places, arrays, strict=True):
            if array is not place:
                place[...] = array
        layout.write_rest(slot.memory, _FLAG_BYTES, message)
        if reserved and reserved is not slot:
            reserved.free()
        self._notify(peer, _RECORD.pack(*address, os.getpid(), slot.index, size))

    def receive(self, timeout_s: float) -> list[Message]:
        if not self._wait(timeout_s):
            return []
        data = os.read(self._inbox, _READ_BYTES)
        messages = []
        for epoch, transfer, ticket, sequence, sender, index, size in _RECORD.iter_unpack(data):
            if transfer == _WAKE or epoch < self._oldest_epoch:
                continue
            slot = self._slot((epoch, transfer, sender), index, size)
            if slot is not None:
                address = Address(epoch, transfer, ticket, sequence)
                self._reading[address] = slot
                messages.append(slot.read(address))
        return messages

    def release(self, address: Address) -> None:
        slot = self._reading.pop(address, None)
        if slot is not None:
            slot.free()

    def _wait(self, timeout_s: float) -> bool:
        """Whether there is something to read. `poll` counts whole milliseconds, and `select` has no room for large numbers."""
        if self._inbox < _SELECT_FILES:
            return bool(select.select([self._inbox], (), (), max(0.0, timeout_s))[0])
        return bool(self._poller.poll(max(0, math.ceil(timeout_s * 1000))))

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._inbox, _RECORD.pack(0, _WAKE, 0, 0, 0, 0, 0))

    def forget(self, before_epoch: int) -> None:
        self._oldest_epoch = before_epoch
        for ring in [ring for ring in self._rings if ring[0] < before_epoch]:
            del self._rings[ring]
        for held in (self._reading, self._reserved):
            for address in [address for address in held if address.epoch < before_epoch]:
                del held[address]

    def close(self) -> None:
        self._rings.clear()
        self._reading.clear()
        self._reserved.clear()
        for fd in (self._inbox, *self._notifiers.values()):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._notifiers.clear()

    def _notify(self, peer: str, record: bytes) -> None:
        try:
            if peer not in self._notifiers:
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
                self._notifiers[peer] = os.open(file_of(self._directory, "inbox", peer), flags)
            os.write(self._notifiers[peer], record)
        except OSError as error:
            # The peer has ended: the supervisor notices that by itself.
            if error.errno not in (errno.ENXIO, errno.EPIPE, errno.ENOENT, errno.EAGAIN):
                raise
            if (fd := self._notifiers.pop(peer, None)) is not None:
                os.close(fd)

    def _free_slot(self, address: Address, size: int) -> Slot | None:
        """A free slot of this sender with room for `size` bytes; None if the run's folder has been removed."""
        ring = (address.epoch, address.transfer, os.getpid())
        slots = self._rings.setdefault(ring, {})
        for slot in slots.values():
            if slot.is_free:
                break
        else:
            slot = None
        if slot is None or len(slot.memory) < size:
            index = len(slots) if slot is None else slot.index
            return self._map(ring, index, size)
        return slot

    def _slot(self, ring: Ring, index: int, size: int) -> Slot | None:
        """A sender's slot; None if the slot has been removed.

        A new process can find records of earlier epochs in its inbox, whose slots have been removed.
        """
        slot = self._rings.setdefault(ring, {}).get(index)
        return self._map(ring, index, 0) if slot is None or len(slot.memory) < size else slot

    def _map(self, ring: Ring, index: int, size: int) -> Slot | None:
        """Maps a slot, which is made or grown to `size` first; None if it, or the run's folder, has been removed."""
        try:
            slot = self._rings[ring][index] = Slot(index, _map(self._path(ring, index), size))
        except FileNotFoundError:
            return None
        return slot

    def _path(self, ring: Ring, index: int) -> Path:
        epoch, transfer, sender = ring
        return self._directory / f"slot-{epoch}-{transfer}-{sender}-{index}"


def _map(path: Path, size: int) -> mmap.mmap:
    """The mapped file, which is made or grown to `size` first; with a size of 0 it has to exist."""
    try:
        return _map_file(path, size)
    except PipelineError as full:  # shared memory: a file on disk takes the slot's place
        return _map_file(elsewhere(path, full), size)


def _map_file(path: Path, size: int) -> mmap.mmap:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if size else 0), 0o600)
    try:
        if size > os.fstat(fd).st_size:
            reserve(fd, size + _SLACK_BYTES, path)
        return mmap.mmap(fd, 0, mmap.MAP_SHARED | _POPULATE)
    finally:
        os.close(fd)
