"""What may be opened: conversions that have passed, made in a process of their own where there are none yet.

A process of its own, since converting takes more memory than running, and since converters are not to reach a network: where
the system permits it, that process has none. It ends with the process that waits for it, and after a limit. Of several
processes that want the same part, one converts and the others wait.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from multiedge.backends.contract import Backend
from multiedge.backends.conversion.inputs import kept_inputs
from multiedge.backends.conversion.lifetime import LimitError, alone_with, run_limited
from multiedge.backends.conversion.record import Conversion, State, load_conversion, save_conversion
from multiedge.backends.kept import key_of
from multiedge.backends.loading import child_environment, description_of
from multiedge.defaults import CONVERSION_LIMIT_S
from multiedge.errors import ModelError
from multiedge.files import remove_orphans, temporary_folder
from multiedge.onnx_io.manifest import digest_of

GATE = 2
"""Version of the samples and of the comparison: what an earlier one let pass is converted again."""
WORKER = "multiedge.backends.conversion"
OFFLINE = ("unshare", "--user", "--map-current-user", "--net", "--")
"""Runs a command without any network but its own loopback interface, which is down."""


def ready(backend: Backend, part: Path, keep: Path, *, again: bool = False, inputs: Sequence[Path] = ()) -> Path:
    """The converted file of `part`, whose outputs have been compared; it is converted now if that is not done yet.

    Raises ModelError with the reason if it cannot be converted or its outputs are wrong, also where that is known from before.
    """
    conversion = converted(backend, part, keep, again=again, inputs=inputs)
    if conversion.state is not State.SUCCESS:
        raise ModelError(conversion.reason)
    return folder_of(backend, part, keep) / next(iter(conversion.artefact))


def converted(
    backend: Backend,
    part: Path,
    keep: Path,
    *,
    again: bool = False,
    inputs: Sequence[Path] = (),
    limit_s: float = CONVERSION_LIMIT_S,
) -> Conversion:
    """The record of the conversion of `part`, which has succeeded or failed.

    Args:
        backend: With the options to convert for.
        part: An ONNX file.
        keep: The folder for conversions.
        again: Whether to convert although the result is known.
        inputs: .npz files with inputs to compare in addition; the comparison is then made in any case.
        limit_s: Seconds after which the conversion is stopped.
    """
    folder = folder_of(backend, part, keep)
    record = folder.with_name(f"{folder.name}.json")
    may_be_known = not again and not inputs
    known = known_result(folder, record) if may_be_known else None
    if known is not None:
        return known
    keep.mkdir(parents=True, exist_ok=True)
    with alone_with(part):
        known = known_result(folder, record) if may_be_known else None  # of the process that this one has waited for
        return known or _converted_now(backend, part, folder, record, inputs, limit_s)


def _converted_now(
    backend: Backend, part: Path, folder: Path, record: Path, inputs: Sequence[Path], limit_s: float
) -> Conversion:
    backend.prepare()  # here, since the process that converts has no network
    offline = _offline(backend)
    pending = Conversion(
        state=State.PENDING,
        model=str(part.resolve()),
        backend=type(backend).__name__,
        version=backend.version,
        precision=backend.numbers,
        options=asdict(backend),
        tolerance=backend.tolerances.get(backend.numbers),
        inputs=_inputs_digest(backend, part, folder.parent),
    )
    save_conversion(pending, record)
    ended = "it was interrupted"
    try:
        ended = _run_worker([*offline, sys.executable, "-m", WORKER], backend, folder, record, inputs, limit_s)
    finally:
        remove_orphans(folder.parent)
        state = load_conversion(record)
        if state.state not in (State.SUCCESS, State.FAILED):
            shutil.rmtree(folder, ignore_errors=True)
            state = replace(state, state=State.FAILED, reason=f"{part}: the conversion ended early: {ended}")
            save_conversion(state, record)
    return state


def folder_of(backend: Backend, part: Path, keep: Path) -> Path:
    """Where the result is kept: by model, backend and version, options, the abilities of the processor, and for an approximate
    precision the inputs that are kept for the part."""
    digest = _inputs_digest(backend, part, keep)
    return keep / key_of(part, backend, backend.version, GATE, *([digest] if digest else []))


def _inputs_digest(backend: Backend, part: Path, keep: Path) -> str:
    """A name of the inputs that calibrate the part; '' if there are none."""
    kept = kept_inputs(part, keep) if backend.is_approximate else None
    return kept.digest if kept else ""


def known_result(folder: Path, record: Path) -> Conversion | None:
    """The record if nothing has to be done: it has succeeded and every file is as it was, or it would fail again."""
    if not record.is_file():
        return None
    try:
        conversion = load_conversion(record)
    except ModelError:  # of another release, or damaged
        return None
    if conversion.state is State.FAILED and conversion.is_final:
        return conversion
    is_whole = bool(conversion.artefact) and all(
        (folder / name).is_file() and digest_of(folder / name) == digest for name, digest in conversion.artefact.items()
    )
    return conversion if conversion.state is State.SUCCESS and is_whole else None


def _run_worker(
    command: Sequence[str], backend: Backend, folder: Path, record: Path, inputs: Sequence[Path], limit_s: float
) -> str:
    """Runs the conversion in a process of its own; why it ended early, if it did."""
    request = {
        **description_of(backend),
        "parent": os.getpid(),
        "record": str(record),
        "folder": str(folder),
        "inputs": [str(path) for path in inputs],
    }
    with temporary_folder("conversion-") as scratch:
        try:
            status, said = run_limited([*command, json.dumps(request)], child_environment(), scratch, limit_s)
        except LimitError:
            return f"it took longer than {limit_s:g} s and was stopped; give it more with: multiedge convert --limit"
    return said if status >= 0 else f"it was stopped by signal {-status}"


def _offline(backend: Backend) -> tuple[str, ...]:
    if can_be_offline():
        return OFFLINE
    if backend.offline_only:
        raise ModelError(
            f"{type(backend).__name__}: its converter sends data to its maker, and this system permits no process without a"
            " network; convert on a machine where `unshare --user --net true` works"
        )
    return ()


@lru_cache(maxsize=1)
def can_be_offline() -> bool:
    """Whether this system lets a user start a process without a network."""
    if shutil.which(OFFLINE[0]) is None:
        return False
    return subprocess.run([*OFFLINE, "true"], capture_output=True, check=False).returncode == 0


def request_of(text: str) -> dict[str, Any]:
    """What `_run_worker` has sent."""
    request: dict[str, Any] = json.loads(text)
    return request
