"""Stages of a plan, run one after another on items in this process: what each stage gets, and what the caller gets.

It is how stages are calibrated, whose inputs are outputs of others, and how the answers of a mix of runtimes are found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.backends.contract import Session, Tensors
from multiedge.backends.conversion.inputs import PartInputs, keep_inputs
from multiedge.backends.stages import CONVERTED, load_backend, open_part
from multiedge.errors import PlanError
from multiedge.fleet import REFERENCE_BACKEND, Encoding
from multiedge.plan import CALLER, Manifest
from multiedge.transports.coding import through_link

Open = Callable[[int], Session]
"""A session on the part of a stage, by the number of the stage."""


@dataclass(frozen=True)
class Ran:
    """What a run of some items gave.

    Attributes:
        inputs: By number of the stage, what it got, one mapping for each item.
        outputs: What the caller got, one mapping for each item.
    """

    inputs: Mapping[int, tuple[Tensors, ...]]
    outputs: tuple[Tensors, ...]


def run_stages(manifest: Manifest, items: Sequence[Tensors], opened: Open | None = None, path: int = 0) -> Ran:
    """Runs all items through the stages of a path, one stage open at a time.

    Args:
        manifest: The parts.
        items: Arrays by name of the model's inputs.
        opened: Opens a stage; None opens each in the reference backend.
        path: Which of the plan's paths.

    Returns:
        What each stage and the caller got, with the rounding of links that send float16.

    Raises:
        PlanError: If a stage does not have what it is to send.
    """
    stages, moves = manifest.taken[path]
    ends: dict[int, list[dict[str, Any]]] = {end: [{} for _ in items] for end in (*stages, CALLER)}

    def send(source: int, held: Sequence[Tensors]) -> None:
        for move in moves:
            if move.source != source:
                continue
            for item, target in zip(held, ends[move.target], strict=True):
                missing = [name for name in move.tensors if name not in item]
                if missing:
                    raise PlanError(f"{manifest.directory}: stage {source} has no tensor '{missing[0]}' to send")
                target.update({name: _received(item[name], move.encoding) for name in move.tensors})

    send(CALLER, items)
    for stage in stages:
        session = (opened or (lambda number: _open_reference(manifest, number)))(stage)
        try:
            made = [{**item, **session.run({name: item[name] for name in session.inputs})} for item in ends[stage]]
        finally:
            session.close()
        send(stage, made)
    inputs = {stage: tuple(ends[stage]) for stage in stages}
    return Ran(inputs, tuple(ends[CALLER]))


def keep_boundaries(manifest: Manifest, ran: Ran, labels: Sequence[int] = (), keep: Path | None = None) -> None:
    """Keeps for each part what it got, beside its conversions: what is converted later is calibrated and judged with it.

    Args:
        manifest: The parts.
        ran: What a run of the whole model gave.
        labels: The right class of each item, for the part that gives the model's outputs; empty if they are not known.
        keep: The folder of conversions; None is the one of the parts.
    """
    for stage, items in ran.inputs.items():
        part = manifest.parts[stage]
        path = Path(manifest.directory) / part.file
        own = tuple({name: item[name] for name in part.inputs} for item in items)
        is_last = set(manifest.outputs) <= set(part.outputs)
        keep_inputs(path, keep or path.parent / CONVERTED, PartInputs(own, tuple(labels) if is_last else ()))


def _open_reference(manifest: Manifest, stage: int) -> Session:
    return open_part(load_backend(REFERENCE_BACKEND), Path(manifest.directory) / manifest.parts[stage].file)


def _received(value: Any, encoding: Encoding) -> Any:
    """A tensor as the receiver gets it; sequences are not encoded."""
    return through_link(value, encoding) if isinstance(value, np.ndarray) else value
