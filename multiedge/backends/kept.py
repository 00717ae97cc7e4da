"""What is made from a model once and kept in a folder: converted parts, packed weights."""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

from multiedge.errors import ModelError
from multiedge.files import make_owned_folder


def made_once(folder: Path, make: Callable[[Path], None], what: str) -> Path:
    """`folder` with what `make` writes into it: made now if it is not there, complete or not at all.

    Processes may do this at the same time; one of the results stays. ModelError that names `what` if the folder cannot be
    written.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = make_owned_folder(folder.parent, "making-")
    except OSError as error:
        raise ModelError(f"{folder.parent}: {what} cannot be kept here: {error.strerror}") from error
    try:
        make(draft)
        draft.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # otherwise another process was faster, and its files are as good
            raise ModelError(f"{folder.parent}: {what} cannot be kept here: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def key_of(path: Path, *settings: object) -> str:
    """A name for what is made from the model at `path`: it differs where the model, the files beside it that hold its weights,
    the processor or the settings differ."""
    data = path.read_bytes()
    # A model names the files of its weights; others may come, go and grow.
    beside = [each for each in path.parent.iterdir() if each.name.encode() in data and each.is_file()]
    weights = sorted((each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in beside)
    content = hashlib.sha256(data)
    content.update(repr((weights, settings, platform.machine(), platform.processor(), _flags())).encode())
    return f"{path.stem}-{content.hexdigest()[:16]}"


def _flags() -> str:
    """The processor's abilities, on which memory layouts depend; as Linux lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
