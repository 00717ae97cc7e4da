"""Items to run a plan on: one array for each input of the model, from .npz files or made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from multiedge.errors import ConfigError, PlanError
from multiedge.graph import Graph, Tensor
from multiedge.onnx_io.inputs import random_inputs
from multiedge.onnx_io.npz import Arrays, read_npz
from multiedge.onnx_io.reader import declared_graph, read_graph
from multiedge.plan import Manifest

DISTINCT = 16
"""Random items that are made; longer runs repeat them, so that making them costs no time of the run."""


def random_items(manifest: Manifest, count: int, seed: int = 0) -> Iterator[Mapping[str, Any]]:
    """`count` items of seeded values that fit the inputs of the plan's model; every DISTINCT-th is the same.

    Raises PlanError if the model is not there, before the first item is taken.
    """
    graph = _whole_model(manifest)
    distinct = [random_inputs(graph, seed=seed + number) for number in range(min(count, DISTINCT))]
    return islice(cycle(distinct), count)


def npz_items(manifest: Manifest, places: Sequence[str | Path]) -> tuple[Iterator[Arrays | ConfigError], int]:
    """The items of .npz files and of folders of them, each file read when its item is due; and how many they are. A later file
    that does not fit is an error in place of its item.

    Raises ConfigError for a file that is not there, and for a first file that does not fit the model.
    """
    paths = [path for place in places for path in npz_files(Path(place))]
    inputs = input_tensors(manifest)
    read_npz(paths[0], inputs)
    return (_read_or_refusal(path, inputs) for path in paths), len(paths)


def _read_or_refusal(path: Path, inputs: Mapping[str, Tensor]) -> Arrays | ConfigError:
    try:
        return read_npz(path, inputs)
    except ConfigError as error:
        return error


def input_tensors(manifest: Manifest) -> dict[str, Tensor]:
    """The model's inputs, as the parts that read them declare them."""
    tensors: dict[str, Tensor] = {}
    for part in manifest.parts:
        if not tensors.keys() >= set(part.inputs) & set(manifest.inputs):
            graph = declared_graph(Path(manifest.directory) / part.file)
            tensors.update({name: graph.tensors[name] for name in graph.inputs if name in manifest.inputs})
    return tensors


def npz_files(path: Path) -> list[Path]:
    """The file itself, or the .npz files of a folder by name; ConfigError if there are none."""
    if path.is_dir():
        paths = sorted(path.glob("*.npz"))
        if not paths:
            raise ConfigError(f"{path}: no .npz file in this folder")
        return paths
    if not path.exists():
        raise ConfigError(f"{path}: no such file; expected an .npz with one array per input of the model")
    return [path]


def _whole_model(manifest: Manifest) -> Graph:
    model = Path(manifest.model)
    path = model if model.is_file() else Path(manifest.directory) / manifest.model
    if not path.is_file():
        raise PlanError(
            f"{manifest.directory}: the model '{manifest.model}' is not there, and random items need its inputs;"
            " give .npz files instead"
        )
    return read_graph(path, manifest.input_shapes, manifest.state_pairs)
