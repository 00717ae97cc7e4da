"""Whole model against parts: first the parts' structure, then both on the same inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.backends.contract import Array, Backend, Tensors
from multiedge.backends.stages import load_backend, open_part, stateful
from multiedge.defaults import DEFAULT_TOLERANCE
from multiedge.errors import PlanError
from multiedge.files import temporary_folder
from multiedge.fleet import REFERENCE_BACKEND, Encoding
from multiedge.graph import Graph
from multiedge.metrics.difference import difference
from multiedge.onnx_io import random_inputs, read_manifest, write_parts
from multiedge.onnx_io.verify import part_violations, whole_graph
from multiedge.plan import CALLER, Manifest, Part, Stage, Transfer, require, unestimated_plan
from multiedge.transports.coding import through_link

PROTOBUF_LIMIT_BYTES = 2**31 - 1
"""No runtime parses a larger protobuf; the whole model then runs with its weights outside the file."""

PRECISION = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
"""From 1 to the next larger value, of the types that are coarser than float32."""

Value = Array | Sequence[Array]
"""A tensor, or a sequence of tensors."""


@dataclass(frozen=True)
class OutputCheck:
    """One output of the whole model and the same output of the parts.

    `max_rel` is `max_abs` over the largest magnitude in the whole model's output. Values that are no numbers count as
    0 where they are equal and as infinite where they are not, and so does a difference in type or shape. `is_constant` is
    whether the whole model's output has one value everywhere, as with constant weights: then equality shows little.
    """

    name: str
    max_abs: float
    max_rel: float
    bitwise: bool
    is_constant: bool = False


@dataclass(frozen=True)
class CheckReport:
    """How far the parts in `directory` are from the whole `model`, on random inputs made from `seed`, in this backend with
    these options.

    `rounding` is the relative error that the model's own types explain, and float16 between devices if the plan `is_lossy`.
    """

    model: str
    directory: str
    parts: int
    seed: int
    backend: str
    options: Mapping[str, Any]
    outputs: tuple[OutputCheck, ...]
    rounding: float = DEFAULT_TOLERANCE
    is_lossy: bool = False

    @property
    def bitwise(self) -> bool:
        return all(output.bitwise for output in self.outputs)

    @property
    def max_rel(self) -> float:
        return max((output.max_rel for output in self.outputs), default=0.0)

    def passes(self, tolerance: float | None = None) -> bool:
        """Whether no output is further from the whole model's than `tolerance`; None is `rounding`."""
        return self.max_rel <= (self.rounding if tolerance is None else tolerance)


def check(
    directory: str | os.PathLike[str],
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    inputs: Tensors | None = None,
    backend: str = REFERENCE_BACKEND,
    options: Mapping[str, Any] | None = None,
) -> CheckReport:
    """Runs the whole model and its parts in `directory` on the same inputs, both in `backend`; of a plan with paths, each path.

    `inputs` are used instead of random ones. `options` are the backend's; without any it runs without the optimisations that
    round differently at a cut, so that equality is bitwise. Raises PlanError, with everything that is wrong, for parts that
    cannot run; ModelError if the whole model is missing or has changed.
    """
    manifest = read_manifest(directory)
    graph = whole_graph(manifest, shapes)
    require(part_violations(manifest, graph), f"{manifest.directory}: these parts")
    given = dict(random_inputs(graph, seed) if inputs is None else inputs)
    runtime = load_backend(backend).exact() if options is None else load_backend(backend, options)
    expected = _run_whole(runtime, graph, given)
    is_lossy = any(move.encoding is Encoding.FLOAT16 for move in manifest.transfers)
    actual = [run_parts(runtime, manifest, given, path) for path in range(len(manifest.taken))]
    return CheckReport(
        model=manifest.model,
        directory=manifest.directory,
        parts=len(manifest.parts),
        seed=seed,
        backend=backend,
        options=asdict(runtime),
        outputs=tuple(
            replace(_worst(name, expected[name], [made[name] for made in actual]), is_constant=_is_constant(expected[name]))
            for name in manifest.outputs
        ),
        rounding=max(rounding_of(graph), 4 * PRECISION["float16"] if is_lossy else 0.0),
        is_lossy=is_lossy,
    )


def rounding_of(graph: Graph) -> float:
    """The relative error that passes where no other is asked for: 1e-4, or four times the precision of the coarsest type of
    the tensors. A runtime without kernels for float16 computes neighbouring nodes in float32, and a cut between them rounds."""
    coarsest = max((PRECISION.get(tensor.dtype or "", 0.0) for tensor in graph.tensors.values()), default=0.0)
    return max(DEFAULT_TOLERANCE, 4 * coarsest)


def run_parts(backend: Backend, manifest: Manifest, inputs: Tensors, path: int = 0) -> dict[str, Array]:
    """The outputs of the parts of a path, run one after the other, one loaded at a time, with what the transfers bring them."""
    stages, moves = manifest.taken[path]
    inbox: dict[int, dict[str, Array]] = {number: {} for number in stages}
    inbox[CALLER] = dict(inputs)
    _send(manifest, moves, CALLER, inputs, inbox)
    for number in stages:
        part = manifest.parts[number]
        made = _run(backend, Path(manifest.directory) / part.file, inbox[number], part)
        _send(manifest, moves, number, {**inbox[number], **made}, inbox)
        inbox[number] = {}
    return inbox[CALLER]


def _send(
    manifest: Manifest, moves: Sequence[Transfer], source: int, held: Tensors, inbox: Mapping[int, dict[str, Array]]
) -> None:
    for move in moves:
        if move.source == source:
            missing = [name for name in move.tensors if name not in held]
            if missing:
                raise PlanError(f"{manifest.directory}: part {source} has no tensor '{missing[0]}' to send")
            inbox[move.target].update({name: _received(held[name], move.encoding) for name in move.tensors})


def _received(value: Value, encoding: Encoding) -> Any:
    """A tensor as the receiver gets it; sequences are not encoded."""
    return through_link(value, encoding) if isinstance(value, np.ndarray) else value


def _run(backend: Backend, path: Path, tensors: Tensors, kept: Part | Graph, keep: Path | None = None) -> dict[str, Array]:
    session = stateful(open_part(backend, path, keep=keep), kept.states, kept.extended)
    try:
        return session.run(tensors)
    finally:
        session.close()


def _run_whole(backend: Backend, graph: Graph, inputs: Tensors) -> dict[str, Array]:
    path = Path(str(graph.path))
    is_large = path.stat().st_size > PROTOBUF_LIMIT_BYTES
    # A large model is linked, not copied, which needs a folder on its own file system.
    with temporary_folder("check-", path.parent if is_large else None) as folder:
        return _run(backend, _as_one_part(graph, folder) if is_large else path, inputs, graph, folder)


def _as_one_part(graph: Graph, folder: Path) -> Path:
    """The whole model with its weights beside it."""
    stages = (Stage.span("whole", 0, len(graph.nodes)),)
    plan = unestimated_plan("whole", graph, stages)
    return folder / write_parts(graph, plan, folder).parts[0].file


def _worst(name: str, whole: Value, made: Sequence[Value]) -> OutputCheck:
    """Of the same output on several paths, the one that is farthest from the whole."""
    checks = [compare(name, whole, parts) for parts in made]
    return max(checks, key=lambda each: (each.max_rel, each.max_abs, not each.bitwise))


def compare(name: str, whole: Value, parts: Value) -> OutputCheck:
    """How far two values of one output are apart; sequences are compared element by element."""
    if isinstance(whole, list) or isinstance(parts, list):
        return _compare_sequences(name, whole, parts)
    whole, parts = np.asarray(whole), np.asarray(parts)
    if whole.dtype != parts.dtype or whole.shape != parts.shape:
        return OutputCheck(name, np.inf, np.inf, bitwise=False)
    if whole.tolist() == parts.tolist() if whole.dtype.hasobject else whole.tobytes() == parts.tobytes():
        return OutputCheck(name, 0.0, 0.0, bitwise=True)
    apart = difference(whole, parts)
    return OutputCheck(name, apart.absolute, apart.relative, bitwise=False)


def _compare_sequences(name: str, whole: Value, parts: Value) -> OutputCheck:
    if not (isinstance(whole, list) and isinstance(parts, list)) or len(whole) != len(parts):
        return OutputCheck(name, np.inf, np.inf, bitwise=False)
    each = [compare(name, *pair) for pair in zip(whole, parts, strict=True)]
    return OutputCheck(
        name,
        max((item.max_abs for item in each), default=0.0),
        max((item.max_rel for item in each), default=0.0),
        bitwise=all(item.bitwise for item in each),
    )


def _is_constant(value: Value) -> bool:
    """Whether an array has one value in more than one place."""
    return isinstance(value, np.ndarray) and value.size > 1 and bool((value == value.flat[0]).all())
