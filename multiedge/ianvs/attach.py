"""Attaching the multi-edge paradigm to a checkout of KubeEdge Ianvs, and detaching it.

Only the paradigm's folder changes. Its former files are kept beside it, with the hashes of the attached ones, so that
detaching restores the checkout byte for byte, and no later edit is lost.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from multiedge import __version__
from multiedge.errors import ConfigError, describe
from multiedge.files import write_bytes, write_text
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Field, Kind

PARADIGM = Path("core", "testcasecontroller", "algorithm", "paradigm", "multiedge_inference")
_KEPT = PARADIGM.with_name(".multiedge_attach")
_LANDMARKS = (
    Path("core", "cmd", "benchmarking.py"),
    PARADIGM.with_name("base.py"),
    PARADIGM / "__init__.py",
    PARADIGM / "multiedge_inference.py",
)
_NOTE = Kind("note of what was attached", ConfigError, "restore the checkout with git instead")
_MARK = b"multiedge attach"
"""In each file of this project's paradigm, and in none of Ianvs's."""
KNOWN_LIMITS = (
    "the host is still that of Ianvs: misspelt keys in its yaml files are ignored, and an interrupted job loses its rows;"
    " `python -m multiedge.ianvs.host -f JOB` runs this project's host, without these limits"
)
_OWN_LANDMARK = Path("core", "common", "user_module.py")


@dataclass(frozen=True)
class Attachment:
    """What was attached: the project's `version`, the SHA-256 of each file put in, and the originals that are kept.

    As found in the folder: `edited` are files put in and edited since, `restored` those that git or an installation has
    replaced by Ianvs's or removed."""

    version: str
    files: Mapping[str, str]
    replaced: tuple[str, ...]
    edited: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()


def find(checkout: str | os.PathLike[str]) -> Attachment | None:
    """What is attached to the Ianvs in the folder `checkout`, None if nothing is.

    Raises ConfigError if no Ianvs is there, or if it is this project's own host.
    """
    root = _ianvs(checkout)
    path = root / _KEPT / "state.json"
    if not path.exists():
        return None
    state = read_json(path, _NOTE)
    names = state["files"].mapping()
    files = {_file_name(name, field): field.text() for name, field in names.items()}
    replaced = state["replaced"].list_of(lambda field: _file_name(field.name(), field))
    changed = [name for name, digest in sorted(files.items()) if _digest(root / PARADIGM / name) != digest]
    edited = tuple(name for name in changed if _is_ours(root, name))
    restored = tuple(name for name in changed if name not in edited)
    return Attachment(state["version"].text(), files, replaced, edited, restored)


def _file_name(name: str, field: Field) -> str:
    """A name of a file in the paradigm's folder: files elsewhere are neither written nor removed."""
    if name != Path(name).name:
        raise field.error(f"expected the name of a file without a folder, got {describe(name)}")
    return name


def attach(checkout: str | os.PathLike[str], host: Path) -> bool:
    """Puts the paradigm of the host in the folder `host` into `checkout`; False if it is there already, file by file.

    An older version is brought up to date. Files of Ianvs that git or an installation has put back since, perhaps of a newer
    version, are the originals from then on. Raises ConfigError as `find` does, and if files put in were edited since.
    """
    root, source = _ianvs(checkout), host / PARADIGM
    files = {path.name: _digest(path) for path in sorted(source.glob("*.py"))}
    before = find(root) or Attachment(__version__, {}, ())
    _refuse_edited(root, before)
    if before.files == files and not before.restored:
        return False
    replaced = _keep(root, before)
    _write_state(root, Attachment(__version__, files, replaced))
    for name in files:
        _copy(source / name, root / PARADIGM / name)
    _remove(root, set(before.files) - set(files) - set(replaced))
    return True


def detach(checkout: str | os.PathLike[str]) -> bool:
    """Restores what stood in `checkout` before; False if nothing was attached. Raises ConfigError as `attach` does."""
    root = _ianvs(checkout)
    attached = find(root)
    if attached is None:
        return False
    _refuse_edited(root, attached)
    for name in attached.replaced:
        if name not in attached.restored or not (root / PARADIGM / name).is_file():
            _copy(root / _KEPT / name, root / PARADIGM / name)
    _remove(root, set(attached.files) - set(attached.replaced) - set(attached.restored))
    shutil.rmtree(root / _KEPT)
    return True


def _ianvs(checkout: str | os.PathLike[str]) -> Path:
    root = Path(checkout)
    if root.is_file():
        raise ConfigError(
            f"{root}: a packed egg, whose files cannot be replaced; install Ianvs with pip instead: pip install PATH_TO_IANVS"
        )
    missing = [str(path) for path in _LANDMARKS if not (root / path).is_file()]
    if missing:
        raise ConfigError(f"{root}: not a checkout of KubeEdge Ianvs, which would have {missing[0]}")
    if (root / _OWN_LANDMARK).is_file():
        raise ConfigError(f"{root}: this is the multi-edge bench's own host, which has the paradigm already")
    return root


def _keep(root: Path, before: Attachment) -> tuple[str, ...]:
    """Copies the files of Ianvs in the paradigm's folder to the kept folder; the names of all that are kept."""
    kept = root / _KEPT
    kept.mkdir(exist_ok=True)
    present = {path.name for path in (root / PARADIGM).glob("*.py")}
    names = present - (before.files.keys() - set(before.restored))
    for name in names:
        shutil.copy2(root / PARADIGM / name, kept / name)
    return tuple(sorted(names | set(before.replaced)))


def _write_state(root: Path, attached: Attachment) -> None:
    state = {"version": attached.version, "files": dict(attached.files), "replaced": list(attached.replaced)}
    write_text(root / _KEPT / "state.json", json.dumps(state, indent=2))


def _copy(source: Path, target: Path) -> None:
    """Copies atomically, so that no one imports half a file. The copy is new: setuptools installs no file that is older than
    the one in its `build` folder."""
    write_bytes(target, source.read_bytes())
    shutil.copymode(source, target)


def _remove(root: Path, names: Iterable[str]) -> None:
    for name in names:
        (root / PARADIGM / name).unlink(missing_ok=True)


def _refuse_edited(root: Path, attached: Attachment) -> None:
    if attached.edited:
        places = ", ".join(str(root / PARADIGM / name) for name in attached.edited)
        raise ConfigError(f"edited since they were attached: {places}; move your changes elsewhere and restore these files")


def _is_ours(root: Path, name: str) -> bool:
    """Whether a file that is not as it was put in is still this project's, so that someone has edited it; otherwise it is
    Ianvs's, of whatever version, or gone."""
    path, kept = root / PARADIGM / name, root / _KEPT / name
    return path.is_file() and _digest(path) != _digest(kept) and _MARK in path.read_bytes()


def _digest(path: Path) -> str:
    """SHA-256 of a file; '' if there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
