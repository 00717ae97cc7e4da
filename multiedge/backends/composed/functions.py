"""The function of a transform: of a module that is installed, or of the text of a file.

A process that computes for others, such as the worker of a node, calls registered functions only: no code comes to it in a
plan, and none of a module that was not installed there for this purpose.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from typing import Any

from multiedge.composed import Call
from multiedge.errors import ModelError, did_you_mean, one_line
from multiedge.registry import Registry

TRANSFORMS = Registry("transform", {"ask": "multiedge.workflows.deployed:ask"})
"""Functions that transforms may call in any process; packages add theirs through the entry-point group multiedge.transforms."""
_registered_only = False


def allow_registered_only() -> None:
    """From now on, transforms of this process call functions of TRANSFORMS only."""
    global _registered_only
    _registered_only = True


def function_of(call: Call, place: str) -> Callable[..., Any]:
    """What the call names. ModelError that begins with `place` if there is none."""
    if _registered_only and (call.source or call.function not in TRANSFORMS.table().values()):
        raise ModelError(
            f"{place}: '{call.function}' is not called here: no installed package registers it; install one that names it as an"
            f" entry point of the group '{TRANSFORMS.group}'"
        )
    module, _, name = ("", "", call.function) if call.source else call.function.partition(":")
    try:
        names = _names_in(call.source) if call.source else vars(import_module(module))
    except Exception as error:  # a module may raise anything while it is imported
        what = "the file of its function" if call.source else f"module '{module}'"
        raise ModelError(
            f"{place}: {what} cannot be imported: {type(error).__name__}: {one_line(error)}; install it, or correct the name"
        ) from error
    function: Callable[..., Any] | None = names.get(name)
    if not callable(function):
        where = "its file" if call.source else f"module '{module}'"
        known = [known for known, value in names.items() if callable(value)]
        raise ModelError(f"{place}: {where} has no function '{name}'{did_you_mean(name, known)}")
    return function


@lru_cache
def _names_in(source: str) -> dict[str, Any]:
    """What the text of a module defines; it is run once in a process."""
    name = f"multiedge_transform_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    loader = _TextLoader(source)
    module = module_from_spec(ModuleSpec(name, loader))
    sys.modules[name] = module  # dataclasses look their module up
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return vars(module)


class _TextLoader(InspectLoader):
    """Loads a module whose text is given."""

    def __init__(self, source: str) -> None:
        self._source = source

    def get_source(self, fullname: str) -> str:
        return self._source
