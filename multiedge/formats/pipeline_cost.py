"""The executor's own cost as JSON data, in profiles, plans and the cache of calibrations."""

from __future__ import annotations

from dataclasses import asdict

from multiedge.formats.fields import Field
from multiedge.pipeline_cost import PipelineCost


def pipeline_cost_to_json(cost: PipelineCost | None) -> dict[str, float] | None:
    """The cost as JSON data; None if it is not known."""
    return asdict(cost) if cost else None


def read_pipeline_cost(data: Field) -> PipelineCost:
    """The cost that `pipeline_cost_to_json` described; the document's error if the data is not one."""
    return PipelineCost(
        caller_s=data["caller_s"].number(least=0),
        caller_byte_s=data["caller_byte_s"].number(least=0),
        worker_s=data["worker_s"].number(least=0),
        worker_byte_s=data["worker_byte_s"].number(least=0),
        hop_s=data["hop_s"].number(least=0),
        switching=data["switching"].number(least=1),
        beside=data["beside"].optional(_at_least_one, 1.0),
        in_turns=data["in_turns"].optional(_at_least_one, 1.0),
        rested_hop_s=data["rested_hop_s"].optional(_seconds),
        rested_turn_s=data["rested_turn_s"].optional(_seconds),
    )


def _at_least_one(data: Field) -> float:
    return data.number(least=1)


def _seconds(data: Field) -> float:
    return data.number(least=0)
