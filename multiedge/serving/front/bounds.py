"""What a request asks of the plan that answers it, read from the request's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from multiedge.formats.fields import Field, Kind

REQUEST = Kind("request")


class Otherwise(str, Enum):
    """What happens if no plan keeps all bounds: the request is refused, or the nearest plan answers it."""

    REFUSE = "refuse"
    NEAREST = "nearest"


class Prefer(str, Enum):
    """Which of the plans that keep all bounds answers: the quickest now, that of least energy, or the most accurate."""

    LATENCY = "latency"
    ENERGY = "energy"
    ACCURACY = "accuracy"


@dataclass(frozen=True)
class Bounds:
    """What a request asks; None is: nothing.

    Attributes:
        max_latency_s: The longest expected latency, the time in queues included.
        min_accuracy: The least share of right answers, from 0 to 1.
        max_energy_j: The most joules for it, on all nodes together.
        battery: Share of the charge of the calling device's battery, from 0 to 1.
        prefer: Which of the plans that keep all bounds answers.
        otherwise: What happens if none does.
        first_on_device: The stages that take the inputs must be on the calling device, so that no input leaves it.
        last_on_device: The stages that give the results must be on the calling device.
        offload: False: no part of it may run on another device. True: other devices may be used even where the policy of the
            front end would not.
        row: Name of the plan that must answer; '' for any.
    """

    max_latency_s: float | None = None
    min_accuracy: float | None = None
    max_energy_j: float | None = None
    battery: float | None = None
    prefer: Prefer = Prefer.LATENCY
    otherwise: Otherwise = Otherwise.REFUSE
    first_on_device: bool = False
    last_on_device: bool = False
    offload: bool | None = None
    row: str = ""


PARAMETERS = (
    "max_latency_ms",
    "min_accuracy",
    "max_energy_j",
    "battery",
    "prefer",
    "otherwise",
    "first",
    "last",
    "offload",
    "row",
)
"""Names of the parameters of a request that are read here."""


def read_bounds(parameters: Mapping[str, object]) -> Bounds:
    """The bounds of a request.

    Args:
        parameters: The request's parameters. Numbers may be texts, since some clients send no others. Parameters of other names
            are left alone, except names that are nearly those of `PARAMETERS`.

    Returns:
        The Bounds.

    Raises:
        ConfigError: For a value that cannot be used, and for a name that is misspelt; one line with its place.
    """
    data = Field(parameters, "request", REQUEST).open_record(PARAMETERS)
    latency_ms = data["max_latency_ms"].optional(_above_zero)
    return Bounds(
        None if latency_ms is None else latency_ms / 1e3,
        data["min_accuracy"].optional(_share),
        data["max_energy_j"].optional(_above_zero),
        data["battery"].optional(_share),
        data["prefer"].optional(lambda field: field.enum(Prefer), Prefer.LATENCY),
        data["otherwise"].optional(lambda field: field.enum(Otherwise), Otherwise.REFUSE),
        data["first"].optional(Field.boolean, False),
        data["last"].optional(Field.boolean, False),
        data["offload"].optional(Field.boolean),
        data["row"].optional(Field.name, ""),
    )


def _above_zero(field: Field) -> float:
    number = _with_number(field).number()
    if number <= 0:
        raise field.expected("a number above 0")
    return number


def _share(field: Field) -> float:
    return _with_number(field).number(0, 1)


def _with_number(field: Field) -> Field:
    """The field with the number that its text states."""
    try:
        return Field(float(field.value), field.place, field.kind) if isinstance(field.value, str) else field
    except ValueError:
        return field
