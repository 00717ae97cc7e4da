"""Parts of a model against the whole, by structure: whether every node is in one part and every tensor arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from multiedge.errors import ModelError
from multiedge.graph import Graph
from multiedge.onnx_io.reader import read_graph
from multiedge.plan import CALLER, Manifest


def whole_graph(manifest: Manifest, shapes: Mapping[str, Sequence[int]] | None = None) -> Graph:
    """The model that the parts were cut from; ModelError if it has changed since."""
    graph = read_graph(manifest.model, shapes)
    if graph.model_hash != manifest.model_hash:
        raise ModelError(f"{manifest.model}: has changed since {manifest.directory} was written; split it again")
    return graph


def part_violations(manifest: Manifest, whole: Graph) -> list[str]:
    """Everything that is wrong with the parts, from their files alone: nothing is run. Empty means that they can run.

    Nodes that make constants may be in several parts; every other node of `whole` is in exactly one.
    """
    parts = [read_graph(Path(manifest.directory) / part.file) for part in manifest.parts]
    held = [[node.name for node in part.nodes if not set(node.writes) <= part.parameters.keys()] for part in parts]
    wrong = _wrong_nodes(whole, held)
    available = _available(manifest, parts)
    for number, part in enumerate(parts):
        name = manifest.parts[number].file
        wrong += [
            f"{name} needs '{tensor}', which no transfer brings" for tensor in part.inputs if tensor not in available[number]
        ]
    wrong += [
        f"output '{name}' does not reach the caller: no transfer brings it back"
        for name in whole.outputs
        if name not in available[CALLER]
    ]
    for move in manifest.transfers:
        end = "the caller" if move.target == CALLER else manifest.parts[move.target].file
        if move.source != CALLER:
            made = {*available[move.source], *parts[move.source].outputs}
            source = manifest.parts[move.source].file
            wrong += [
                f"{source} cannot send '{name}' to {end}: it has no such tensor" for name in move.tensors if name not in made
            ]
        if move.source >= move.target != CALLER:
            wrong.append(f"order broken: part {move.source} sends {', '.join(move.tensors)} back to part {move.target}")
    return wrong


def _wrong_nodes(whole: Graph, held: Sequence[Sequence[str]]) -> list[str]:
    wanted = {node.name for node in whole.nodes if not set(node.writes) <= whole.parameters.keys()}
    count = Counter(name for names in held for name in names)
    wrong = [f"node '{name}' is in no part" for name in sorted(wanted - count.keys())]
    wrong += [f"node '{name}' is in {times} parts" for name, times in sorted(count.items()) if times > 1]
    return wrong + [f"node '{name}' is not in the model" for name in sorted(count.keys() - wanted)]


def _available(manifest: Manifest, parts: Sequence[Graph]) -> dict[int, set[str]]:
    """The tensors that the transfers bring to each part and to the caller, who has the inputs anyway."""
    tensors: dict[int, set[str]] = {number: set() for number in range(len(parts))}
    tensors[CALLER] = set(manifest.inputs)
    for move in manifest.transfers:
        tensors[move.target].update(move.tensors)
    return tensors
