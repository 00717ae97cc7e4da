"""Decoders and recurrent models with their plans, and greedy decoding with whatever runs one step of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multiedge.backends.contract import Provider, Tensors
from multiedge.executors.flow.sequences import OpenSequence
from multiedge.fleet import Device, Fleet, Link
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph, write_parts
from multiedge.onnx_io.reader import declared_graph
from multiedge.onnx_io.states import step_shapes
from multiedge.placement import Stage
from multiedge.plan import Manifest, Plan, relay_transfers
from multiedge.planning import cost
from multiedge.profile import Profile
from multiedge.run import profile_model
from multiedge.states import BATCH, SEQUENCE, State, Step
from tests.builders.decoders import Decoder, random_decoder, recurrent_model, recurrent_states, small_decoder

Tokens = npt.NDArray[np.int64]
Run = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""One item to its outputs."""
LAYOUTS = ("optimum", "genai", "recurrent")


def states_of(layout: str) -> tuple[tuple[str, str], ...]:
    """The states that a user would have to name."""
    return tuple(recurrent_states(4)) if layout == "recurrent" else ()


def save_model(folder: Path, layout: str, decoder: Decoder | None = None, **options: Any) -> Path:
    """A decoder of four layers, or a recurrent model."""
    path = folder / f"{layout}.onnx"
    if layout == "recurrent":
        onnx.save(recurrent_model(layers=4), path)
    else:
        onnx.save(random_decoder(decoder or small_decoder(layers=4), layout, **options), path)
    return path


def graph_at(path: Path, layout: str = "optimum", context: int = 64, tokens: int = 1, batch: int = 1) -> Graph:
    """The model at one step."""
    states = states_of(layout)
    shapes = step_shapes(declared_graph(path, states), context, tokens, batch)
    return read_graph(path, shapes, states)


def fleet_of(count: int) -> Fleet:
    """Equal devices on links of 1 Gbit/s; items arise on the first."""
    devices = tuple(Device(f"d{number}", speed=1.0) for number in range(count))
    names = [device.name for device in devices]
    links = {(a, b): Link(125e6, 1e-4) for a in names for b in names if a != b}
    return Fleet(devices, links, name="equal", source="d0")


def costs_of(graph: Graph, fleet: Fleet, sequences: int = 1) -> Profile:
    """Counted costs."""
    return profile_model(graph, fleet, sequences=sequences, reference="declared")


def even_plan(profile: Profile, fleet: Fleet) -> Plan:
    """A stage for each device, each with about as many nodes as the others."""
    count, parts = len(profile), len(fleet.names)
    ends = [0]
    for number in range(1, parts):
        share = count * number // parts
        allowed = [after for after in range(ends[-1] + 1, count) if profile.open_boundaries[after]]
        ends.append(min(allowed, key=lambda after: abs(after - share)))
    ends.append(count)
    stages = [Stage.span(name, *span) for name, span in zip(fleet.names, pairwise(ends), strict=True)]
    transfers = relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())
    return cost.make_plan("even", "throughput", profile, fleet, stages, transfers)


def even_parts(path: Path, folder: Path, parts: int, layout: str = "optimum", sequences: int = 4) -> tuple[Manifest, Fleet]:
    """The model in `path` as so many parts."""
    graph, fleet = graph_at(path, layout), fleet_of(parts)
    profile = costs_of(graph, fleet, sequences)
    return write_parts(graph, even_plan(profile, fleet), folder, profile=profile), fleet


def step_tensors(names: Sequence[str], tokens: Tokens, length: int, step: Step) -> dict[str, Any]:
    """The item of one step, after `length` tokens."""
    made = {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "position_ids": np.broadcast_to(np.arange(length, length + tokens.shape[1]), tokens.shape).copy(),
        SEQUENCE: step.array(),
    }
    return {name: made[name] for name in names}


class Greedy:
    """A sequence that is decoded one token after another, with the most likely token each time."""

    def __init__(self, run: Run, names: Sequence[str], prompt: Tokens, sequence: int = 0) -> None:
        self._run, self._names, self._sequence = run, names, sequence
        self.items: list[dict[str, Any]] = []
        self.tokens: list[Tokens] = []
        self._next, self._length = prompt, 0

    def item(self) -> dict[str, Any]:
        """The item of the next step."""
        batch, count = self._next.shape
        step = Step(self._sequence, len(self.items), batch, count)
        self.items.append(step_tensors(self._names, self._next, self._length, step))
        self._length += count
        return self.items[-1]

    def take(self, outputs: Mapping[str, Any]) -> None:
        """Takes the answer to the item."""
        self._next = outputs["logits"][:, -1].argmax(axis=-1)[:, None].astype(np.int64)
        self.tokens.append(self._next)

    def decode(self, count: int) -> Tokens:
        """So many more tokens, (batch, count)."""
        for _ in range(count):
            self.take(self._run(self.item()))
        return np.concatenate(self.tokens[-count:], axis=1)


def decoded(sequence: OpenSequence, manifest: Manifest, count: int, last: int | None = None) -> list[int]:
    """So many more of the most likely tokens of a sequence of one row: after `last`, or after a prompt."""
    names = [name for name in manifest.inputs if name != SEQUENCE]
    given, tokens = prompt_of() if last is None else np.array([[last]]), []
    for _ in range(count):
        logits = sequence.step(step_tensors(names, given, sequence.length, Step()), given.shape[1])["logits"]
        given = logits[:, -1].argmax(axis=-1)[:, None]
        tokens.append(int(given[0, 0]))
    return tokens


def prompt_of(batch: int = 1, length: int = 7, vocabulary: int = 61, seed: int = 0) -> Tokens:
    """Seeded tokens, (batch, length)."""
    return np.random.default_rng(seed).integers(0, vocabulary, (batch, length))


class Summing:
    """A session: y = total_next = total + the sum of each row of x. It counts its runs, and keeps what it was fed."""

    inputs, outputs = ("x", "total"), ("y", "total_next")
    batch_is_free = True
    provider = Provider("fake")

    def __init__(self) -> None:
        self.runs = 0
        self.seen: list[Any] = []

    def run(self, tensors: Tensors) -> dict[str, Any]:
        self.runs += 1
        self.seen.append(tensors["x"])
        total = tensors["total"] + tensors["x"].sum(axis=1, keepdims=True)
        return {"y": total, "total_next": total}

    def close(self) -> None:
        pass


TOTAL = State("total", "total_next", "float32", (BATCH, 1))
"""The state of Summing."""
