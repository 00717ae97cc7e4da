"""Every target by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.chaos import driver
from tests.chaos.actors import Ray
from tests.chaos.nodes import Nodes
from tests.chaos.processes import BY_KERNEL, Processes, Replanned
from tests.chaos.report import Report
from tests.chaos.schedule import Kind, Schedule
from tests.chaos.servers import Remote
from tests.chaos.target import Target

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Processes("shared-memory", transport="shared-memory"),
        Processes("pipe", transport="pipe"),
        Processes("tcp", transport="tcp"),
        Processes("namespaces", emulation=BY_KERNEL),
        Replanned("replanned"),
        Remote(),
        Ray(),
        Nodes(),
    )
}
LIFE_S = 30.0
"""The longest time of one pipeline; a changed part ends its work."""


def lives(target: Target, kinds: frozenset[Kind], seed: int, seconds: float, gap_s: float) -> Iterator[tuple[Schedule, Report]]:
    """Pipelines one after another, each with a schedule of its own, for so many seconds in all."""
    count = max(1, round(seconds / LIFE_S))
    for number in range(count):
        schedule = Schedule.draw(seed * 1000 + number, seconds / count, kinds, gap_s)
        yield schedule, driver.run(target, schedule)
