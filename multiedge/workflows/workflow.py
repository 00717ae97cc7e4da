"""A workflow as frozen values: steps, the edges between them, and what becomes the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multiedge.composed import Condition
from multiedge.graph import Tensor

FIRST_OF_OUTPUT = "value"
"""Name of the only output of a FirstOf step."""


@dataclass(frozen=True)
class Source:
    """A tensor that an edge begins at: an output of a step, or an input of the workflow, whose `step` is ''."""

    tensor: str
    step: str = ""

    def __str__(self) -> str:
        return f"{self.step}.{self.tensor}" if self.step else self.tensor


@dataclass(frozen=True)
class Cast:
    """An adapter that changes the type; `dtype` is numpy's name."""

    dtype: str


@dataclass(frozen=True)
class Transpose:
    """An adapter that changes the order of the axes."""

    axes: tuple[int, ...]


@dataclass(frozen=True)
class Reshape:
    """An adapter that changes the shape; one size may be -1, which is then what remains, and 0 keeps the size of its axis."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Resize:
    """An adapter that changes the last two axes of a float tensor of four, images as (n, channels, height, width), by linear
    interpolation between the centres of pixels."""

    height: int
    width: int


@dataclass(frozen=True)
class Normalise:
    """An adapter that gives (values - mean) / std; both have one number, or one for each channel, which is axis 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


Adapter = Cast | Transpose | Reshape | Resize | Normalise


@dataclass(frozen=True)
class Edge:
    """What one input of a step reads: a tensor, and what changes it on the way, in that order."""

    source: Source
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True)
class When:
    """A step goes on only if the condition holds of a tensor.

    Attributes:
        source: The tensor.
        condition: What must hold of it.
        rate: The share of the items that reach the condition for which it holds; None if that is not known.
    """

    source: Source
    condition: Condition
    rate: float | None = None


@dataclass(frozen=True)
class Model:
    """A step that runs an ONNX file. `plan` is the folder of the plan that named it, if one did."""

    path: Path
    plan: Path | None = None


@dataclass(frozen=True)
class Function:
    """A step that calls a function of Python.

    Attributes:
        name: 'package.module:function', or the name of the function in `file`.
        results: What it returns: dtype and shape, by name; a dimension that is a text is one of the workflow's `sizes`.
        options: Further arguments.
        file: The file that has the function; None for a module that is installed.
    """

    name: str
    results: Mapping[str, Tensor]
    options: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None


@dataclass(frozen=True)
class Deployment:
    """A step that asks a server of the Open Inference Protocol; `results` are the outputs that it is asked for."""

    url: str
    model: str
    results: Mapping[str, Tensor]


@dataclass(frozen=True)
class FirstOf:
    """A step that gives the first of its candidates that was computed."""

    candidates: tuple[Source, ...]


Work = Model | Function | Deployment | FirstOf


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: Unique among the steps and inputs of the workflow.
        work: What it does.
        inputs: What each of its inputs reads, by name; empty for FirstOf.
        when: The condition under which it goes on; None for none.
        batch: Items that it may compute together.
        timeout_s: How long it waits for a batch to be full.
        line: The line of the file that declares it; 0 for none.
    """

    name: str
    work: Work
    inputs: Mapping[str, Edge] = field(default_factory=dict)
    when: When | None = None
    batch: int = 1
    timeout_s: float = 0.0
    line: int = 0

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every tensor that it reads, without repeats."""
        edges = [edge.source for edge in self.inputs.values()]
        candidates = self.work.candidates if isinstance(self.work, FirstOf) else ()
        return tuple(dict.fromkeys((*([self.when.source] if self.when else []), *edges, *candidates)))


@dataclass(frozen=True)
class Workflow:
    """Several models and functions as one.

    Attributes:
        name: Its name.
        inputs: What the caller gives, by name.
        steps: In an order in which each reads only what earlier ones make.
        outputs: What the caller gets, by name.
        sizes: The mean of each dimension whose size depends on the item, by its name.
        path: The file that declares it.
    """

    name: str
    inputs: Mapping[str, Tensor]
    steps: tuple[Step, ...]
    outputs: Mapping[str, Source]
    sizes: Mapping[str, float] = field(default_factory=dict)
    path: Path | None = None

    def step(self, name: str) -> Step:
        """The step of that name, which must be there."""
        return next(step for step in self.steps if step.name == name)
