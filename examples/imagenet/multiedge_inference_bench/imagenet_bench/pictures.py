"""Twenty labelled ImageNet photographs of the foolbox package: real inputs without a download."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from imagenet_bench.index import write_index
from multiedge.errors import ConfigError, MissingDependencyError
from multiedge.files import replacing

NAME = re.compile(r"imagenet_\d+_(\d+)\.jpg")


def prepare_pictures(folder: Path) -> Path:
    """The index of foolbox's pictures, copied into `folder`. foolbox itself is not imported: it would load torch."""
    spec = find_spec("foolbox")
    if spec is None or spec.origin is None:
        raise MissingDependencyError("foolbox", extra="bench")
    source = Path(spec.origin).parent / "data"
    found = {path.name: int(match[1]) for path in sorted(source.glob("imagenet_*.jpg")) if (match := NAME.fullmatch(path.name))}
    if not found:
        raise ConfigError(f"{source}: expected pictures named imagenet_NN_CLASS.jpg, found none; install foolbox again")
    folder.mkdir(parents=True, exist_ok=True)
    for name in found:
        copy_whole(source / name, folder / name)
    write_index(folder / "index.txt", found.items())
    return folder / "index.txt"


def copy_whole(source: Path, target: Path) -> None:
    """Copies the file atomically."""
    if target.is_file() and target.stat().st_size == source.stat().st_size:
        return
    with source.open("rb") as picture, replacing(target, sync=False) as file:
        shutil.copyfileobj(picture, file)
