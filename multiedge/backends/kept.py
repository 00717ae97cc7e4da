"""What is made from a model once and kept in a folder: converted parts, packed weights."""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Callable
from contextlib import suppress
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
    weights = sorted((each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in _named_in(data, path))
    content = hashlib.sha256(data)
    content.update(repr((weights, settings, *processor())).encode())
    return f"{path.stem}-{content.hexdigest()[:16]}"


def content_of(path: Path) -> str:
    """A digest of the model at `path` and of its weights: the same wherever a copy of both lies, also of its own weights alone.

    Of an ONNX model it has the size and both ends of each large weight, of others the sizes of the files beside it.
    """
    if path.suffix == ".onnx":
        from multiedge.onnx_io.model_file import open_model  # it loads onnx, which others here do not need

        with suppress(ModelError):  # no ONNX model after all, or a damaged one
            return open_model(path).model_hash
    data = path.read_bytes()
    weights = sorted((each.name, each.stat().st_size) for each in _named_in(data, path))
    return hashlib.sha256(data + repr(weights).encode()).hexdigest()


def _named_in(data: bytes, path: Path) -> list[Path]:
    """The files beside a model that hold its weights: it names them. Others may come, go and grow."""
    return [each for each in path.parent.iterdir() if each.name.encode() in data and each.is_file()]


def processor() -> tuple[str, str, str]:
    """The processor's kind and abilities."""
    return platform.machine(), platform.processor(), _flags()


def _flags() -> str:
    """The processor's abilities, on which memory layouts depend; as Linux lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
