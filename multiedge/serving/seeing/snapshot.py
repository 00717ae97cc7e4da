"""What the live page shows: one entry for each thing on it, by a key that stays the same while it is there.

Numbers that change all the time are rounded to what a person can see, so that few entries change between two snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from multiedge.fleet import CALLER_NAME
from multiedge.network.records import Deployment, HeldStage, LinkState, PlanRow
from multiedge.network.runs import RunFault
from multiedge.serving.seeing.entries import (
    DeploymentEntry,
    FaultEntry,
    LinkEntry,
    NodeEntry,
    RowEntry,
    RunEntry,
    RunPhase,
    RunStageEntry,
    Snapshot,
    StageEntry,
)
from multiedge.serving.seeing.watch import SeenNode, SeenRun, Watch, rounded

Rows = Mapping[str, tuple[Deployment, PlanRow]]
"""The row of each plan, by digest."""
MOST_LINKS, MOST_FAULTS = 60, 40
MEMORY_STEP_BYTES = 16 << 20
"""Free memory is shown in such steps."""


def snapshot(watch: Watch, deployments: Sequence[Deployment], now_s: float) -> Snapshot:
    """What the page shows.

    Args:
        watch: Nodes and runs.
        deployments: With their phases and places.
        now_s: On the clock of the watch.
    """
    running = [run for run in watch.runs.values() if run.is_running(now_s)]
    rows = {row.plan: (each, row) for each in reversed(deployments) for row in reversed(each.rows)}
    return Snapshot(
        {name: _node(seen, _busy(name, running), rows) for name, seen in sorted(watch.nodes.items())},
        {f"{each.source} {each.target}": each for each in _links(watch.nodes, running, deployments)},
        {each.name: _deployment(each, running) for each in deployments},
        {name: _run(run, rows.get(run.report.plan), now_s) for name, run in watch.runs.items()},
        {key: sample for run in watch.runs.values() for key, sample in run.samples.items()},
        {_fault_key(each): each for each in _faults(watch)},
    )


def changes(before: Snapshot, after: Snapshot) -> dict[str, dict[str, Any]]:
    """JSON data of what is other than before, by section and key; None for what is not there any more."""
    found: dict[str, dict[str, Any]] = {}
    for each in fields(Snapshot):
        old, new = getattr(before, each.name), getattr(after, each.name)
        changed = {key: asdict(entry) for key, entry in new.items() if old.get(key) is not entry and old.get(key) != entry}
        changed |= {key: None for key in old if key not in new}
        if changed:
            found[each.name] = changed
    return found


def as_data(whole: Snapshot) -> dict[str, dict[str, Any]]:
    """JSON data of all sections."""
    return {each.name: {key: asdict(entry) for key, entry in getattr(whole, each.name).items()} for each in fields(Snapshot)}


def _busy(name: str, running: Iterable[SeenRun]) -> float | None:
    shares = [run.busy[name] for run in running if name in run.busy]
    return round(min(1.0, sum(shares)), 2) if shares else None


def _node(seen: SeenNode, busy: float | None, rows: Rows) -> NodeEntry:
    state, is_lost = seen.state, seen.status == "lost"
    return NodeEntry(
        name=state.name,
        address=state.address,
        status=seen.status,
        lost_unix_s=seen.lost_unix_s,
        load=None if state.load is None or is_lost else round(state.load, 2),
        busy=None if is_lost else busy,
        memory_bytes=state.memory_bytes,
        free_bytes=None if state.free_bytes is None or is_lost else _in_steps(state.free_bytes),
        threads=state.threads,
        battery=None if state.battery is None or is_lost else round(state.battery, 2),
        flops_per_s=state.flops_per_s,
        stages=tuple(_stage(each, rows) for each in state.stages),
    )


def _in_steps(free_bytes: int) -> int:
    return round(free_bytes / MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES


def _stage(held: HeldStage, rows: Rows) -> StageEntry:
    row = rows[held.plan][1].name if held.plan in rows else ""
    return StageEntry(held.deployment, row, held.stage, held.phase, held.reason)


def _links(nodes: Mapping[str, SeenNode], running: Sequence[SeenRun], deployments: Iterable[Deployment]) -> list[LinkEntry]:
    """The links that carry something, then those between consecutive stages of deployments, then others that were measured."""
    used: dict[tuple[str, str], float] = {}
    for run in running:
        for pair, rate in run.bytes_per_s.items():
            if rate > 0:
                used[pair] = used.get(pair, 0.0) + rate
    measured = {(name, link.peer): link for name, seen in nodes.items() if seen.status != "lost" for link in seen.state.links}
    planned = [pair for each in deployments for pair in _neighbours(each)]
    busiest = sorted(used, key=lambda pair: -used[pair])
    pairs = [pair for pair in dict.fromkeys([*busiest, *planned, *sorted(measured)]) if pair[0] != pair[1]]
    return [_link(pair, used.get(pair), measured.get(pair)) for pair in pairs[:MOST_LINKS]]


def _neighbours(deployment: Deployment) -> list[tuple[str, str]]:
    """Pairs of nodes of which one has a stage of a plan and the other the next."""
    pairs = []
    for row in deployment.rows:
        of = {place.held.stage: place.node for place in reversed(deployment.places_of(row))}
        pairs += [(of[stage], of[stage + 1]) for stage in sorted(of) if stage + 1 in of]
    return pairs


def _link(pair: tuple[str, str], rate: float | None, measured: LinkState | None) -> LinkEntry:
    bandwidth = measured.bytes_per_s if measured else None
    share = None if rate is None or not bandwidth else round(rate / bandwidth, 3)
    return LinkEntry(*pair, rounded(rate), rounded(bandwidth), rounded(measured.rtt_s if measured else None), share)


def _deployment(each: Deployment, running: Sequence[SeenRun]) -> DeploymentEntry:
    return DeploymentEntry(each.name, each.model, each.phase, each.reason, tuple(_row(row, running) for row in each.rows))


def _row(row: PlanRow, running: Iterable[SeenRun]) -> RowEntry:
    expected = row.expected
    return RowEntry(
        name=row.name,
        kind=row.kind,
        phase=row.phase,
        reason=row.reason,
        nodes=row.nodes,
        latency_s=rounded(expected.latency_s),
        items_per_s=rounded(expected.items_per_s),
        energy_j=rounded(expected.energy_j),
        accuracy=expected.accuracy,
        running_items_per_s=_sum(run.last.items_per_s for run in running if run.report.plan == row.plan and run.last),
    )


def _run(run: SeenRun, of: tuple[Deployment, PlanRow] | None, now_s: float) -> RunEntry:
    report = run.report
    phase: RunPhase = "ended" if report.has_ended else "running" if run.is_running(now_s) else "silent"
    last = run.last if phase == "running" else None
    return RunEntry(
        run=report.run,
        caller=report.caller,
        model=report.model,
        deployment=of[0].name if of else "",
        row=of[1].name if of else "",
        phase=phase,
        answered=report.answered,
        failed=report.failed,
        unanswered=report.unanswered,
        items_per_s=rounded(last.items_per_s) if last else None,
        expected_items_per_s=rounded(of[1].expected.items_per_s) if of else None,
        p50_s=last.p50_s if last else None,
        p99_s=last.p99_s if last else None,
        input_bytes_per_s=_sum(rate for (source, _), rate in run.bytes_per_s.items() if source == CALLER_NAME),
        output_bytes_per_s=_sum(rate for (_, target), rate in run.bytes_per_s.items() if target == CALLER_NAME),
        stages=_run_stages(run),
    )


def _run_stages(run: SeenRun) -> tuple[RunStageEntry, ...]:
    stages = run.report.stages
    following = [each.devices for each in stages[1:]]
    entries = []
    for each, others in zip(stages, [*following, ()], strict=True):
        shares = [run.busy[name] for name in each.devices if name in run.busy]
        rate = _sum(run.bytes_per_s[a, b] for a in each.devices for b in others if (a, b) in run.bytes_per_s)
        entries.append(RunStageEntry(each.stage, each.devices, round(max(shares), 2) if shares else None, rate))
    return tuple(entries)


def _sum(rates: Iterable[float]) -> float | None:
    known = tuple(rates)
    return rounded(sum(known)) if known else None


def _faults(watch: Watch) -> list[FaultEntry]:
    """The latest faults, the latest first: those that runs reported, and nodes that the hub lost."""
    entries = [_fault(each, "", "") for each in watch.events]
    entries += [_fault(each, name, run.report.model) for name, run in watch.runs.items() for each in run.report.faults]
    return sorted(entries, key=lambda each: -each.unix_s)[:MOST_FAULTS]


def _fault(fault: RunFault, run: str, model: str) -> FaultEntry:
    after_s = None if fault.recovered_after_s is None else round(fault.recovered_after_s, 3)
    return FaultEntry(round(fault.at_s, 3), fault.kind, fault.device, run, model, after_s, fault.detail)


def _fault_key(fault: FaultEntry) -> str:
    return f"{fault.unix_s:.3f} {fault.kind} {fault.device} {fault.run}"
