"""A model as a short list of named blocks, stage by stage: what remains readable of a graph of any size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from multiedge.graph import Graph
from multiedge.plan import Stage

MOST_BLOCKS = 24
"""The most blocks of a model, if it has fewer stages."""
FEWEST_BLOCKS = 8
"""Of a model with fewer named blocks than this, parts of these blocks are shown."""
DEEPEST = 5
"""The most parts of a name that are compared."""


@dataclass(frozen=True)
class Block:
    """Nodes of one stage that follow each other: `name` as it is shown, `title` in full."""

    name: str
    title: str
    nodes: int


@dataclass(frozen=True)
class _Run:
    """Nodes with one path of names."""

    path: tuple[str, ...]
    nodes: tuple[int, ...]


def blocks(graph: Graph, stages: Sequence[Stage], most: int = MOST_BLOCKS) -> list[list[Block]]:
    """The blocks of each stage, in the order of its nodes.

    Exporters name nodes by their module, such as '/encoder/layer.3/attention/MatMul'. Names are cut at the depth that gives
    the most blocks, at most `most`. Where that gives only a few, neighbours at the next depth are joined instead. Nodes
    without such names are shown by their numbers.
    """
    paths = _paths(graph)
    by_depth = [[_runs(stage.nodes, paths, depth) for stage in stages] for depth in range(1, DEEPEST + 1)]
    counts = [sum(map(len, runs)) for runs in by_depth]
    fitting = [depth for depth, count in enumerate(counts) if count <= most]
    chosen = fitting[-1] if fitting else 0
    if counts[chosen] < FEWEST_BLOCKS and chosen + 1 < DEEPEST:
        chosen += 1
    share = max(1, most // max(1, len(stages)))
    return [[_block(runs) for runs in _joined(runs, share)] for runs in by_depth[chosen]]


def _paths(graph: Graph) -> list[tuple[str, ...]]:
    """The path of modules of each node; () without one. Constants often lack a path: they take that of the node before."""
    paths: list[tuple[str, ...]] = []
    for node in graph.nodes:
        path = tuple(part for part in node.name.split("/")[:-1] if part)
        paths.append(path or (paths[-1] if paths else ()))
    return paths


def _runs(nodes: Sequence[int], paths: Sequence[tuple[str, ...]], depth: int) -> list[_Run]:
    """Neighbours with the same first parts; nodes without a path are alone."""
    groups = itertools.groupby(nodes, key=lambda node: paths[node][:depth] or node)
    return [_Run(paths[members[0]][:depth], tuple(members)) for _, group in groups if (members := list(group))]


def _joined(runs: Sequence[_Run], most: int) -> list[Sequence[_Run]]:
    """Neighbours together so that at most `most` remain."""
    size = -(-len(runs) // most)
    return [runs[start : start + size] for start in range(0, len(runs), size)]


def _block(runs: Sequence[_Run]) -> Block:
    first, last = runs[0], runs[-1]
    nodes = [node for run in runs for node in run.nodes]
    numbers = f"nodes {nodes[0]} to {nodes[-1]}" if len(nodes) > 1 else f"node {nodes[0]}"
    if not first.path or not last.path:
        return Block(numbers, numbers, len(nodes))
    name = _shown(first.path) if first.path == last.path else f"{_shown(first.path)} to {_shown(last.path)}"
    title = "/".join(first.path) if first.path == last.path else f"{'/'.join(first.path)} to {'/'.join(last.path)}"
    return Block(name, f"{title}, {numbers}", len(nodes))


def _shown(path: Sequence[str]) -> str:
    """The last part of the path, with the one before it if only that one says which of several it is.

    >>> _shown(("encoder", "layer.3")), _shown(("encoder", "layer.3", "attention"))
    ('layer.3', 'layer.3/attention')
    """
    return path[-1] if any(letter.isdigit() for letter in path[-1]) else "/".join(path[-2:])
