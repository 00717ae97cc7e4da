"""What a workflow states of its items: which steps each passes, drawn by their rates, and which steps join items."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from multiedge.composed import DOMAIN, FIRST_OF, segment_of, step_of
from multiedge.graph import Graph, Node
from multiedge.plan import Plan
from multiedge.profile import Bools
from multiedge.simulation.work import ItemWork, StageBatch

ROWS = 2000
"""Items that are drawn: more than rare ones need to be there at all."""


def drawn_presence(graph: Graph, seed: int = 0, rows: int = ROWS) -> dict[str, Bools]:
    """Whether each of `rows` items passes each step.

    An item that passes all that a step reads passes its condition with the probability that makes the step's rate; a join is
    passed by items that pass any of its candidates. Conditions are independent of each other.

    Args:
        graph: A workflow as one model, whose tensors have rates.
        seed: Of the draws.
        rows: Number of items.

    Returns:
        (rows,) by name of the step.
    """
    rng = np.random.default_rng(seed)
    there: dict[str, Bools] = {}
    steps: dict[str, Bools] = {}
    for node in graph.nodes:
        name = step_of(segment_of(node.name))
        reached = _reached(node, there, rows)
        if name not in steps:
            steps[name] = reached & (rng.random(rows) < _conditional(graph, node, reached))
        for tensor in node.writes:
            there[tensor] = steps[name]
    return steps


def _reached(node: Node, there: Mapping[str, Bools], rows: int) -> Bools:
    """The items for which the node has what it needs."""
    given = [there[name] for name in node.reads if name in there]
    if not given:
        return np.ones(rows, dtype=np.bool_)
    is_join = (node.domain, node.op_type) == (DOMAIN, FIRST_OF)
    return np.asarray(np.any(given, axis=0) if is_join else np.all(given, axis=0))


def _conditional(graph: Graph, node: Node, reached: Bools) -> float:
    """The probability that an item passes the node that reaches it."""
    rate = max((graph.tensors[name].rate for name in node.writes if name in graph.tensors), default=1.0)
    return min(1.0, rate / max(float(reached.mean()), 1e-9))


def drawn_work(graph: Graph, seed: int = 0) -> ItemWork | None:
    """The work of items that pass the steps as their rates say; None where all items pass all steps."""
    if not graph.has_rates:
        return None
    return ItemWork.of_steps(
        graph, {name: present.astype(np.float64) for name, present in drawn_presence(graph, seed).items()}, seed
    )


def stage_batches(plan: Plan, graph: Graph) -> dict[int, StageBatch]:
    """How each stage joins items, by its number: as many, and for as long, as one of its steps does; stages that join none are
    missing."""
    segments = graph.composition.segments if graph.composition else {}
    batches = {}
    for number, stage in enumerate(plan.stages):
        own = [segments[name] for name in {segment_of(graph.nodes[node].name) for node in stage.nodes} if name in segments]
        most = max((segment.batch for segment in own), default=1)
        if most > 1:
            batches[number] = StageBatch(most, max(segment.timeout_s for segment in own))
    return batches
