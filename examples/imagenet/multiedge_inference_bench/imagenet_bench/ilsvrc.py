"""The ILSVRC2012 validation set, from the official archives or from a folder with one sub-folder per class."""

from __future__ import annotations

import io
import os
import random
import re
import tarfile
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import track
from scipy.io import loadmat

from imagenet_bench.index import write_index
from multiedge.errors import ConfigError, MissingDependencyError, did_you_mean
from multiedge.files import replacing

DEVKIT = "ILSVRC2012_devkit_t12"
LABELS = f"{DEVKIT}/data/ILSVRC2012_validation_ground_truth.txt"
META = f"{DEVKIT}/data/meta.mat"
PICTURE = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")
PICTURE_ENDINGS = (".jpeg", ".jpg", ".png")


def class_numbers() -> dict[str, int]:
    """The 1000 WordNet ids of ImageNet, each with its class, 0 to 999 in the order of the ids.

    timm contains the list; timm itself is not imported, because it would load torch.
    """
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        raise MissingDependencyError("timm", extra="bench")
    names = (Path(spec.origin).parent / "data" / "_info" / "imagenet_synsets.txt").read_text(encoding="ascii").split()
    return {name: number for number, name in enumerate(names)}


def prepare_archives(archive: Path, devkit: Path, folder: Path, limit: int | None = None, seed: int = 0) -> Path:
    """The index of the official validation archive, unpacked into `folder`.

    Pictures that an earlier, interrupted run has unpacked are kept. `limit` is the size of a sample, with a seed.
    Raises ConfigError for an archive that is missing, truncated or does not belong to the devkit.
    """
    labels = read_devkit(devkit)
    chosen = {number + 1 for number in sample(range(len(labels)), limit, seed)}
    found = unpack(archive, folder, chosen, expected=len(labels))
    if len(found) != len(labels):
        raise ConfigError(
            f"{archive}: expected {len(labels)} pictures, as {devkit.name} labels, got {len(found)}; download the archive again"
        )
    write_index(folder / "index.txt", [(found[number], labels[number - 1]) for number in sorted(chosen)])
    return folder / "index.txt"


def prepare_folder(source: Path, folder: Path, limit: int | None = None, seed: int = 0) -> Path:
    """The index of a folder that holds one sub-folder of pictures per class, named by WordNet id (torchvision's form)."""
    if not source.is_dir():
        raise ConfigError(f"{source}: expected a folder with one sub-folder per class, found none")
    numbers = class_numbers()
    rows = []
    for each in sorted(path for path in source.iterdir() if path.is_dir()):
        if each.name not in numbers:
            raise ConfigError(f"{each}: expected a WordNet id of ImageNet{did_you_mean(each.name, numbers)[:120]}")
        pictures = sorted(path for path in each.iterdir() if path.suffix.lower() in PICTURE_ENDINGS)
        rows += [(os.path.relpath(path, folder), numbers[each.name]) for path in pictures]
    if not rows:
        raise ConfigError(f"{source}: expected pictures ({', '.join(PICTURE_ENDINGS)}) in one sub-folder per class, found none")
    write_index(folder / "index.txt", [rows[number] for number in sorted(sample(range(len(rows)), limit, seed))])
    return folder / "index.txt"


def sample(numbers: Sequence[int], limit: int | None, seed: int) -> Sequence[int]:
    """`limit` of the numbers, chosen by the seed; all of them if there are no more."""
    return numbers if limit is None or limit >= len(numbers) else random.Random(seed).sample(numbers, limit)


def read_devkit(devkit: Path) -> list[int]:
    """The class of every validation picture, in the order of the pictures' names.

    The devkit counts classes 1 to 1000 in its own order; `meta.mat` has the WordNet id of each.
    """
    text, meta = _members(devkit, LABELS, META)
    synsets = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
    names = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets if int(row["num_children"]) == 0}
    numbers = class_numbers()
    try:
        return [numbers[names[int(line)]] for line in text.decode("ascii").split()]
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{devkit}: {LABELS}: expected class numbers that meta.mat knows, got {error}") from error


def _members(devkit: Path, *wanted: str) -> list[bytes]:
    if not devkit.is_file():
        raise ConfigError(f"{devkit}: expected the devkit archive {DEVKIT}.tar.gz, found no file")
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(devkit) as archive:
            for member in archive:
                name = str(PurePosixPath(member.name))
                if name in wanted and (stream := archive.extractfile(member)):
                    found[name] = stream.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ConfigError(f"{devkit}: expected a whole tar archive, got {error}; download it again") from error
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ConfigError(f"{devkit}: expected {' and '.join(missing)} in it, found none; is it {DEVKIT}.tar.gz?")
    return [found[name] for name in wanted]


def unpack(archive: Path, folder: Path, chosen: Collection[int], expected: int) -> dict[int, str]:
    """The file name of every picture in the archive by its number, 1 to `expected`; the chosen ones are in `folder` then."""
    if not archive.is_file():
        raise ConfigError(f"{archive}: expected the archive ILSVRC2012_img_val.tar, found no file; image-net.org hands it out")
    found: dict[int, str] = {}
    try:
        with tarfile.open(archive) as opened:
            for member in track(opened, description=f"unpack {archive.name}", total=expected, console=Console(stderr=True)):
                number = _number(member, expected, archive)
                if number in chosen:
                    _keep(opened, member, folder / PurePosixPath(member.name).name)
                found[number] = PurePosixPath(member.name).name
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ConfigError(
            f"{archive}: expected a whole tar archive, got {error}; download it again, then run this again"
        ) from error
    return found


def _number(member: tarfile.TarInfo, expected: int, archive: Path) -> int:
    match = PICTURE.fullmatch(PurePosixPath(member.name).name)
    if match is None or not member.isfile() or not 1 <= int(match[1]) <= expected:
        raise ConfigError(f"{archive}: expected pictures ILSVRC2012_val_00000001.JPEG to {expected:08d}, got {member.name!r}")
    return int(match[1])


def _keep(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if target.is_file() and target.stat().st_size == member.size:
        return
    stream = archive.extractfile(member)
    data = stream.read() if stream else b""
    if len(data) != member.size:
        raise tarfile.ReadError(f"{len(data)} of {member.size} bytes of {member.name}")
    with replacing(target, sync=False) as file:
        file.write(data)
