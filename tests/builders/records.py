"""Records of benchmarks, as short as a test needs them."""

from collections.abc import Mapping, Sequence

from benchmarks.record import Measure, Origin, Record, Row

ORIGIN = Origin(
    date="2026-11-21",
    commit="0123456789ab",
    machine={"processor": "Example CPU", "cores": 2, "memory_gib": 24},
    versions={"python": "3.11.7", "onnx": "1.23.2", "protobuf": "6.33.6"},
)


def record(rows: Sequence[Row], measures: Mapping[str, Measure], benchmark: str = "example") -> Record:
    """The record of these rows, made in 12 s."""
    return Record(benchmark, {"rounds": 3}, 12.0, ORIGIN, measures, rows)
