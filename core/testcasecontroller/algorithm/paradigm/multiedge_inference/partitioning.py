"""The parts of a model, made by the settings of a job.

The library `multiedge` is imported only when a partition is needed, so that an Ianvs without it (`multiedge attach`) still
runs other jobs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.common.log import LOGGER

if TYPE_CHECKING:
    from multiedge.fleet import Fleet

Settings = Sequence[Mapping[str, Any]]
"""The sources of settings; the first that has a setting is used."""

_STRATEGY = ("partition_strategy", "strategy")
_FROM_OBJECT: dict[str, tuple[type[Any], ...]] = {
    "devices": (str, os.PathLike),
    "partition_strategy": (str,),
    "partition_options": (Mapping,),
}
"""The settings that are read from the user's object, if they have one of these types."""


def partition(
    job: Any, model: str, folder: str, hyperparameters: Mapping[str, Any], yaml: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any]]:
    """The folder of the parts and the device of each part's file, in order; a device is named as the points write it.

    Settings, from the hyperparameters, otherwise the object, otherwise the yaml files: `devices`, the path of a devices.yaml;
    `partition_strategy` (or `strategy`), by name; `partition_options`, the strategy's arguments; `profiler`, by name;
    `input_shapes`, for inputs whose shape the model leaves open. `job.partition_point_list` means the strategy 'manual',
    and so do partition points in devices.yaml where no strategy is named.
    """
    from multiedge.errors import ConfigError, UnknownSizeError
    from multiedge.report.plan_text import batch_lines, measured_lines
    from multiedge.run import partition as write_parts_for

    settings = (hyperparameters, _attributes(job), yaml)
    points = getattr(job, "partition_point_list", None)
    fleet = _fleet(_devices(_setting(settings, "devices"), points), points, type(job).__name__)
    strategy = "manual" if points is not None else _setting(settings, *_STRATEGY)
    if strategy is None and fleet.partition_points:
        strategy = "manual"
    given = {
        "strategy": strategy,
        "options": _setting(settings, "partition_options"),
        "profiler": _setting(settings, "profiler"),
        "shapes": _setting(settings, "input_shapes"),
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        manifest = write_parts_for(_existing(model), fleet, directory=folder, **chosen)
    except UnknownSizeError as error:
        shapes = {name: list(shape) for name, shape in error.examples.items()}
        raise ConfigError(f"{error}; in a job: input_shapes: {shapes}") from error
    if manifest.plan is not None:
        plan = manifest.plan
        for line in (*batch_lines(plan.free_batch, plan.batch), *measured_lines(plan.measured_sizes)):
            LOGGER.info(line)
    written = {str(name): name for name in _device_names(points)}
    return folder, {file: written.get(device, device) for file, device in manifest.map_info.items()}


def _attributes(job: Any) -> dict[str, Any]:
    return {name: getattr(job, name) for name, kind in _FROM_OBJECT.items() if isinstance(getattr(job, name, None), kind)}


def _setting(settings: Settings, *names: str) -> Any:
    values = (source.get(name) for source in settings for name in names)
    return next((value for value in values if value is not None), None)


def _existing(model: str) -> str:
    from multiedge.errors import ConfigError

    if not model:
        raise ConfigError("model_parallel is set, but the algorithm has no initial_model_url to partition")
    if not os.path.isfile(model):
        raise ConfigError(f"initial_model_url: no such file '{model}' (looked from {os.getcwd()})")
    return model


def _devices(stated: Any, points: Any) -> str | os.PathLike[str] | None:
    """The path of the devices.yaml. Ianvs's own test environments have `[{url: path}]`, which Ianvs does not read: if that
    file does not exist, points that name their devices are enough."""
    from multiedge.errors import ConfigError, describe

    if stated is None or isinstance(stated, str | os.PathLike):
        return stated
    is_list = isinstance(stated, list | tuple) and len(stated) == 1 and isinstance(stated[0], Mapping)
    url = stated[0].get("url") if is_list and set(stated[0]) == {"url"} else None
    if not isinstance(url, str):
        raise ConfigError(f"devices: expected the path of a devices.yaml, or [{{url: path}}], got {describe(stated)}")
    if points is not None and not os.path.exists(url):
        LOGGER.warning("devices: no such file '%s'; the partition points are cut without checking any limit", url)
        return None
    return url


def _fleet(devices: str | os.PathLike[str] | None, points: Any, owner: str) -> Fleet:
    """The devices that the job states; if it states points only, the devices of these, without limits."""
    from multiedge.errors import ConfigError
    from multiedge.formats.devices import parse_fleet, read_fleet

    if devices is None and points is None:
        raise ConfigError(
            f"{owner} is model_parallel, but nothing says how to partition: give it partition() or partition_point_list,"
            " or 'devices: path/to/devices.yaml' as a hyperparameter, an attribute, or a key of the algorithm or the testenv"
        )
    if devices is None:
        return parse_fleet(_named_in(points), f"{owner}.partition_point_list")
    fleet = read_fleet(devices)
    if points is None:
        return fleet
    named = parse_fleet(_named_in(points), f"{owner}.partition_point_list")
    for device in named.names:
        fleet.device(device)
    return replace(fleet, partition_points=named.partition_points)


def _device_names(points: Any) -> list[Any]:
    """The names of the devices in partition points, texts or numbers, in order."""
    entries = points if isinstance(points, list | tuple) else ()
    return [
        point["device_name"] for point in entries if isinstance(point, Mapping) and point.get("device_name") not in (None, "")
    ]


def _named_in(points: Any) -> dict[str, Any]:
    """The content of a devices.yaml with the points and the names of their devices."""
    devices = [{"name": name} for name in dict.fromkeys(map(str, _device_names(points)))]
    return {"devices": devices or [{"name": "none"}], "partition_points": points}
