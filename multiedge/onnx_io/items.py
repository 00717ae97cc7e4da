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
            graph = declared_graph(Path(manifest.directory) / part.file, [(state.input, state.output) for state in part.states])
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


def whole_items(manifest: Manifest, places: Sequence[str | Path]) -> list[Arrays]:
    """The items of .npz files and of folders of them, for the parts of a model; ConfigError for a file that does not fit it."""
    inputs = input_tensors(manifest)
    return [read_npz(path, inputs) for place in places for path in npz_files(Path(place))]


def model_items(model: Path, places: Sequence[str | Path]) -> list[Arrays]:
    """The items of .npz files and of folders of them, for a whole model; ConfigError for a file that does not fit it."""
    graph = declared_graph(model)
    inputs = {name: graph.tensors[name] for name in graph.inputs}
    return [read_npz(path, inputs) for place in places for path in npz_files(Path(place))]


def read_labels(path: Path, count: int) -> tuple[int, ...]:
    """The right class of each of `count` items: the last word of each line that is not empty; ConfigError for other files."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{path}: no such file; expected a text with the class of an item in each line") from None
    words = [line.split()[-1] for line in lines]
    wrong = next((number for number, word in enumerate(words, 1) if not word.isdecimal()), None)
    if wrong is not None:
        raise ConfigError(f"{path}:{wrong}: expected the number of a class at the end, got '{words[wrong - 1]}'")
    if len(words) != count:
        raise ConfigError(f"{path}: expected a line for each of {count} items, got {len(words)}")
    return tuple(map(int, words))


def _whole_model(manifest: Manifest) -> Graph:
    model = Path(manifest.model)
    path = model if model.is_file() else Path(manifest.directory) / manifest.model
    if not path.is_file():
        raise PlanError(
            f"{manifest.directory}: the model '{manifest.model}' is not there, and random items need its inputs;"
            " give .npz files instead"
        )
    return read_graph(path, manifest.input_shapes, manifest.state_pairs)
