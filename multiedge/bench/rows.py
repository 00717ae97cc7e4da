"""What the benchmark records: a row for each strategy, option set and seed on each model and fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from multiedge.formats.fields import Field

MEASURES = ("throughput", "latency", "energy")
"""What plans are compared by: seconds per item of the bottleneck, seconds of one request, joules per item."""
PLANNED, REFUSED, FAILED = "planned", "refused", "failed"
"""How a row ended: with a plan; with the reason why there is none; with an error of the strategy."""


@dataclass(frozen=True)
class Figures:
    """What the cost model states of a plan. `energy_j` is None where a device declares no power, `lower_bound` and `gap` where
    nothing is proven. `memory_bytes` is the largest memory that the plan takes on a device."""

    objective: str
    value: float
    lower_bound: float | None
    bound_scope: str
    gap: float | None
    bottleneck_s: float
    latency_s: float
    energy_j: float | None
    sent_bytes: int
    memory_bytes: int
    stages: int

    @property
    def items_per_s(self) -> float:
        """The predicted throughput."""
        return 1.0 / self.bottleneck_s

    def cost(self, measure: str) -> float | None:
        """The value of one of MEASURES; less is better."""
        return {"throughput": self.bottleneck_s, "latency": self.latency_s, "energy": self.energy_j}[measure]


@dataclass(frozen=True)
class Row:
    """One strategy on one model and fleet.

    `suite` is the version of the suite that has both, otherwise ''. `seed` is None for a strategy that draws nothing at random.
    `single` is the cost of the best single device by measure; None where none holds the model. `planning_s` is wall time.
    `free_batch` names the inputs whose batch the model leaves open: all figures are those of a batch of 1.
    """

    suite: str
    model: str
    model_digest: str
    fleet: str
    fleet_digest: str
    strategy: str
    options: Mapping[str, Any]
    seed: int | None
    status: str
    planning_s: float
    versions: str
    reason: str = ""
    figures: Figures | None = None
    single: Mapping[str, float | None] = field(default_factory=dict)
    free_batch: tuple[str, ...] = ()

    @property
    def instance(self) -> tuple[str, str]:
        """The model and the fleet."""
        return self.model, self.fleet

    @property
    def key(self) -> tuple[str, ...]:
        """What tells the row from others: everything that its figures depend on, versions aside."""
        return (self.model, self.model_digest, self.fleet, self.fleet_digest, self.strategy, str(self.seed))

    def cost(self, measure: str) -> float | None:
        """The value of one of MEASURES; None without a plan."""
        return self.figures.cost(measure) if self.figures else None


def row_to_json(row: Row) -> dict[str, Any]:
    return asdict(row)


def read_row(data: Field) -> Row:
    """The row in JSON data."""
    return Row(
        suite=data["suite"].text(),
        model=data["model"].text(),
        model_digest=data["model_digest"].text(),
        fleet=data["fleet"].text(),
        fleet_digest=data["fleet_digest"].text(),
        strategy=data["strategy"].text(),
        options=data["options"].mapping_of(Field.data),
        seed=data["seed"].optional(Field.integer),
        status=data["status"].choice((PLANNED, REFUSED, FAILED)),
        planning_s=data["planning_s"].number(least=0.0),
        versions=data["versions"].text(),
        reason=data["reason"].text(),
        figures=data["figures"].optional(_figures),
        single=data["single"].mapping_of(lambda value: value.optional(Field.number)),
        free_batch=data["free_batch"].optional(lambda names: names.list_of(Field.text), ()),
    )


def _figures(data: Field) -> Figures:
    return Figures(
        objective=data["objective"].choice(MEASURES),
        value=data["value"].number(),
        lower_bound=data["lower_bound"].optional(Field.number),
        bound_scope=data["bound_scope"].text(),
        gap=data["gap"].optional(Field.number),
        bottleneck_s=data["bottleneck_s"].number(),
        latency_s=data["latency_s"].number(),
        energy_j=data["energy_j"].optional(Field.number),
        sent_bytes=data["sent_bytes"].count(),
        memory_bytes=data["memory_bytes"].count(),
        stages=data["stages"].count(),
    )
