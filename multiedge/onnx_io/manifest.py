"""plan.json: what a plan folder holds, with a digest of every file.

The manifest is written last and removed first, so that a folder without one is a folder without a plan, and parts of an
earlier or a killed run are never taken for this one's. docs/plan-manifest.md describes the format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xxhash

from multiedge.errors import ChangedError, ModelError, PlanError, describe
from multiedge.files import write_text
from multiedge.formats.documents import parse_json, read_json
from multiedge.formats.fields import Field, Kind
from multiedge.formats.plan import plan_or_none, plan_to_json, read_transfers, transfer_to_json
from multiedge.formats.profile import load_profile
from multiedge.formats.states import read_extended, read_states, states_to_json
from multiedge.onnx_io.inside import resolve_inside
from multiedge.plan import LINKED, Manifest, Part
from multiedge.profile import Profile

FILE_NAME = "plan.json"
PROFILE_NAME = "profile.json"
"""The profile with which the plan was made."""
SCHEMA = "multiedge.plan/1"
MANIFEST = Kind("plan.json", PlanError, "write the parts again")


def to_json(manifest: Manifest) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "model": manifest.model,
        "model_hash": manifest.model_hash,
        "weights": manifest.weights,
        "inputs": list(manifest.inputs),
        "outputs": list(manifest.outputs),
        "parts": [
            {
                "file": part.file,
                "stage": part.stage,
                "device": part.device,
                "replicas": list(part.replicas),
                "inputs": list(part.inputs),
                "outputs": list(part.outputs),
                "files": dict(part.files),
                **states_to_json(part.states, part.extended),
                **({"sequences": part.sequences} if part.states else {}),
                **({"returned": list(part.returned)} if part.returned else {}),
            }
            for part in manifest.parts
        ],
        "transfers": [transfer_to_json(move) for move in manifest.transfers],
        "profile": manifest.profile or None,
        "plan": plan_to_json(manifest.plan) if manifest.plan else None,
    }


def write_manifest(manifest: Manifest) -> None:
    """Writes plan.json atomically."""
    path = Path(manifest.directory) / FILE_NAME
    write_text(path, json.dumps(to_json(manifest), indent=1) + "\n", error=PlanError)


def read_manifest(directory: str | os.PathLike[str]) -> Manifest:
    """The plan in a folder; every file is compared with its digest.

    Args:
        directory: A folder that `write_parts` wrote.

    Returns:
        The Manifest.

    Raises:
        PlanError: If there is no plan, if it is damaged, or if a file is missing, changed or outside the folder.
    """
    folder = Path(directory)
    manifest = _parse(_load(folder), str(folder))
    files = [(name, known) for part in manifest.parts for name, known in part.files.items()]
    files += [(PROFILE_NAME, manifest.profile)] if manifest.profile else []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [problem for problem in pool.map(lambda file: _stale(folder, *file), files) if problem]
    wrong += [f"{describe(part.file)} is not among its part's files" for part in manifest.parts if part.file not in part.files]
    if wrong:
        raise PlanError(f"{folder}: {'; '.join(dict.fromkeys(wrong))}; write the parts again", wrong)
    return manifest


def read_profile(manifest: Manifest) -> Profile | None:
    """The profile with which the plan was made; None if the folder has none."""
    return load_profile(Path(manifest.directory) / PROFILE_NAME) if manifest.profile else None


def _load(folder: Path) -> Field:
    if folder.is_file():
        raise PlanError(
            f"{folder}: is a file, expected the folder of a plan; make one with: multiedge plan MODEL --devices FILE -o FOLDER"
        )
    if not (folder / FILE_NAME).exists():
        raise PlanError(f"{folder}: holds no {FILE_NAME}; make one with: multiedge plan MODEL --devices FILE -o {folder}")
    return read_json(folder / FILE_NAME, MANIFEST)


def parse_manifest(text: str, place: str) -> Manifest:
    """The plan in the text of a plan.json that has come without its files; `place` begins errors (PlanError)."""
    return _parse(parse_json(text, place, MANIFEST), "")


def _parse(data: Field, directory: str) -> Manifest:
    schema = data["schema"].value if isinstance(data.value, Mapping) else data.value
    if schema != SCHEMA:
        raise data.error(f"expected schema '{SCHEMA}', got {describe(schema)}")
    parts = data["parts"].list_of(_part)
    return Manifest(
        model=data["model"].text(),
        model_hash=data["model_hash"].text(),
        inputs=data["inputs"].list_of(Field.text),
        outputs=data["outputs"].list_of(Field.text),
        parts=parts,
        transfers=read_transfers(data["transfers"], len(parts)),
        weights=data["weights"].text(),
        directory=directory,
        plan=plan_or_none(data["plan"]),
        profile=data["profile"].optional(Field.text, ""),
    )


def _part(entry: Field) -> Part:
    return Part(
        stage=entry["stage"].count(),
        file=entry["file"].text(),
        device=entry["device"].text(),
        inputs=entry["inputs"].list_of(Field.text),
        outputs=entry["outputs"].list_of(Field.text),
        files=entry["files"].mapping_of(Field.text),
        replicas=entry["replicas"].optional(lambda names: names.list_of(Field.text), ()),
        sequences=entry["sequences"].optional(lambda count: count.integer(1), 1),
        states=read_states(entry),
        extended=read_extended(entry),
        returned=entry["returned"].optional(lambda names: names.list_of(Field.text), ()),
    )


def _stale(folder: Path, name: str, known: str) -> str:
    """What is wrong with a file of the plan, '' if nothing is."""
    try:
        path = resolve_inside(folder, name, "plan")
    except ModelError:
        return f"{describe(name)} leads out of the plan's folder"
    if not os.path.isfile(path):  # Path.is_file raises an error if a name is too long
        return f"{describe(name)} is missing"
    now = fingerprint(path) if known.startswith(LINKED) else digest_of(path)
    return "" if now == known else f"{describe(name)} has changed since the plan was written"


def require_unchanged(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    """Compares files of a plan with what is known of them, as `read_manifest` does.

    Args:
        folder: The plan's folder.
        files: `Part.files`: digests and fingerprints by name.

    Returns:
        The fingerprint of each file from before it was read. They tell, without reading it again, whether it was changed since.

    Raises:
        ChangedError: If one is missing, changed or outside the folder; it names all.
    """
    prints = {name: fingerprint(folder / name) for name in files if (folder / name).is_file()}
    wrong = [problem for name, known in files.items() if (problem := _stale(folder, name, known))]
    if wrong:
        raise ChangedError(f"{folder}: {'; '.join(wrong)}; write the parts again", wrong)
    return prints


def digest_of(path: Path) -> str:
    """'xxh3:...' of a file's content."""
    digest = new_digest()
    buffer = bytearray(1 << 20)
    with path.open("rb") as file, memoryview(buffer) as view:
        while count := file.readinto(buffer):
            digest.update(view[:count])
    return named(digest)


def new_digest() -> Any:
    """XXH3 with 128 bits: against accidents and stale files, at the speed of memory; no guard against an adversary.

    SHA-256 and BLAKE2b take four to eight times as long as copying the bytes does.
    """
    return xxhash.xxh3_128()


def named(digest: Any) -> str:
    return f"xxh3:{digest.hexdigest()}"


def fingerprint(path: Path) -> str:
    """LINKED, then 'size:mtime_ns': whether a linked weights file is still the one that was linked, at no cost."""
    found = path.stat()
    return f"{LINKED}{found.st_size}:{found.st_mtime_ns}"
