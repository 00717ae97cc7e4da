"""The backend `auto`: what was measured to be the fastest for a model, otherwise what suits the hardware."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from multiedge.backends import BACKENDS
from multiedge.backends.choices import Choice, Choices, Outcome, measured_choices, path_of, save_choices
from multiedge.backends.hardware import hardware_of
from multiedge.backends.loading import load_backend
from multiedge.errors import MultiedgeError
from multiedge.fleet import AUTO_BACKEND, REFERENCE_BACKEND, Device, Fleet, default_runtime_bytes
from multiedge.plan import Manifest, Runtime

PathLike = str | os.PathLike[str]


def resolved(device: Device, model: PathLike | None = None) -> Device:
    """The device with the backend and the precision that `auto` stands for; the device itself if it names a backend.

    The runtime's memory is that of the backend, where the device has that of `auto`: where none is stated.

    Args:
        device: A device.
        model: The model or part that it runs. Measured choices for it count; without it, the hardware alone decides.
    """
    if device.backend != AUTO_BACKEND:
        return device
    return (model is not None and _measured(device, Path(model))) or _started(device)


def resolved_fleet(fleet: Fleet, model: PathLike | None = None, planned: Mapping[str, Runtime] | None = None) -> Fleet:
    """The fleet with `auto` resolved on every device; see `resolved`.

    Args:
        fleet: The devices.
        model: As for `resolved`.
        planned: What `auto` stood for when a plan was made, by device; the others are resolved here.
    """
    if all(device.backend != AUTO_BACKEND for device in fleet.devices):
        return fleet
    known = planned or {}
    devices = (
        _with(device, known[device.name].backend, known[device.name].precision)
        if device.backend == AUTO_BACKEND and device.name in known
        else resolved(device, model)
        for device in fleet.devices
    )
    return replace(fleet, devices=tuple(devices))


def _measured(device: Device, model: Path) -> Device | None:
    """The device with the fastest candidate that was measured of the model."""
    best = _choice(device, model)
    return _with(device, best.backend, best.precision) if best else None


def _choice(device: Device, model: Path) -> Choice | None:
    """The fastest candidate, if it was measured with the version of the runtime that is installed."""
    choices = measured_choices(model, device)
    best = choices.best(device.precision) if choices else None
    return best if best and installed_version(best.backend) == best.version else None


def _started(device: Device) -> Device:
    """The device with the first runtime of its hardware that is installed here and fits it, otherwise the reference."""
    for start in hardware_of(device).starts:
        precision = device.precision or start.precision
        if installed_version(start.backend) and fits(device, start.backend, precision):
            return _with(device, start.backend, precision)
    return _with(device, REFERENCE_BACKEND, device.precision)


def _with(device: Device, backend: str, precision: str) -> Device:
    """The device with this in place of `auto`."""
    is_stated = device.runtime_bytes != default_runtime_bytes(AUTO_BACKEND)
    runtime_bytes = device.runtime_bytes if is_stated else default_runtime_bytes(backend)
    return replace(device, backend=backend, precision=precision, runtime_bytes=runtime_bytes)


def pass_on(manifest: Manifest, fleet: Fleet, model: PathLike | None) -> None:
    """Gives the parts of a plan what was measured of their model, so that they run as they were planned.

    A part of which something was measured keeps that. Nothing is done for devices that name their backend.
    """
    for part, path in zip(manifest.parts, manifest.part_files, strict=True):
        for device in map(fleet.device, part.devices):
            whole = _choice(device, Path(model)) if model is not None and device.backend == AUTO_BACKEND else None
            if whole is not None and measured_choices(path, device) is None:
                passed = replace(whole, outcome=Outcome.INHERITED)
                save_choices(Choices(path.name, device.threads, (passed,), passed.agreement), path_of(path, device))


def fits(device: Device, name: str, precision: str) -> bool:
    """Whether the backend computes on the device's processor with this precision."""
    backend = load_backend(name)
    return (device.gpu is None or "gpu" in backend.processors) and precision in backend.selectable


def installed_version(name: str) -> str:
    """The version of the backend's runtime; '' if it is not registered, not installed or not set up."""
    with suppress(MultiedgeError, ImportError):
        if BACKENDS.is_own(name) or name in BACKENDS.table():
            backend = load_backend(name)
            return backend.version if backend.is_set_up else ""
    return ""
