"""The public suite: models, fleets, strategies and seeds that a version fixes, so that two papers compare the same thing.

The models are in the onnx package, their sizes are those of the published networks and their weights are constants, which no
plan depends on. The digest of a model is of what strategies get of it, so a release of onnx that changes it is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from multiedge.errors import ConfigError, UnknownSizeError, did_you_mean
from multiedge.fleet import Fleet
from multiedge.formats.devices import parse_fleet, read_fleet
from multiedge.formats.documents import read_yaml
from multiedge.formats.fields import Field
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph
from profilers.engine.macs import count_work

_SUITES = Path(__file__).parent / "suites"
_LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@dataclass(frozen=True)
class Model:
    """A model of a benchmark. `suite` is the version that has it, '' for a file of the user."""

    name: str
    digest: str
    graph: Graph
    suite: str = ""


@dataclass(frozen=True)
class Devices:
    """A fleet of a benchmark. `suite` is the version that has it, '' for a file of the user."""

    name: str
    digest: str
    fleet: Fleet
    suite: str = ""


@dataclass(frozen=True)
class Suite:
    """One version. `models` are files of the onnx package with their digests; `strategies` as `--strategies` takes them."""

    version: str
    models: Mapping[str, tuple[str, str]]
    fleets: Mapping[str, Devices]
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]

    def model(self, name: str) -> Model:
        """The model of that name, or the one in the file `name`; ConfigError if it is not the model of the suite any more."""
        if name not in self.models:
            graph = _sized(_existing(name, "model", self.models))
            return Model(graph.name, model_digest(graph), graph)
        file, stated = self.models[name]
        path = _LIGHT / file
        if not path.is_file():
            raise ConfigError(
                f"suite {self.version}: the onnx package {onnx.__version__} has no {file}; install another release"
            )
        graph = read_graph(path)
        digest = model_digest(graph)
        if digest != stated:
            raise ConfigError(
                f"suite {self.version}: {name} has the digest {digest} with onnx {onnx.__version__}, and {stated} in the suite;"
                " install another release of onnx, or leave the model out with --models"
            )
        return Model(name, digest, graph, self.version)

    def devices(self, name: str) -> Devices:
        """The fleet of that name, or the one in the file `name`."""
        if name in self.fleets:
            return self.fleets[name]
        path = _existing(name, "fleet", self.fleets)
        fleet = read_fleet(path)
        return Devices(fleet.name, fleet_digest(read_yaml(path).value), fleet)


def _sized(path: Path) -> Graph:
    """The model of a file, whose sizes must be known: a bench takes no shapes."""
    graph = read_graph(path)
    try:
        graph.require_sizes()
    except UnknownSizeError as error:
        named = f"the inputs {', '.join(error.examples)}" if error.examples else "what depends on the data"
        raise ConfigError(
            f"{path}: the sizes of {named} are open; a bench needs models that state them: fix them with"
            " python -m onnxruntime.tools.make_dynamic_shape_fixed"
        ) from None
    return graph


def read_suite(version: str) -> Suite:
    """The suite of that version; ConfigError, with those that there are, if there is none."""
    known = suite_versions()
    if version.removeprefix("v") not in known:
        raise ConfigError(f"--suite: unknown version '{version}'; there are: {', '.join(known)}")
    content = read_yaml(_SUITES / f"{version.removeprefix('v')}.yaml")
    number = content["version"].text()
    return Suite(
        number,
        content["models"].mapping_of(lambda entry: (entry["file"].text(), entry["digest"].text())),
        {name: _devices(name, entry, number) for name, entry in content["fleets"].mapping().items()},
        content["strategies"].list_of(Field.text),
        content["seeds"].list_of(Field.count),
    )


def suite_versions() -> list[str]:
    """Every version, oldest first."""
    return sorted((path.stem for path in _SUITES.glob("*.yaml")), key=int)


def _devices(name: str, entry: Field, suite: str) -> Devices:
    declared = {key: value for key, value in entry.data().items() if key != "digest"}
    return Devices(name, fleet_digest(declared), parse_fleet({"name": name, **declared}, entry.place), suite)


def stated_digests(version: str) -> dict[str, str]:
    """The digests of fleets as the suite's file states them, by name."""
    fleets = read_yaml(_SUITES / f"{version}.yaml")["fleets"]
    return {name: entry["digest"].text() for name, entry in fleets.mapping().items()}


def model_digest(graph: Graph) -> str:
    """A digest of what strategies get of a model: operators, edges, sizes and counts of operations; not of names or weights."""
    work = count_work(graph)
    sizes = {name: (tensor.dtype, tensor.nbytes) for name, tensor in {**graph.tensors, **graph.parameters}.items()}
    number = {name: index for index, name in enumerate(sizes)}
    nodes = [
        (
            node.op_type,
            [number.get(name) for name in node.reads],
            [number.get(name) for name in node.writes],
            macs,
            round(flops),
        )
        for node, macs, flops in zip(graph.nodes, work.macs.tolist(), work.flops.tolist(), strict=True)
    ]
    ends = [[number.get(name) for name in names] for names in (graph.inputs, graph.outputs)]
    return _digest([nodes, list(sizes.values()), ends])


def fleet_digest(declared: Any) -> str:
    """A digest of what a devices.yaml declares, whatever its order and comments."""
    return _digest(declared)


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _existing(name: str, what: str, known: Mapping[str, Any]) -> Path:
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"--{what}s: '{name}' is no file and no {what} of the suite{did_you_mean(name, known)}")
    return path
