"""devices.yaml: read once, checked whole, turned into a Fleet.

Ianvs's field names and spellings hold (`bandwith`, numbers in quotes, name and type swapped); every other unknown key
is an error. docs/devices-yaml.md describes each field.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from multiedge import quantity
from multiedge.errors import ConfigError, did_you_mean, no_such
from multiedge.fleet import Device, Fleet, Link, PartitionPoint, Power
from multiedge.quantity import Quantity

LOGGER = logging.getLogger("multiedge")

_SYNONYMS = {"bandwith": "bandwidth", "cores": "threads", "frequency": "freq", "output_name": "output_names"}
_FLEET_KEYS = ("devices", "links", "partition_points", "source", "name")
_POWER_KEYS = ("idle", "busy", "source")
_LINK_ENDS = ("between", "from", "to")
_POINT_KEYS = ("input_names", "output_names", "device_name")

_Parser = Callable[[object], Any]


def _quantity(kind: Quantity) -> _Parser:
    return lambda value: quantity.parse(value, kind)


def _positive(kind: Quantity) -> _Parser:
    def parse(value: object) -> float:
        number = quantity.parse(value, kind)
        if number <= 0:
            raise ValueError(f"expected {kind.example}, more than zero, got {value!r}")
        return number

    return parse


def _text(value: object) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool) or str(value).strip() == "":
        raise ValueError(f"expected a word, got {value!r}")
    return str(value)


def _count(value: object) -> int:
    number = quantity.parse(value, quantity.FACTOR)
    if number < 1 or number != int(number):
        raise ValueError(f"expected a whole number from 1, got {value!r}")
    return int(number)


def _bytes(value: object) -> int:
    return int(_positive(quantity.BYTES)(value))


def _share(value: object) -> float:
    number = quantity.parse(value, quantity.FACTOR)
    if number >= 1:
        raise ValueError(f"expected a share from 0 to below 1, got {value!r}")
    return number


_DEVICE_FIELDS: dict[str, tuple[str, _Parser]] = {
    "name": ("name", _text),
    "type": ("type", _text),
    "memory": ("memory_bytes", _bytes),
    "speed": ("speed", _positive(quantity.FACTOR)),
    "flops": ("flops_per_s", _positive(quantity.FLOPS)),
    "memory_bandwidth": ("memory_bytes_per_s", _positive(quantity.MEMORY_BANDWIDTH)),
    "freq": ("freq_hz", _positive(quantity.FREQUENCY)),
    "threads": ("threads", _count),
    "bandwidth": ("bandwidth_bytes_per_s", _positive(quantity.BANDWIDTH)),
    "latency": ("latency_s", _quantity(quantity.SECONDS)),
    "energy_per_byte": ("joules_per_byte", _quantity(quantity.JOULES_PER_BYTE)),
    "backend": ("backend", _text),
    "runtime_memory": ("runtime_bytes", lambda value: int(quantity.parse(value, quantity.BYTES))),
    "battery": ("battery_j", _positive(quantity.JOULES)),
}
_LINK_FIELDS: dict[str, tuple[str, _Parser]] = {
    "bandwidth": ("bandwidth_bytes_per_s", _positive(quantity.BANDWIDTH)),
    "latency": ("latency_s", _quantity(quantity.SECONDS)),
    "jitter": ("jitter_s", _quantity(quantity.SECONDS)),
    "loss": ("loss", _share),
}


def read_fleet(path: str | os.PathLike[str]) -> Fleet:
    """The fleet that a devices.yaml describes.

    Raises ConfigError, one line with file, place, expectation and finding, for anything that cannot be used.
    """
    return parse_fleet(read_yaml(path), str(path))


def read_yaml(path: str | os.PathLike[str]) -> object:
    """The content of a yaml file, by the safe loader; ConfigError if it cannot be read."""
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(no_such(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{path}{where}: not valid yaml: {problem}") from error


def parse_fleet(data: object, place: str = "devices.yaml") -> Fleet:
    """The fleet in `data`, as a yaml or JSON parser left it; `place` begins every error."""
    content = _mapping(data, place, _FLEET_KEYS)
    devices = [
        _device(item, f"{place}: devices[{i}]") for i, item in enumerate(_list(content.get("devices"), f"{place}: devices"))
    ]
    if not devices:
        raise ConfigError(f"{place}: devices: expected a list of at least one device, got none")
    points = [
        _point(item, f"{place}: partition_points[{i}]")
        for i, item in enumerate(_list(content.get("partition_points"), f"{place}: partition_points"))
    ]
    devices = _unswapped(devices, [point.device_name for point in points], place)
    names = [device.name for device in devices]
    links: dict[tuple[str, str], Link] = {}
    for index, item in enumerate(_list(content.get("links"), f"{place}: links")):
        links.update(_links(item, f"{place}: links[{index}]", names))
    for index, point in enumerate(points):
        _known(point.device_name, names, f"{place}: partition_points[{index}].device_name")
    source = content.get("source")
    if source is not None:
        source = _known(source, names, f"{place}: source")
    name = str(content.get("name", place))
    return Fleet(tuple(devices), links, tuple(points), name=name, source=source)


def _device(data: object, place: str) -> Device:
    content = _mapping(data, place, (*_DEVICE_FIELDS, "power"))
    if "name" not in content:
        raise ConfigError(f"{place}: expected a 'name', got only {', '.join(content) or 'nothing'}")
    power = _power(content.pop("power"), f"{place}.power") if content.get("power") is not None else None
    return Device(**_fields(content, _DEVICE_FIELDS, place), power=power)


def _power(data: object, place: str) -> Power:
    content = _mapping(data, place, _POWER_KEYS)
    missing = [key for key in ("idle", "busy") if content.get(key) is None]
    if missing:
        raise ConfigError(f"{place}: expected 'idle' and 'busy' watts, {' and '.join(missing)} missing")
    watts = {key: _parsed(_quantity(quantity.WATTS), content[key], f"{place}.{key}") for key in ("idle", "busy")}
    if watts["busy"] < watts["idle"]:
        raise ConfigError(f"{place}: expected busy watts not below idle watts, got {watts['busy']} and {watts['idle']}")
    return Power(watts["idle"], watts["busy"], str(content.get("source", "declared")))


def _links(data: object, place: str, names: list[str]) -> dict[tuple[str, str], Link]:
    content = _mapping(data, place, (*_LINK_ENDS, *_LINK_FIELDS))
    both_ways = "between" in content
    ends = content.pop("between", None) if both_ways else [content.pop("from", None), content.pop("to", None)]
    if not isinstance(ends, list) or len(ends) != 2 or None in ends or set(_LINK_ENDS) & set(content):
        raise ConfigError(f"{place}: expected 'between: [device, device]' or 'from' and 'to', got {data!r}")
    a, b = (_known(end, names, place) for end in ends)
    if a == b:
        raise ConfigError(f"{place}: expected two different devices, got '{a}' twice")
    link = Link(**_fields(content, _LINK_FIELDS, place))
    return {(a, b): link, (b, a): link} if both_ways else {(a, b): link}


def _point(data: object, place: str) -> PartitionPoint:
    content = _mapping(data, place, _POINT_KEYS)
    missing = [key for key in _POINT_KEYS if key not in content]
    if missing:
        raise ConfigError(f"{place}: expected {', '.join(_POINT_KEYS)}; {', '.join(missing)} missing")
    names = {key: _names(content[key], f"{place}.{key}") for key in ("input_names", "output_names")}
    return PartitionPoint(
        names["input_names"], names["output_names"], _parsed(_text, content["device_name"], f"{place}.device_name")
    )


def _names(value: object, place: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int) for name in names):
        raise ConfigError(f"{place}: expected a list of tensor names, got {value!r}")
    return tuple(str(name) for name in names)


def _unswapped(devices: list[Device], wanted: Iterable[str], place: str) -> list[Device]:
    """Devices with name and type exchanged where a partition point calls a device by its type, as in a file of Ianvs's."""
    names = {device.name for device in devices}
    swapped = set(wanted) - names
    found = []
    for device in devices:
        if device.type in swapped and device.name not in wanted:
            LOGGER.warning("%s: device '%s' of type '%s': name and type read as swapped", place, device.name, device.type)
            device = Device(**{**vars(device), "name": device.type, "type": device.name})
        found.append(device)
    return found


def _mapping(data: object, place: str, known: Iterable[str]) -> dict[str, Any]:
    """`data` as a mapping with Ianvs's spellings put right; ConfigError if it is none or has unknown keys."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{place}: expected a mapping of {', '.join(known)}, got {_kind(data)}")
    content: dict[str, Any] = {}
    for key, value in data.items():
        name = _SYNONYMS.get(str(key), str(key))
        if name not in known:
            raise ConfigError(f"{place}: unknown key '{key}'{did_you_mean(str(key), known)}")
        if name in content:
            raise ConfigError(f"{place}: '{name}' is given twice, once as '{key}'; keep one")
        content[name] = value
    return content


def _list(data: object, place: str) -> list[Any]:
    if data is None:
        return []
    if not isinstance(data, list):
        raise ConfigError(f"{place}: expected a list, got {_kind(data)}")
    return data


def _fields(content: Mapping[str, object], table: Mapping[str, tuple[str, _Parser]], place: str) -> dict[str, Any]:
    return {
        table[key][0]: _parsed(table[key][1], value, f"{place}.{key}") for key, value in content.items() if value is not None
    }


def _parsed(parser: _Parser, value: object, place: str) -> Any:
    try:
        return parser(value)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None


def _known(value: object, names: list[str], place: str) -> str:
    if str(value) not in names:
        raise ConfigError(f"{place}: device '{value}' is not among the devices{did_you_mean(str(value), names)}")
    return str(value)


def _kind(data: object) -> str:
    return "nothing" if data is None else f"{type(data).__name__} {str(data)[:40]!r}"
