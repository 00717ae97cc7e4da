"""Paths that a file states, which must not lead out of its folder: models and plans may come from anywhere."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from multiedge.errors import ModelError


def resolve_inside(folder: Path, location: str, place: str) -> Path:
    """`location` as an absolute path within `folder`; ModelError if it leads out of it."""
    root = _real(folder.absolute())
    candidate = Path(location)
    if not location or candidate.is_absolute() or ".." in candidate.parts or "\0" in location:
        raise ModelError(f"{place}: external data must lie in the model's folder, got '{location}'")
    file = Path(os.path.realpath(root / candidate))
    if root not in file.parents:
        raise ModelError(f"{place}: external data '{location}' leads out of the model's folder by a symbolic link")
    return file


@lru_cache(maxsize=64)
def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))
