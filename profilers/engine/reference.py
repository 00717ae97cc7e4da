"""What a device of `speed: 1` is taken for by profiles that run nothing: this machine, calibrated once and kept, or the
declared round figures of a server core.

A calibration is kept by processor, runtime version and threads. A model is never run for it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal, get_args

from multiedge.backends.conversion.lifetime import alone_with
from multiedge.backends.stages import load_backend
from multiedge.errors import ConfigError, MultiedgeError, did_you_mean
from multiedge.files import cache_folder, write_text
from multiedge.fleet import REFERENCE_BACKEND
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Field
from profilers.engine.machine import machine_name
from profilers.engine.roofline import REFERENCE, Capability

if TYPE_CHECKING:
    from profilers.engine.calibration import Calibration

Reference = Literal["calibrated", "declared"]
VARIABLE = "MULTIEDGE_REFERENCE"
"""The environment variable that names the reference where no option does."""

log = logging.getLogger(__name__)


def reference_of(name: Reference | None = None) -> Capability:
    """One thread of the reference of that name; without a name, of the one in the environment, otherwise of this machine.

    Raises ConfigError for another name in the environment, or if this machine is to be calibrated and cannot be.
    """
    return REFERENCE if is_declared(name) else calibrated()


def is_declared(name: str | None = None) -> bool:
    """Whether the reference of that name, without a name the one in the environment, has nothing of this machine."""
    return (name or _named_by_environment()) == "declared"


def _named_by_environment() -> str:
    name, names = os.environ.get(VARIABLE) or "calibrated", get_args(Reference)
    if name not in names:
        raise ConfigError(f"{VARIABLE}: expected {' or '.join(names)}, got '{name}'{did_you_mean(name, names)}")
    return name


def calibrated(threads: int = 1) -> Capability:
    """This machine: as it was calibrated before, otherwise calibrated now, kept, and reported in one line.

    Of several processes that need it, one calibrates and the others wait: side by side they would measure each other.
    """
    path = kept_at(threads)
    kept = _read(path)
    if kept is not None:
        return kept
    with _alone(path):
        return _read(path) or _calibrated_now(threads)  # the process that this one has waited for may have kept it


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps other processes that want to write the file waiting, if its folder can be written."""
    lock = path.with_suffix(".lock")
    with ExitStack() as stack:
        with suppress(OSError):
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.touch()
            stack.enter_context(alone_with(lock))
        yield


def _calibrated_now(threads: int) -> Capability:
    path, start = kept_at(threads), perf_counter()
    try:
        from profilers.engine.calibration import calibrate

        calibration = calibrate(threads)
    except (ImportError, OSError, MultiedgeError) as error:
        raise ConfigError(
            f"this machine cannot be calibrated: {error}; give reference 'declared' ({VARIABLE}=declared), or a profile"
        ) from error
    seconds, able = perf_counter() - start, calibration.capability
    place = f"kept in {path}" if keep(calibration) else f"not kept: {path.parent} cannot be written"
    # Above the level that is shown by default: the time and the file that it took are the user's.
    log.warning("calibrated this machine in %.1f s: %.0f GFLOP/s (%s)", seconds, able.flops_per_s / 1e9, place)
    return able


def keep(calibration: Calibration) -> bool:
    """Keeps a calibration; that of one thread is the reference of later profiles. False if the folder cannot be written."""
    figures = {"machine": machine_name(), "threads": calibration.threads, **asdict(calibration.capability)}
    try:
        write_text(kept_at(calibration.threads), json.dumps(figures, indent=1) + "\n")
    except MultiedgeError:
        return False
    return True


def kept_at(threads: int = 1) -> Path:
    """The file of this machine's calibration with so many threads: its name differs where the processor or the runtime's
    version does."""
    what = [machine_name(), REFERENCE_BACKEND, load_backend(REFERENCE_BACKEND).version, threads]
    return cache_folder("calibration") / f"{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> Capability | None:
    try:
        kept = read_json(path)
        return Capability(
            _rate(kept["flops_per_s"]),
            _rate(kept["memory_bytes_per_s"]),
            _rate(kept["node_overhead_s"]),
            _rate(kept["freq_hz"]),
            source=kept["source"].text(),
        )
    except ConfigError:
        return None  # absent or damaged: it is measured again and written anew


def _rate(field: Field) -> float:
    value = field.number(least=0)
    if value == 0:
        raise field.expected("more than zero")
    return value
