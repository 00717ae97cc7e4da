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

from multiedge.errors import ModelError, PlanError
from multiedge.formats.plan import plan_from_json, plan_to_json
from multiedge.onnx_io.weights import resolve_inside
from multiedge.plan import Manifest, Part, Transfer

FILE_NAME = "plan.json"
SCHEMA = "multiedge.plan/1"


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
            }
            for part in manifest.parts
        ],
        "transfers": [
            {"source": move.source, "target": move.target, "tensors": list(move.tensors), "nbytes": move.nbytes}
            for move in manifest.transfers
        ],
        "plan": plan_to_json(manifest.plan) if manifest.plan else None,
    }


def write_manifest(manifest: Manifest) -> None:
    """Puts plan.json into place in one step."""
    path = Path(manifest.directory) / FILE_NAME
    temporary = path.with_name(f".{FILE_NAME}.{os.getpid()}")
    temporary.write_text(json.dumps(to_json(manifest), indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_manifest(directory: str | os.PathLike[str]) -> Manifest:
    """The plan in `directory`, every file of it compared with its digest.

    Raises PlanError if there is no plan, if it is damaged, or if a file is missing, changed or leads out of the folder.
    """
    folder = Path(directory)
    manifest = _parse(_load(folder), folder)
    files = [(name, known) for part in manifest.parts for name, known in part.files.items()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [problem for problem in pool.map(lambda file: _stale(folder, *file), files) if problem]
    wrong += [f"'{part.file}' is not among its part's files" for part in manifest.parts if part.file not in part.files]
    if wrong:
        raise PlanError(f"{folder}: {'; '.join(dict.fromkeys(wrong))}; write the parts again", wrong)
    return manifest


def _load(folder: Path) -> Any:
    path = folder / FILE_NAME
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except NotADirectoryError:
        raise PlanError(
            f"{folder}: is a file, expected the folder of a plan; make one with: multiedge plan MODEL --devices FILE -o FOLDER"
        ) from None
    except FileNotFoundError:
        raise PlanError(
            f"{folder}: holds no {FILE_NAME}; make one with: multiedge plan MODEL --devices FILE -o {folder}"
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PlanError(f"{path}: cannot be read: {error}") from error


def _parse(data: Any, folder: Path) -> Manifest:
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, Mapping) else type(data).__name__
        raise PlanError(f"{folder / FILE_NAME}: expected schema '{SCHEMA}', got {found!r}; write the parts again")
    try:
        return Manifest(
            model=str(data["model"]),
            model_hash=str(data["model_hash"]),
            inputs=tuple(map(str, data["inputs"])),
            outputs=tuple(map(str, data["outputs"])),
            parts=tuple(_part(entry) for entry in data["parts"]),
            transfers=tuple(_transfer(entry) for entry in data["transfers"]),
            weights=str(data["weights"]),
            directory=str(folder),
            plan=plan_from_json(data["plan"], f"{folder / FILE_NAME}: plan") if data.get("plan") else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"{folder / FILE_NAME}: damaged at {error}; write the parts again") from error


def _part(entry: Mapping[str, Any]) -> Part:
    return Part(
        stage=int(entry["stage"]),
        file=str(entry["file"]),
        device=str(entry["device"]),
        inputs=tuple(map(str, entry["inputs"])),
        outputs=tuple(map(str, entry["outputs"])),
        files={str(name): str(known) for name, known in entry["files"].items()},
        replicas=tuple(map(str, entry.get("replicas", ()))),
    )


def _transfer(entry: Mapping[str, Any]) -> Transfer:
    return Transfer(int(entry["source"]), int(entry["target"]), tuple(map(str, entry["tensors"])), int(entry["nbytes"]))


def _stale(folder: Path, name: str, known: str) -> str:
    """What is wrong with a file of the plan, '' if nothing is."""
    try:
        path = resolve_inside(folder, name, "plan")
    except ModelError:
        return f"'{name}' leads out of the plan's folder"
    if not path.is_file():
        return f"'{name}' is missing"
    now = fingerprint(path) if known.startswith("stat:") else digest_of(path)
    return "" if now == known else f"'{name}' has changed since the plan was written"


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
    """'stat:size:mtime_ns': whether a linked weights file is still the one that was linked, at no cost."""
    found = path.stat()
    return f"stat:{found.st_size}:{found.st_mtime_ns}"
