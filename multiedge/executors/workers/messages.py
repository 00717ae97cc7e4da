"""What a supervisor and a worker send each other: typed commands and replies, each one line of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from multiedge.errors import PipelineError
from multiedge.executors.flow.routes import Routes
from multiedge.fleet import Device, Link
from multiedge.formats.fields import Kind
from multiedge.formats.records import LineDecoder, encode_line
from multiedge.measurements import RanStage

# -- commands -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """The first command: which device the worker is, and how it emulates it.

    `backends` holds options of backends, by name of the backend. Compute runs at `speed` times `factor`, which a trace
    changes. `cores` are the ones to stay on, () for any. `links` leave the device, by peer. `caller` is the device at which
    the caller is, or the caller's own name. A worker that takes more than `memory_limit_bytes` waits for its end; None is no
    limit.
    """

    device: Device
    backends: Mapping[str, Mapping[str, Any]]
    speed: float
    factor: float
    cores: tuple[int, ...]
    transport: str
    links: Mapping[str, Link]
    caller: str
    micro_batch: int
    record: bool
    seed: int
    memory_limit_bytes: int | None = None


@dataclass(frozen=True)
class Prepare:
    """Load the stages that the routes give to the device, from the plan's `directory`, before an epoch that needs them."""

    directory: str
    routes: Routes


@dataclass(frozen=True)
class Configure:
    """Enter an epoch: load the stages that the routes give to the device, close the others, drop messages of earlier epochs.

    The items of the sequence numbers `alone` are joined with no others.
    """

    epoch: int
    directory: str
    routes: Routes
    alone: tuple[int, ...] = ()


@dataclass(frozen=True)
class SetSpeed:
    """The device runs at `factor` times its speed from now on."""

    factor: float


@dataclass(frozen=True)
class SetLink:
    """The link from device `source` to device `target` changes; the worker is at one of its ends."""

    source: str
    target: str
    link: Link


@dataclass(frozen=True)
class SetClock:
    """The caller's clock is CLOCK_MONOTONIC of the worker's machine plus `offset_s`: times of a run are on the caller's."""

    offset_s: float


@dataclass(frozen=True)
class Stop:
    """End without a reply."""


Command = Hello | Prepare | Configure | SetSpeed | SetLink | SetClock | Stop

# -- replies ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """A stage that was loaded, when (CLOCK_MONOTONIC), and what computes it."""

    stage: int
    start_s: float
    stop_s: float
    ran: RanStage


@dataclass(frozen=True)
class Prepared:
    """The stages of a Prepare are loaded."""

    loads: tuple[Load, ...] = ()


@dataclass(frozen=True)
class Configured:
    """The epoch is entered; `resident_bytes` is what the worker takes then, None where the system does not say."""

    epoch: int
    loads: tuple[Load, ...] = ()
    resident_bytes: int | None = None


@dataclass(frozen=True)
class Failed:
    """A Prepare or Configure could not be carried out: a stage cannot be loaded, its files are not those of the plan
    ('changed'), or memory is exhausted. 'protocol' is of a worker that sent what is no reply."""

    reason: Literal["load", "changed", "memory", "protocol"]
    detail: str


Reply = Prepared | Configured | Failed

# -- as bytes -----------------------------------------------------------------------------------------------------------

_KIND = Kind("message", PipelineError)


def encode(message: Command | Reply) -> bytes:
    """The message as one line."""
    return encode_line(message)


def command_decoder(sender: str = "command") -> LineDecoder[Command]:
    return LineDecoder(get_args(Command), sender, _KIND)


def reply_decoder(device: str) -> LineDecoder[Reply]:
    return LineDecoder(get_args(Reply), f"worker of '{device}'", _KIND)
