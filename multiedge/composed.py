"""What a file that was composed of a workflow has beyond ONNX: operators of its own, and what its segments need.

A *segment* is the nodes of one model of the workflow, a chain of adapters, or one node of this domain. The name of a node
begins with that of its segment. A node whose condition does not hold makes *void* outputs; whatever reads a void tensor
computes nothing and makes void ones, except FirstOf.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.errors import StageError

DOMAIN = "multiedge.workflow"
"""The domain of the operators, and the key of the file's metadata that has its Composition."""
VERSION = 1

TRANSFORM = "Transform"
"""Inputs -> outputs by a function of Python, see `Call`."""
WHEN = "When"
"""Condition tensor, values... -> the values if the Condition holds of the first input; otherwise void."""
FIRST_OF = "FirstOf"
"""Candidates... -> the first one that is not void."""

SEPARATOR = "/"
"""Between the name of a segment and that of a node or tensor in it."""
GATE_SUFFIX = ".when"
"""Ends the name of the segment with the condition of a step."""
ADAPTERS_SUFFIX = ".adapters"
"""Ends the name of the segment with the adapters of a step's inputs."""
OUTPUT_SUFFIX = ".output"
"""Ends the name of the segment that gives a tensor the name of an output."""


class Measure(str, Enum):
    """What of a tensor is compared with the threshold: its greatest or least value, its only value, or its rows."""

    MAX = "max"
    MIN = "min"
    VALUE = "value"
    COUNT = "count"


class Relation(str, Enum):
    """How the measure is compared with the threshold."""

    BELOW = "below"
    AT_LEAST = "at_least"
    EQUALS = "equals"


@dataclass(frozen=True)
class Condition:
    """When a conditional step goes on, as the attributes of a When node say it."""

    measure: Measure
    relation: Relation
    threshold: float

    def __str__(self) -> str:
        return f"{self.measure.value} {self.relation.value.replace('_', ' ')} {self.threshold:g}"

    def holds(self, values: npt.NDArray[Any]) -> bool:
        """Whether it holds of a tensor; the greatest and the least of no values are no number, of which nothing holds.

        Raises:
            StageError: If the measure is 'value' and the tensor does not have exactly one.
        """
        measured = self._measured(values)
        if self.relation is Relation.EQUALS:
            return measured == self.threshold
        return measured < self.threshold if self.relation is Relation.BELOW else measured >= self.threshold

    def _measured(self, values: npt.NDArray[Any]) -> float:
        if self.measure is Measure.COUNT:
            return float(len(values)) if values.ndim else 1.0
        if self.measure is Measure.VALUE and values.size != 1:
            raise StageError(f"condition '{self}': expected a tensor of one value, got shape {list(values.shape)}")
        if not values.size:
            return math.nan
        return float(values.min() if self.measure is Measure.MIN else values.max())

    def attributes(self) -> dict[str, str]:
        """The attributes of its node. The threshold is a text: ONNX's floats have 32 bits."""
        return {"measure": self.measure.value, "relation": self.relation.value, "threshold": repr(float(self.threshold))}

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Condition:
        """The condition that a node's attributes say."""
        threshold = float(attributes["threshold"])
        return cls(Measure(attributes["measure"]), Relation(attributes["relation"]), threshold)


@dataclass(frozen=True)
class Call:
    """The function of a Transform, which is called with one array for each keyword and with the options.

    Attributes:
        function: 'package.module:function'; with a `source` the name of the function alone.
        keywords: The names of the arguments, in the order of the node's inputs.
        results: The keys of the mapping that it returns, in the order of the node's outputs.
        options: Further arguments, in the types of JSON.
        source: The text of the file that has the function; '' for a module that is installed.
    """

    function: str
    keywords: tuple[str, ...]
    results: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class Segment:
    """What is needed to open and to run one segment.

    Attributes:
        opsets: Version by operator domain, 'ai.onnx' for ONNX's own; empty for a node of this domain.
        rate: The share of items for which it computes.
        batch: Items that it may compute together.
        timeout_s: How long it waits for a batch to be full, in seconds.
    """

    opsets: Mapping[str, int] = field(default_factory=dict)
    rate: float = 1.0
    batch: int = 1
    timeout_s: float = 0.0


@dataclass(frozen=True)
class Composition:
    """Of what a file is composed.

    Attributes:
        segments: By name, in the order of the nodes.
        sizes: The mean of each dimension whose size depends on the item, by its name.
        assumed: Steps with a condition whose rate was neither given nor measured; it is taken as 1.
        presence: Of a part, the nodes WHEN and FIRST_OF that decide whether an input is there, by the name of the input.
    """

    segments: Mapping[str, Segment]
    sizes: Mapping[str, float] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    presence: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def typical_sizes(self) -> dict[str, int]:
        """The whole number at or above the mean of each of `sizes`, at which shapes and memory are counted."""
        return {name: math.ceil(size) for name, size in self.sizes.items()}


def segment_of(node: str) -> str:
    """The name of the segment that a node belongs to.

    >>> segment_of("large/conv/1"), segment_of("large.when/When")
    ('large', 'large.when')
    """
    return node.partition(SEPARATOR)[0]


def step_of(segment: str) -> str:
    """The name of the step that a segment belongs to; one that only gives a tensor the name of an output belongs to none, and
    has its own name, which no step has.

    >>> step_of("large.when"), step_of("large"), step_of("answer.output")
    ('large', 'large', 'answer.output')
    """
    return segment if segment.endswith(OUTPUT_SUFFIX) else segment.partition(".")[0]


def is_void(values: npt.NDArray[Any]) -> bool:
    """Whether an array stands for the output of something that was not computed."""
    return values.dtype == VOID.dtype


VOID: npt.NDArray[np.void] = np.empty((0,), dtype="V1")
"""Stands for a tensor that was not computed: no values of a type that no tensor has."""
VOID.flags.writeable = False
