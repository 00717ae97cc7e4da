"""Items to run a plan on: one array for each input of the model, from .npz files or made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from multiedge.errors import ConfigError, PlanError, did_you_mean
from multiedge.graph import Graph, Tensor
from multiedge.onnx_io.inputs import random_inputs
from multiedge.onnx_io.reader import read_graph
from multiedge.plan import Manifest

DISTINCT = 16
"""Random items that are made; longer runs repeat them, so that making them costs no time of the run."""

Arrays = dict[str, npt.NDArray[Any]]


def random_items(manifest: Manifest, count: int, seed: int = 0) -> Iterator[Mapping[str, Any]]:
    """`count` items of seeded values that fit the inputs of the plan's model; every DISTINCT-th is the same.

    Raises PlanError if the model is not there, before the first item is taken.
    """
    graph = _whole_model(manifest)
    distinct = [random_inputs(graph, seed=seed + number) for number in range(min(count, DISTINCT))]
    return islice(cycle(distinct), count)


def npz_items(manifest: Manifest, places: Sequence[str | Path]) -> tuple[Iterator[Arrays], int]:
    """The items of .npz files and of folders of them, each file read when its item is due; and how many they are.

    Raises ConfigError for a file that is not there, and for a first file that does not fit the model.
    """
    paths = [path for place in places for path in npz_files(Path(place))]
    inputs = input_tensors(manifest)
    read_npz(paths[0], inputs)
    return (read_npz(path, inputs) for path in paths), len(paths)


def input_tensors(manifest: Manifest) -> dict[str, Tensor]:
    """The model's inputs, as the parts that read them declare them."""
    tensors: dict[str, Tensor] = {}
    for part in manifest.parts:
        if not tensors.keys() >= set(part.inputs) & set(manifest.inputs):
            graph = read_graph(Path(manifest.directory) / part.file)
            tensors.update({name: graph.tensors[name] for name in graph.inputs if name in manifest.inputs})
    return tensors


def npz_files(path: Path) -> list[Path]:
    """The file itself, or the .npz files of a folder by name; ConfigError if there are none."""
    if path.is_dir():
        paths = sorted(path.glob("*.npz"))
        if not paths:
            raise ConfigError(f"{path}: no .npz file in this folder")
        return paths
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected an .npz with one array per input of the model")
    return [path]


def read_npz(path: Path, inputs: Mapping[str, Tensor]) -> Arrays:
    """The arrays of the file, one for each of `inputs`, of its type and shape; ConfigError that names what differs."""
    arrays = _load(path, next(iter(inputs), "name"))
    for name in arrays:
        if name not in inputs:
            raise ConfigError(f"{path}: '{name}' is no input of the model{did_you_mean(name, inputs)}")
    for name, tensor in inputs.items():
        if name not in arrays:
            raise ConfigError(f"{path}: the model's input '{name}' is not in there{did_you_mean(name, arrays)}")
        _require_fits(f"{path}: input '{name}'", arrays[name], tensor)
    return arrays


def _load(path: Path, example: str) -> Arrays:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (TypeError, AttributeError, OSError, ValueError, BadZipFile, EOFError):  # a lone array is no context
        raise ConfigError(
            f"{path}: expected an .npz with one array per input of the model, as numpy.savez(path, {example}=array) writes it"
        ) from None


def _require_fits(place: str, array: npt.NDArray[Any], tensor: Tensor) -> None:
    shape = tensor.shape
    fits = shape is None or (
        len(shape) == array.ndim
        and all(isinstance(want, str) or want == size for want, size in zip(shape, array.shape, strict=True))
    )
    if not fits or tensor.dtype not in (None, "object", array.dtype.name):
        sizes = "of any shape" if shape is None else list(shape)
        raise ConfigError(
            f"{place}: expected {tensor.dtype} {sizes}, got {array.dtype} {list(array.shape)}; convert it before it is saved"
        )


def _whole_model(manifest: Manifest) -> Graph:
    model = Path(manifest.model)
    path = model if model.is_file() else Path(manifest.directory) / manifest.model
    if not path.is_file():
        raise PlanError(
            f"{manifest.directory}: the model '{manifest.model}' is not there, and random items need its inputs;"
            " give .npz files instead"
        )
    return read_graph(path)
