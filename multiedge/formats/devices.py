"""devices.yaml: read once, checked whole, turned into a Fleet.

Ianvs's field names and spellings are accepted (`bandwith`, numbers in quotes, name and type exchanged); every other
unknown key is an error. docs/devices-yaml.md describes each field.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from multiedge import quantity
from multiedge.errors import did_you_mean
from multiedge.fleet import (
    AUTO_BACKEND,
    DEFAULT_MEMORY_MARGIN,
    PRECISIONS,
    Device,
    Encoding,
    Fleet,
    Link,
    PartitionPoint,
    Power,
    default_runtime_bytes,
)
from multiedge.formats.documents import read_yaml
from multiedge.formats.fields import Field
from multiedge.quantity import Quantity

LOGGER = logging.getLogger("multiedge")

_SYNONYMS = {"bandwith": "bandwidth", "cores": "threads", "frequency": "freq", "output_name": "output_names"}
_FLEET_KEYS = ("devices", "links", "partition_points", "source", "name")
_POWER_KEYS = ("idle", "busy", "source")
_LINK_ENDS = ("between", "from", "to")
_POINT_KEYS = ("input_names", "output_names", "device_name")

_Read = Callable[[Field], Any]


def _quantity(kind: Quantity) -> Callable[[Field], float]:
    return lambda field: field.quantity(kind)


def _positive(kind: Quantity) -> Callable[[Field], float]:
    return lambda field: field.quantity(kind, positive=True)


def _count(field: Field) -> int:
    number = field.quantity(quantity.FACTOR)
    if number < 1 or number != int(number):
        raise field.expected("a whole number from 1")
    return int(number)


def _memory(field: Field) -> int:
    return int(field.quantity(quantity.BYTES, positive=True))


def _bytes(field: Field) -> int:
    return int(field.quantity(quantity.BYTES))


def _loss(field: Field) -> float:
    number = field.quantity(quantity.FACTOR)
    if number >= 1:
        raise field.expected("a share from 0 to below 1")
    return number


def _encoding(field: Field) -> Encoding:
    return Encoding(field.choice([each.value for each in Encoding if each is not Encoding.NONE]))


_DEVICE_FIELDS: dict[str, tuple[str, _Read]] = {
    "name": ("name", Field.name),
    "type": ("type", Field.name),
    "memory": ("memory_bytes", _memory),
    "memory_margin": ("memory_margin", lambda field: field.quantity(quantity.SHARE)),
    "speed": ("speed", _positive(quantity.FACTOR)),
    "flops": ("flops_per_s", _positive(quantity.FLOPS)),
    "memory_bandwidth": ("memory_bytes_per_s", _positive(quantity.MEMORY_BANDWIDTH)),
    "freq": ("freq_hz", _positive(quantity.FREQUENCY)),
    "threads": ("threads", _count),
    "bandwidth": ("bandwidth_bytes_per_s", _positive(quantity.BANDWIDTH)),
    "latency": ("latency_s", _quantity(quantity.SECONDS)),
    "power": ("power", lambda field: _power(field)),
    "energy_per_byte": ("joules_per_byte", _quantity(quantity.JOULES_PER_BYTE)),
    "backend": ("backend", Field.name),
    "precision": ("precision", lambda field: field.choice(PRECISIONS)),
    "runtime_memory": ("runtime_bytes", _bytes),
    "battery": ("battery_j", _positive(quantity.JOULES)),
}
_LINK_FIELDS: dict[str, tuple[str, _Read]] = {
    "bandwidth": ("bandwidth_bytes_per_s", _positive(quantity.BANDWIDTH)),
    "latency": ("latency_s", _quantity(quantity.SECONDS)),
    "jitter": ("jitter_s", _quantity(quantity.SECONDS)),
    "loss": ("loss", _loss),
    "encoding": ("encoding", _encoding),
}


def read_fleet(path: str | os.PathLike[str]) -> Fleet:
    """The fleet that a devices.yaml describes.

    Args:
        path: The file.

    Returns:
        The Fleet.

    Raises:
        ConfigError: If the file cannot be read or has a value that cannot be used; one line with file, place, expectation and
            finding.
    """
    return _fleet(read_yaml(path))


def parse_fleet(data: object, place: str = "devices.yaml") -> Fleet:
    """The fleet in `data`, as a YAML or JSON parser left it; `place` begins every error."""
    return _fleet(Field(data, place))


def _fleet(document: Field) -> Fleet:
    content = document.record(_FLEET_KEYS, _SYNONYMS)
    points = tuple(_point(field) for field in _entries(content["partition_points"]))
    devices = _with_names_and_types_exchanged(
        content["devices"].list_of(_device, least=1), [point.device_name for point in points], document.place
    )
    names = [device.name for device in devices]
    links: dict[tuple[str, str], Link] = {}
    for field in _entries(content["links"]):
        declared = _links(field, names)
        for (source, target), link in declared.items():
            if links.get((source, target), link) != link:
                raise field.error(f"the link from '{source}' to '{target}' is declared twice with different values; keep one")
        links.update(declared)
    for field in _entries(content["partition_points"]):
        _device_name(field["device_name"], names)
    return Fleet(
        devices,
        links,
        points,
        name=content["name"].optional(Field.name, document.place),
        source=content["source"].optional(lambda field: _device_name(field, names)),
    )


def _entries(field: Field) -> list[Field]:
    return field.items() if field.given else []


def _device(field: Field) -> Device:
    content = field.record(_DEVICE_FIELDS, _SYNONYMS)
    content["name"].name()
    values = {"backend": AUTO_BACKEND, **_values(content, _DEVICE_FIELDS)}
    defaults = {"runtime_bytes": default_runtime_bytes(values["backend"]), "memory_margin": DEFAULT_MEMORY_MARGIN}
    return Device(**{**defaults, **values})


def _power(field: Field) -> Power:
    content = field.record(_POWER_KEYS)
    idle_w, busy_w = content["idle"].quantity(quantity.WATTS), content["busy"].quantity(quantity.WATTS)
    if busy_w < idle_w:
        raise field.error(f"expected busy watts not below idle watts, got {busy_w} and {idle_w}")
    return Power(idle_w, busy_w, content["source"].optional(Field.text, "declared"))


def _links(field: Field, names: Sequence[str]) -> dict[tuple[str, str], Link]:
    """The link by (from, to): both ways if it is declared 'between' two devices."""
    content = field.record((*_LINK_ENDS, *_LINK_FIELDS), _SYNONYMS)
    keys = [key for key in _LINK_ENDS if key in content]
    if keys not in (["between"], ["from", "to"]):
        raise field.error(f"expected 'between: [device, device]' or 'from' and 'to', got {' and '.join(keys) or 'neither'}")
    if keys == ["between"]:
        a, b = content["between"].pair_of(lambda end: _device_name(end, names))
    else:
        a, b = (_device_name(content[key], names) for key in keys)
    if a == b:
        raise field.error(f"expected two different devices, got '{a}' twice")
    link = Link(**_values(content, _LINK_FIELDS))
    return {(a, b): link, (b, a): link} if keys == ["between"] else {(a, b): link}


def _point(field: Field) -> PartitionPoint:
    content = field.record(_POINT_KEYS, _SYNONYMS)
    return PartitionPoint(
        _tensor_names(content["input_names"]), _tensor_names(content["output_names"]), content["device_name"].name()
    )


def _tensor_names(field: Field) -> tuple[str, ...]:
    """A list of names; Ianvs's files also write a single name without the list."""
    return (field.name(),) if isinstance(field.value, str) else field.list_of(Field.name, least=1)


def _with_names_and_types_exchanged(devices: Sequence[Device], wanted: Collection[str], place: str) -> tuple[Device, ...]:
    """Devices with name and type exchanged where a partition point refers to a device by its type, as Ianvs's files do."""
    types = set(wanted) - {device.name for device in devices}

    def corrected(device: Device) -> Device:
        if device.type not in types or device.name in wanted:
            return device
        LOGGER.warning("%s: device '%s' of type '%s': name and type read as exchanged", place, device.name, device.type)
        return replace(device, name=device.type, type=device.name)

    return tuple(corrected(device) for device in devices)


def _values(content: Field, table: Mapping[str, tuple[str, _Read]]) -> dict[str, Any]:
    """The values that are given, by the name of their attribute."""
    return {attribute: read(content[key]) for key, (attribute, read) in table.items() if content[key].given}


def _device_name(field: Field, names: Sequence[str]) -> str:
    name = field.name()
    if name not in names:
        raise field.error(f"device '{name}' is not among the devices{did_you_mean(name, names)}")
    return name
