"""Whole model against parts: first what is wrong with the parts' structure, then both on the same inputs."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.backends import BACKENDS
from multiedge.errors import ModelError, PlanError
from multiedge.graph import Graph
from multiedge.onnx_io import random_inputs, read_graph, read_manifest, write_parts
from multiedge.plan import CALLER, Estimate, Manifest, Plan, Stage, StageEstimate, direct_transfers, require

PROTOBUF_LIMIT_BYTES = 2**31 - 1
"""No runtime parses a larger protobuf; the whole model then runs with its weights outside the file."""

DEFAULT_TOLERANCE = 1e-4
"""Largest relative error that `multiedge check` passes."""


@dataclass(frozen=True)
class OutputCheck:
    """One output of the whole model and the same output of the parts.

    `max_rel` is `max_abs` over the largest magnitude in the whole model's output. Values that are no numbers count as
    0 where they are equal and as infinite where they are not, and so does a difference in type or shape. `says_little` is
    whether the whole model's output has the same value everywhere, as of a model with constant weights.
    """

    name: str
    max_abs: float
    max_rel: float
    bitwise: bool
    says_little: bool = False


@dataclass(frozen=True)
class CheckReport:
    """How far the parts in `directory` are from the whole `model`, on random inputs made from `seed`."""

    model: str
    directory: str
    parts: int
    seed: int
    backend: str
    optimisation: str
    outputs: tuple[OutputCheck, ...]

    @property
    def bitwise(self) -> bool:
        return all(output.bitwise for output in self.outputs)

    @property
    def max_rel(self) -> float:
        return max((output.max_rel for output in self.outputs), default=0.0)

    def passes(self, tolerance: float = DEFAULT_TOLERANCE) -> bool:
        return self.max_rel <= tolerance


def check(
    directory: str | os.PathLike[str],
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    backend: str = "onnxruntime",
    optimisation: str = "disabled",
) -> CheckReport:
    """Runs the whole model and its parts in `directory` on the same inputs.

    `inputs` are used instead of random ones. Optimisations that cannot cross a cut are off unless `optimisation` says
    else ('basic', 'extended', 'all'), so that equality is bitwise. Raises PlanError, with everything that is wrong, for
    parts that cannot run; ModelError if the whole model is gone or has changed.
    """
    manifest = read_manifest(directory)
    graph = whole_graph(manifest, shapes)
    require(violations(manifest, graph), f"{manifest.directory}: these parts")
    given = dict(random_inputs(graph, seed) if inputs is None else inputs)
    runtime = BACKENDS.load(backend)
    expected = _run_whole(runtime, graph, given, optimisation)
    found = run_parts(runtime, manifest, given, optimisation)
    return CheckReport(
        model=manifest.model,
        directory=manifest.directory,
        parts=len(manifest.parts),
        seed=seed,
        backend=backend,
        optimisation=optimisation,
        outputs=tuple(
            replace(compare(name, expected[name], found[name]), says_little=_is_even(expected[name]))
            for name in manifest.outputs
        ),
    )


def whole_graph(manifest: Manifest, shapes: Mapping[str, Sequence[int]] | None = None) -> Graph:
    """The model that the parts were cut from; ModelError if it has changed since."""
    graph = read_graph(manifest.model, shapes)
    if graph.model_hash != manifest.model_hash:
        raise ModelError(f"{manifest.model}: has changed since {manifest.directory} was written; split it again")
    return graph


def violations(manifest: Manifest, whole: Graph) -> list[str]:
    """Everything that is wrong with the parts, by their files alone: nothing is run. Empty means that they can run.

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
        f"output '{name}' reaches nobody: no transfer brings it back" for name in whole.outputs if name not in available[CALLER]
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
    """What the transfers bring to each part and to the caller, who has the inputs anyway."""
    found: dict[int, set[str]] = {number: set() for number in range(len(parts))}
    found[CALLER] = set(manifest.inputs)
    for move in manifest.transfers:
        found[move.target].update(move.tensors)
    return found


def run_parts(runtime: Any, manifest: Manifest, inputs: Mapping[str, Any], optimisation: str) -> dict[str, Any]:
    """The outputs of the parts, run one after the other, one loaded at a time, with what the transfers bring them."""
    inbox: dict[int, dict[str, Any]] = {number: {} for number in range(len(manifest.parts))}
    inbox[CALLER] = dict(inputs)
    _send(manifest, CALLER, inputs, inbox)
    for number, part in enumerate(manifest.parts):
        made = _run(runtime, Path(manifest.directory) / part.file, inbox[number], optimisation)
        _send(manifest, number, {**inbox[number], **made}, inbox)
        inbox[number] = {}
    return inbox[CALLER]


def _send(manifest: Manifest, source: int, held: Mapping[str, Any], inbox: Mapping[int, dict[str, Any]]) -> None:
    for move in manifest.transfers:
        if move.source == source:
            missing = [name for name in move.tensors if name not in held]
            if missing:
                raise PlanError(f"{manifest.directory}: part {source} has no tensor '{missing[0]}' to send")
            inbox[move.target].update({name: held[name] for name in move.tensors})


def _run(runtime: Any, path: Path, tensors: Mapping[str, Any], optimisation: str) -> dict[str, Any]:
    session = runtime.open(path, optimisation=optimisation)
    try:
        found: dict[str, Any] = session.run(tensors)
    finally:
        session.close()
    return found


def _run_whole(runtime: Any, graph: Graph, inputs: Mapping[str, Any], optimisation: str) -> dict[str, Any]:
    path = Path(str(graph.path))
    if path.stat().st_size <= PROTOBUF_LIMIT_BYTES:
        return _run(runtime, path, inputs, optimisation)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".multiedge-check-") as folder:
        return _run(runtime, _as_one_part(graph, folder), inputs, optimisation)


def _as_one_part(graph: Graph, folder: str) -> Path:
    """The whole model with its weights beside it."""
    stages = (Stage.span("whole", 0, len(graph.nodes)),)
    nothing = Estimate((StageEstimate(0.0, 0.0, 0, 0, 0.0),), 0.0, "", 0.0, None, 0)
    plan = Plan("whole", "latency", stages, direct_transfers(graph, stages), nothing, 0.0, model_hash=graph.model_hash)
    return Path(folder) / write_parts(graph, plan, folder).parts[0].file


def compare(name: str, whole: Any, parts: Any) -> OutputCheck:
    """How far two values of one output are apart; sequences are compared element by element."""
    if isinstance(whole, list) or isinstance(parts, list):
        return _compare_sequences(name, whole, parts)
    whole, parts = np.asarray(whole), np.asarray(parts)
    if whole.dtype != parts.dtype or whole.shape != parts.shape:
        return OutputCheck(name, np.inf, np.inf, bitwise=False)
    bitwise = whole.tolist() == parts.tolist() if whole.dtype.hasobject else whole.tobytes() == parts.tobytes()
    if bitwise or whole.size == 0:
        return OutputCheck(name, 0.0, 0.0, bitwise=bitwise)
    if whole.dtype.kind not in "biufcV":
        return OutputCheck(name, np.inf, np.inf, bitwise=False)
    max_abs, scale = _distance(whole, parts)
    return OutputCheck(name, max_abs, max_abs / scale if scale > 0 else np.inf if max_abs > 0 else 0.0, bitwise=False)


def _distance(whole: Any, parts: Any) -> tuple[float, float]:
    """Largest difference and largest magnitude; equal infinities and two NaNs do not differ, other such pairs infinitely."""
    wide = np.complex128 if whole.dtype.kind == "c" else np.float64
    whole, parts = whole.astype(wide), parts.astype(wide)
    same = (whole == parts) | (np.isnan(whole) & np.isnan(parts))
    if not (np.isfinite(whole) & np.isfinite(parts) | same).all():
        return np.inf, 1.0
    apart = np.abs(whole[~same] - parts[~same]).max(initial=0.0)
    return float(apart), float(np.abs(whole[np.isfinite(whole)]).max(initial=0.0))


def _is_even(value: Any) -> bool:
    """Whether an array has one value in more than one place."""
    return isinstance(value, np.ndarray) and value.size > 1 and bool((value == value.flat[0]).all())


def _compare_sequences(name: str, whole: Any, parts: Any) -> OutputCheck:
    if not (isinstance(whole, list) and isinstance(parts, list)) or len(whole) != len(parts):
        return OutputCheck(name, np.inf, np.inf, bitwise=False)
    each = [compare(name, *pair) for pair in zip(whole, parts, strict=True)]
    return OutputCheck(
        name,
        max((item.max_abs for item in each), default=0.0),
        max((item.max_rel for item in each), default=0.0),
        bitwise=all(item.bitwise for item in each),
    )
