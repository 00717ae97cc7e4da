"""What a load test and its senders tell each other: one line of JSON each. Requests and times are in files of a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multiedge.load.contract import Channel, Record
from multiedge.load.schedule import Schedule, Times

REQUESTS, SCHEDULE = "requests.npz", "schedule.npz"


@dataclass(frozen=True)
class Prepare:
    """Connect, and send `warmup` requests, one after another. Every `of`-th request, from `number`, is this sender's. One that
    `is_urgent` goes before all other work of the machine, if the system permits that."""

    channel: Channel
    number: int
    of: int
    warmup: int
    keeps_answers: bool
    is_urgent: bool


@dataclass(frozen=True)
class Begin:
    """Send; `start_s` of `time.monotonic` is the time 0 of the schedule."""

    start_s: float


@dataclass(frozen=True)
class Stop:
    """Send no more, and wait for no answer."""


@dataclass(frozen=True)
class Ready:
    """Connected and warm. `is_real_time`: it goes before all work that has no such right."""

    is_real_time: bool


@dataclass(frozen=True)
class Failed:
    """Why it cannot begin or go on."""

    reason: str


@dataclass(frozen=True)
class Answered:
    """How many requests have been answered so far, with an answer or an error."""

    count: int


@dataclass(frozen=True)
class Finished:
    """Everything is recorded; the first `sent` requests of this sender were sent."""

    sent: int


@dataclass(frozen=True)
class Seen:
    """What one sender has seen of its requests, in their order; times are NaN where there is none."""

    issued_s: Times
    first_s: Times
    done_s: Times
    errors: Mapping[int, str]
    answers: Mapping[int, bytes]
    waited: int


def write_work(folder: Path, requests: Sequence[bytes], schedule: Schedule) -> None:
    """Writes what all senders of a run read."""
    np.savez(folder / REQUESTS, allow_pickle=False, **_joined(requests))
    np.savez(folder / SCHEDULE, due_s=schedule.due_s, samples=schedule.samples)


def read_work(folder: Path, number: int, of: int) -> tuple[list[bytes], Schedule]:
    """All requests, and the part of the schedule that is a sender's."""
    with np.load(folder / SCHEDULE) as data:
        schedule = Schedule(data["due_s"][number::of], data["samples"][number::of])
    with np.load(folder / REQUESTS) as data:
        return _split(data), schedule


def write_seen(folder: Path, number: int, record: Record, sent: int) -> None:
    """Writes what a sender has recorded of the requests that it has sent."""
    kept = {"issued_s": record.issued_s, "first_s": record.first_s, "done_s": record.done_s}
    times = {name: np.array(values[:sent], np.float64) for name, values in kept.items()}
    numbers = np.array(list(record.answers), np.int64)
    np.savez(
        folder / f"seen-{number}.npz", allow_pickle=False, **times, answered=numbers, **_joined(list(record.answers.values()))
    )
    said = {"errors": {str(item): text for item, text in record.errors.items()}, "waited": record.waited}
    (folder / f"seen-{number}.json").write_text(json.dumps(said), encoding="utf-8")


def read_seen(folder: Path, number: int) -> Seen:
    """What `write_seen` has written."""
    said = json.loads((folder / f"seen-{number}.json").read_text(encoding="utf-8"))
    with np.load(folder / f"seen-{number}.npz") as data:
        return Seen(
            data["issued_s"],
            data["first_s"],
            data["done_s"],
            {int(item): str(text) for item, text in said["errors"].items()},
            dict(zip(data["answered"].tolist(), _split(data), strict=True)),
            int(said["waited"]),
        )


def _joined(pieces: Sequence[bytes]) -> dict[str, npt.NDArray[np.generic]]:
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    return {"bytes": np.frombuffer(b"".join(pieces), np.uint8), "ends": ends}


def _split(data: Mapping[str, npt.NDArray[np.generic]]) -> list[bytes]:
    joined, ends = data["bytes"].tobytes(), [int(end) for end in data["ends"].tolist()]
    return [joined[begin:end] for begin, end in pairwise([0, *ends])]
