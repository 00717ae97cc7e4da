"""A plan made into files: one sub-model per stage, its weights linked or copied, and the manifest.

*Linked* parts refer to the original weights through a hard link in the plan's folder, since runtimes refuse external
data that is a symbolic link or lies outside the model's folder; they cost a few KB. *Copied* parts hold the bytes that
they need alone, for shipping to a device. Either way `InferenceSession(part)` of plain onnxruntime works.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import onnx

from multiedge.errors import ModelError, PlanError
from multiedge.files import TEMPORARY
from multiedge.formats.profile import save_profile
from multiedge.graph import Graph
from multiedge.onnx_io.extract import Extractor
from multiedge.onnx_io.manifest import FILE_NAME, PROFILE_NAME, digest_of, write_manifest
from multiedge.onnx_io.model_file import ModelFile, open_model
from multiedge.onnx_io.weight_files import CopiedWeights, WeightFiles, linked_or_copied
from multiedge.onnx_io.weights import is_external, reference
from multiedge.plan import CALLER, Manifest, Part, Plan, Stage, Transfer
from multiedge.planning.kept import recomputing
from multiedge.profile import Profile
from multiedge.states import Extended, State


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
        store = CopiedWeights(folder) if copy_weights else linked_or_copied(folder, model.references.values())
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
    CopiedWeights(folder).place(path.stem, proto, references)
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


def _write_all(extractor: Extractor, plan: Plan, store: WeightFiles) -> tuple[Part, ...]:
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
        if states:
            sent = {name for move in plan.transfers if move.source == number and move.target != CALLER for name in move.tensors}
            returned = tuple(name for name in key[1] if name not in sent)
            part = replace(part, sequences=plan.sequences, returned=returned)
        parts.append(part)
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
