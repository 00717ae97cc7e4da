"""What a supervisor and a worker send each other: typed commands and replies, each one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from multiedge.errors import PipelineError
from multiedge.executors.flow.routes import Routes
from multiedge.fleet import Device, Link
from multiedge.formats.fields import Field, Kind

# -- commands -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """The first command: which device the worker is, and how it emulates it.

    `backend` holds options of the device's backend. Compute runs at `speed` times `factor`, which a trace changes. `cores`
    are the ones to stay on, () for any. `links` leave the device, by peer. `caller` is the device at which the caller is, or
    the caller's own name. A worker that takes more than `memory_limit_bytes` waits for its end; None is no limit.
    """

    device: Device
    backend: Mapping[str, Any]
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
class Stop:
    """End without a reply."""


Command = Hello | Prepare | Configure | SetSpeed | SetLink | Stop

# -- replies ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """A stage that was loaded, when (CLOCK_MONOTONIC), and what computes it, in the runtime's words."""

    stage: int
    start_s: float
    stop_s: float
    provider: str


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

Message = TypeVar("Message", Command, Reply)
_COMMANDS = {kind.__name__: kind for kind in get_args(Command)}
_REPLIES = {kind.__name__: kind for kind in get_args(Reply)}
_KIND = Kind("message", PipelineError)


def encode(message: Command | Reply) -> bytes:
    """The message as one line."""
    return json.dumps({"type": type(message).__name__, **asdict(message)}, separators=(",", ":")).encode() + b"\n"


class Decoder(Generic[Message]):
    """Puts messages together from the pieces in which they arrive. `sender` begins the error of a line that is none."""

    def __init__(self, kinds: Mapping[str, Callable[..., Message]], sender: str) -> None:
        self._kinds: Mapping[str, Callable[..., Message]] = kinds
        self._sender, self._rest = sender, b""

    def feed(self, data: bytes) -> tuple[Message, ...]:
        """The messages that are complete by now. Raises PipelineError that names the field of a damaged one."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return tuple([self._message(line) for line in lines])

    def _message(self, line: bytes) -> Message:
        try:
            field = Field(json.loads(line), self._sender, _KIND)
        except (ValueError, RecursionError):
            raise PipelineError(f"{self._sender}: expected one message in JSON per line, got {line[:40]!r}") from None
        kind = self._kinds[field["type"].choice(self._kinds)]
        message: Message = _reader(kind)(field)
        return message


def command_decoder() -> Decoder[Command]:
    return Decoder(_COMMANDS, "command")


def reply_decoder(device: str) -> Decoder[Reply]:
    return Decoder(_REPLIES, f"worker of '{device}'")


@cache
def _reader(kind: Any) -> Callable[[Field], Any]:
    """What reads a value of the type `kind` from a field: the inverse of `dataclasses.asdict` and JSON."""
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if is_dataclass(kind):
        return _record_reader(kind)
    arguments = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        (inner,) = (_reader(each) for each in arguments if each is not NoneType)
        return lambda field: field.optional(inner)
    if get_origin(kind) is Literal:
        return lambda field: field.choice(arguments)
    inner = _reader(arguments[0] if get_origin(kind) is tuple else arguments[1])
    if get_origin(kind) is tuple:
        return lambda field: field.list_of(inner)
    return lambda field: field.mapping_of(inner)


def _record_reader(kind: Any) -> Callable[[Field], Any]:
    hints = get_type_hints(kind)
    readers = {each.name: _reader(hints[each.name]) for each in fields(kind)}

    def read(field: Field) -> Any:
        return kind(**{name: reader(field[name]) for name, reader in readers.items()})

    return read


_SIMPLE: Mapping[Any, Callable[[Field], Any]] = {
    str: Field.text,
    int: Field.integer,
    bool: Field.boolean,
    float: lambda field: field.number(finite=False),
    Any: Field.data,
}
