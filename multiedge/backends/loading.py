"""A backend by its name and options, and what a runtime raises as one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from typing import Any

from multiedge.backends import BACKENDS
from multiedge.backends.contract import Backend
from multiedge.errors import ConfigError, ModelError, MultiedgeError, one_line
from multiedge.options import build


def load_backend(name: str, options: Mapping[str, Any] | None = None) -> Backend:
    """The backend registered under `name`, with these options; ConfigError for an option that it does not have."""
    backend = build(BACKENDS, name, options or {})
    if not isinstance(backend, Backend):
        raise ConfigError(f"backend '{name}': expected a subclass of {Backend.__module__}.Backend, got {backend!r}")
    return backend


def description_of(backend: Backend) -> dict[str, Any]:
    """What another process needs to make the same backend, as JSON data."""
    kind = type(backend)
    return {"backend": f"{kind.__module__}:{kind.__qualname__}", "options": asdict(backend)}


def backend_of(description: Mapping[str, Any]) -> Backend:
    """The backend that `description_of` described."""
    module, _, name = description["backend"].partition(":")
    backend: Backend = getattr(import_module(module), name)(**description["options"])
    return backend


def child_environment() -> dict[str, str]:
    """The environment of a process that imports what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@contextmanager
def named_errors(place: str) -> Iterator[None]:
    """What a runtime raises becomes a ModelError of one line that begins with `place`."""
    try:
        yield
    except MultiedgeError:
        raise
    except Exception as error:  # each runtime has its own classes of errors
        raise ModelError(f"{place}: {type(error).__name__}: {one_line(error)}") from error
