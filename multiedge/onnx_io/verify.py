"""Parts of a model against the whole, by structure: whether every node is in one part and every tensor arrives."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from multiedge.errors import ModelError
from multiedge.graph import Graph
from multiedge.onnx_io.manifest import read_manifest
from multiedge.onnx_io.reader import declared_graph, read_graph
from multiedge.plan import CALLER, Manifest, Transfer, require
from multiedge.states import State


def whole_graph(manifest: Manifest, shapes: Mapping[str, Sequence[int]] | None = None) -> Graph:
    """The model that the parts were cut from, with these shapes or those of the plan; ModelError if it has changed since."""
    graph = read_graph(manifest.model, shapes or manifest.input_shapes, manifest.state_pairs)
    if graph.model_hash != manifest.model_hash:
        raise ModelError(f"{manifest.model}: has changed since {manifest.directory} was written; split it again")
    return graph


def read_runnable(directory: str | os.PathLike[str]) -> Manifest:
    """The plan in a folder, whose parts can run together.

    The whole model is compared if it is there and unchanged: the parts may have been copied to another machine without it.

    Args:
        directory: A folder that `write_parts` wrote.

    Returns:
        The Manifest.

    Raises:
        PlanError: If there is no plan, a file is not the one of the plan, or the parts cannot run; it lists all errors.
        ModelError: If a part is no ONNX model.
    """
    manifest = read_manifest(directory)
    try:
        whole = whole_graph(manifest)
    except ModelError:
        whole = None
    parts = _part_graphs(manifest)
    require([*_wrong_parts(manifest, whole, parts), *_unsendable(manifest, parts)], f"{manifest.directory}: these parts")
    return manifest


def part_violations(manifest: Manifest, whole: Graph | None) -> list[str]:
    """Everything that is wrong with the parts, from their files alone: nothing is run. Empty means that they can run.

    Nodes that make constants may be in several parts; of the parts that an item passes, every other node of `whole` is in
    exactly one. Without `whole`, only the parts and their transfers are compared.
    """
    return _wrong_parts(manifest, whole, _part_graphs(manifest))


def _part_graphs(manifest: Manifest) -> list[Graph]:
    """The graph of each part, in order; a file is read once."""
    files = {part.file: declared_graph(Path(manifest.directory) / part.file, _pairs(part.states)) for part in manifest.parts}
    return [files[part.file] for part in manifest.parts]


def _wrong_parts(manifest: Manifest, whole: Graph | None, parts: Sequence[Graph]) -> list[str]:
    shared = {name for each in (whole, *parts) if each for name in _made_again(each, manifest)}
    held = [_held(part, shared) for part in parts]
    wrong = (
        [text for stages, _ in manifest.taken for text in _wrong_nodes(_held(whole, shared), [held[n] for n in stages])]
        if whole
        else []
    )
    wrong += _wrong_numbers(manifest)
    for stages, moves in manifest.taken:
        wrong += _wrong_transfers(manifest, parts, stages, moves)
    return list(dict.fromkeys(wrong))


def _wrong_transfers(manifest: Manifest, parts: Sequence[Graph], stages: Sequence[int], moves: Sequence[Transfer]) -> list[str]:
    """What is wrong with the transfers of an item that passes these stages."""
    available = _available(manifest, stages, moves)
    wrong = [
        f"{manifest.parts[number].file} needs '{tensor}', which no transfer brings"
        for number in stages
        for tensor in parts[number].inputs
        if tensor not in available[number]
    ]
    wrong += [
        f"output '{name}' does not reach the caller: no transfer brings it back"
        for name in manifest.outputs
        if name not in available[CALLER]
    ]
    for move in moves:
        end = "the caller" if move.target == CALLER else manifest.parts[move.target].file
        if move.source != CALLER:
            made = {*available[move.source], *parts[move.source].outputs}
            source = manifest.parts[move.source].file
            wrong += [
                f"{source} cannot send '{name}' to {end}: it has no such tensor" for name in move.tensors if name not in made
            ]
        else:
            wrong += [
                f"the caller cannot send '{name}' to {end}: it has no such input"
                for name in move.tensors
                if name not in manifest.inputs
            ]
            if move.target == CALLER:
                wrong.append(f"order broken: the caller sends {', '.join(move.tensors)} to itself")
        if move.source >= move.target != CALLER:
            wrong.append(f"order broken: part {move.source} sends {', '.join(move.tensors)} back to part {move.target}")
    return wrong


def _unsendable(manifest: Manifest, parts: Sequence[Graph]) -> list[str]:
    """What parts would send that is no tensor, which a comparison on this machine can pass on and a pipeline cannot."""
    sent = [(move.source, name) for move in manifest.transfers if 0 <= move.source < len(parts) for name in move.tensors]
    values = [(manifest.parts[source].file, parts[source].tensors.get(name)) for source, name in sent]
    return [
        f"{file} sends '{value.name}', which is of type {value.dtype}: only tensors can be sent"
        for file, value in dict.fromkeys(values)
        if value is not None and not value.is_array
    ]


def _made_again(graph: Graph, manifest: Manifest) -> set[str]:
    """Names of the nodes that each part which needs them has."""
    return {graph.nodes[graph.producer[name]].name for name in manifest.recomputed if name in graph.producer}


def _held(graph: Graph, shared: Collection[str]) -> list[str]:
    """Names of the nodes that are in one part each."""
    return [node.name for node in graph.nodes if not set(node.writes) <= graph.parameters.keys() and node.name not in shared]


def _pairs(states: Iterable[State]) -> tuple[tuple[str, str], ...]:
    return tuple((state.input, state.output) for state in states)


def _wrong_nodes(names: Iterable[str], held: Sequence[Sequence[str]]) -> list[str]:
    wanted = set(names)
    count = Counter(name for names in held for name in names)
    wrong = [f"node '{name}' is in no part" for name in sorted(wanted - count.keys())]
    wrong += [f"node '{name}' is in {times} parts" for name, times in sorted(count.items()) if times > 1]
    return wrong + [f"node '{name}' is not in the model" for name in sorted(count.keys() - wanted)]


def _wrong_numbers(manifest: Manifest) -> list[str]:
    """Parts whose place in the list is not the number of their stage, such as a part that is listed twice."""
    return [
        f"parts[{place}]: expected stage {place}, got stage {part.stage} ({part.file})"
        for place, part in enumerate(manifest.parts)
        if part.stage != place
    ]


def _available(manifest: Manifest, stages: Sequence[int], moves: Sequence[Transfer]) -> dict[int, set[str]]:
    """The tensors that the transfers bring to each part and to the caller, who has the inputs anyway."""
    tensors: dict[int, set[str]] = {number: set() for number in stages}
    tensors[CALLER] = set(manifest.inputs)
    for move in moves:
        tensors[move.target].update(move.tensors)
    return tensors
