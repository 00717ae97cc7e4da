"""A plan made into files: one sub-model per stage, its weights linked or copied, and the manifest.

*Linked* parts refer to the original weights through a hard link in the plan's folder, since runtimes refuse external
data that is a symbolic link or lies outside the model's folder; they cost a few KB. *Copied* parts hold the bytes that
they need alone, for shipping to a device. Either way `InferenceSession(part)` of plain onnxruntime works.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from multiedge.errors import ModelError, PlanError
from multiedge.files import TEMPORARY, replacing
from multiedge.formats.profile import save_profile
from multiedge.graph import Graph
from multiedge.onnx_io.extract import Extractor
from multiedge.onnx_io.manifest import FILE_NAME, PROFILE_NAME, digest_of, fingerprint, named, new_digest, write_manifest
from multiedge.onnx_io.model_file import ModelFile, open_model
from multiedge.onnx_io.weights import Reference, is_external, refer, reference
from multiedge.plan import CALLER, Manifest, Part, Plan, Stage, Transfer
from multiedge.planning.kept import recomputing
from multiedge.profile import Profile
from multiedge.states import Extended, State

ALIGNMENT = 4096
"""Copied weights begin at multiples of this, so that a runtime can map them."""

SHORTENED = "the weights file ended while it was being copied; write the parts again"

_BUFFER_BYTES = 1 << 20


def write_parts(
    graph: Graph,
    plan: Plan,
    directory: str | os.PathLike[str],
    *,
    copy_weights: bool = False,
    profile: Profile | None = None,
) -> Manifest:
    """Writes `sub_model_1.onnx`, `sub_model_2.onnx`, ... and `plan.json`.

    Stages of the same nodes and outputs, on different paths of a plan, share the file that is named after the first of them.
    An earlier plan in the folder is replaced; other files are kept.

    Args:
        graph: The model, as `read_graph` read it.
        plan: Which nodes are in which part.
        directory: The folder; it is created if needed.
        copy_weights: Whether each part has its own copy of its weights. By default parts have links to the model's file; if
            the file system has no links, weights are copied, and `Manifest.weights` is 'copied'.
        profile: The profile with which the plan was made. It is kept in the folder, so that simulating and planning anew use
            the same costs.

    Returns:
        The Manifest, as in `plan.json`.

    Raises:
        CutError: If the model cannot be cut at one of the boundaries.
        ModelError: If the model's file has changed since it was read.
        PlanError: If the folder cannot be written.
    """
    model = _same_model(graph)
    graph = recomputing(graph, plan.recomputed)
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _retire(folder)
        store = _CopiedWeights(folder) if copy_weights else _linked_or_copied(folder, model)
        parts = _write_all(Extractor(model, graph), plan, store)
        manifest = Manifest(
            model=str(Path(model.path).resolve()),
            model_hash=graph.model_hash,
            inputs=graph.inputs,
            outputs=graph.outputs,
            parts=parts,
            transfers=(*plan.transfers, *_initialiser_results(graph, plan)),
            weights=store.kind,
            directory=str(folder),
            plan=plan.with_names(graph) if plan.is_estimated else None,
            profile=_keep(profile, folder),
        )
        write_manifest(manifest)
    except OSError as error:
        raise PlanError(f"{folder}: cannot be written: {error}") from error
    return manifest


def _keep(profile: Profile | None, folder: Path) -> str:
    """The digest of the profile, written in the folder; '' if there is none."""
    path = folder / PROFILE_NAME
    if profile is None:
        path.unlink(missing_ok=True)
        return ""
    save_profile(profile, path)
    return digest_of(path)


def with_own_weights(path: Path, folder: Path) -> Path:
    """The ONNX file at `path` if its weights are inside it or in files of its own; otherwise a copy in `folder` that has its
    own weights. onnx, and converters that use it, refuse weights in a file with several hard links."""
    proto = onnx.load(str(path), load_external_data=False)
    references = {tensor.name: reference(tensor, path.parent) for tensor in proto.graph.initializer if is_external(tensor)}
    if all(place.file.stat().st_nlink == 1 for place in references.values()):
        return path
    _CopiedWeights(folder).place(path.stem, proto, references)
    return folder / path.name


def _same_model(graph: Graph) -> ModelFile:
    if graph.path is None:
        raise ModelError(f"{graph.name}: this graph was not read from a file, so there is nothing to cut")
    if graph.refusal:
        raise ModelError(f"{graph.path}: {graph.refusal}")
    model = open_model(graph.path)
    if model.model_hash != graph.model_hash:
        raise ModelError(f"{graph.path}: has changed since it was read; read it again and plan anew")
    return model


def _retire(folder: Path) -> None:
    """Takes an earlier plan out of force, then its parts: first the manifest, so that a kill leaves no plan, not half a one."""
    (folder / FILE_NAME).unlink(missing_ok=True)
    for pattern in ("sub_model_*.onnx", "sub_model_*.weights", "weights_*.linked", TEMPORARY):
        for path in folder.glob(pattern):
            path.unlink()


def _write_all(extractor: Extractor, plan: Plan, store: _LinkedWeights | _CopiedWeights) -> tuple[Part, ...]:
    from concurrent.futures import ThreadPoolExecutor

    wanted = [(stage.nodes, _outputs(extractor.graph, number, stage, plan)) for number, stage in enumerate(plan.stages)]
    cut = {}
    for number, (nodes, outputs) in enumerate(wanted):
        if (nodes, outputs) not in cut:
            name = f"sub_model_{number + 1}"
            cut[nodes, outputs] = (name, *extractor.part(name, nodes, outputs))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        placed = pool.map(lambda part: store.place(part[0], part[1], extractor.model.references), cut.values())
        written = {key: (name, inputs, files) for (key, (name, _, inputs)), files in zip(cut.items(), placed, strict=True)}
    parts = []
    for number, (stage, key) in enumerate(zip(plan.stages, wanted, strict=True)):
        name, inputs, files = written[key]
        states, extended = _kept(extractor.graph, stage, inputs)
        part = Part(number, f"{name}.onnx", stage.device, inputs, key[1], files, stage.replicas, states, extended)
        parts.append(replace(part, sequences=plan.sequences) if states else part)
    return tuple(parts)


def _kept(graph: Graph, stage: Stage, inputs: Collection[str]) -> tuple[tuple[State, ...], tuple[Extended, ...]]:
    """What the part of a stage keeps of each sequence."""
    nodes = set(stage.nodes)
    states = tuple(state for state in graph.states if graph.producer[state.output] in nodes)
    return states, tuple(each for each in graph.extended if each.input in inputs)


def _outputs(graph: Graph, number: int, stage: Stage, plan: Plan) -> tuple[str, ...]:
    """What the stage makes and others need, in the order in which it makes it."""
    wanted = {name for move in plan.transfers if move.source == number for name in move.tensors}
    wanted |= set(graph.outputs)
    made = [name for node in stage.nodes for name in graph.nodes[node].writes if name in wanted]
    return (*made, *(name for move in _initialiser_results(graph, plan) if move.source == number for name in move.tensors))


def _initialiser_results(graph: Graph, plan: Plan) -> tuple[Transfer, ...]:
    """Outputs that are initialisers: no node makes them, so the first stage that an item passes gives them."""
    names = tuple(name for name in graph.outputs if name in graph.parameters and name not in graph.producer)
    first = sorted({path.stages[0] for path in plan.paths} or {0})
    return tuple(Transfer(stage, CALLER, names, graph.bytes_of(names)) for stage in first) if names else ()


@dataclass(frozen=True)
class _LinkedWeights:
    """Hard links to the files that hold the weights: `names` by original file."""

    folder: Path
    names: Mapping[Path, str]
    kind: str = "linked"

    def place(self, name: str, part: Any, references: Mapping[str, Reference]) -> dict[str, str]:
        used = set()
        for tensor in part.graph.initializer:
            if is_external(tensor):
                place = references[tensor.name]
                refer(tensor, self.names[place.file], place.offset, place.length)
                used.add(self.names[place.file])
        digest = _save(self.folder, name, part)
        return {f"{name}.onnx": digest, **{file: fingerprint(self.folder / file) for file in sorted(used)}}


def _linked_or_copied(folder: Path, model: ModelFile) -> _LinkedWeights | _CopiedWeights:
    files = sorted({place.file for place in model.references.values()})
    names = {file: f"weights_{number}.linked" for number, file in enumerate(files, start=1)}
    try:
        for file, name in names.items():
            os.link(file, folder / name)
    except OSError:
        # Another file system, or one without hard links: the bytes must be brought here.
        for name in names.values():
            (folder / name).unlink(missing_ok=True)
        return _CopiedWeights(folder)
    return _LinkedWeights(folder, names)


@dataclass(frozen=True)
class _CopiedWeights:
    """One weights file per part, with that part's bytes alone; tensors that share their bytes are stored once."""

    folder: Path
    kind: str = "copied"

    def place(self, name: str, part: Any, references: Mapping[str, Reference]) -> dict[str, str]:
        file = f"{name}.weights"
        offsets: dict[Reference, int] = {}
        end = 0
        for tensor in part.graph.initializer:
            if is_external(tensor):
                source = references[tensor.name]
                if source not in offsets:
                    offsets[source] = end
                    end = -(-(end + source.length) // ALIGNMENT) * ALIGNMENT
                refer(tensor, file, offsets[source], source.length)
        digests = {f"{name}.onnx": _save(self.folder, name, part)}
        if offsets:
            digests[file] = _copy(self.folder / file, offsets)
        return digests


def _save(folder: Path, name: str, part: Any) -> str:
    raw = part.SerializeToString(deterministic=True)
    path = folder / f"{name}.onnx"
    with replacing(path, error=PlanError, sync=False) as file:
        file.write(raw)
    return digest_of(path)


def _copy(path: Path, offsets: Mapping[Reference, int]) -> str:
    """Copies each range to its offset; returns the digest of the whole, made of the same bytes on their way through."""
    digest, at = new_digest(), 0
    # One buffer that stays in the processor's cache: mapping the file instead costs a page fault per few pages.
    with replacing(path, error=PlanError, sync=False) as target, memoryview(bytearray(_BUFFER_BYTES)) as buffer:
        for source, offset in offsets.items():
            gap = bytes(offset - at)
            digest.update(gap)
            target.write(gap)
            with source.file.open("rb", buffering=0) as file:
                file.seek(source.offset)
                for piece in _read_in_parts(file, source.length, buffer):
                    digest.update(piece)
                    target.write(piece)
            at = offset + source.length
    return named(digest)


def _read_in_parts(file: io.FileIO, length: int, buffer: memoryview) -> Iterator[memoryview]:
    """The next `length` bytes of `file`, as much as `buffer` holds at a time."""
    while length:
        count = file.readinto(buffer[: min(length, len(buffer))])
        if not count:
            raise ModelError(SHORTENED)
        yield buffer[:count]
        length -= count
