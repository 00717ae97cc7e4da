from __future__ import annotations

import json
from itertools import pairwise

from multiedge.network.records import Deployment, Expected, HeldStage, LinkState, NodeState, PlanRow, StagePlace
from multiedge.network.runs import StageDevices
from multiedge.serving.seeing.entries import Snapshot
from multiedge.serving.seeing.snapshot import MOST_LINKS, as_data, changes, snapshot
from multiedge.serving.seeing.watch import Watch, heard_run, looked
from tests.builders.reports_of_runs import fault, report

NODES = (
    NodeState("a", "10.0.0.1:8471", 8 << 30, 6 << 30, load=0.5049, links=(LinkState("b", 1e5, 0.002),)),
    NodeState("b", "10.0.0.2:8471", stages=(HeldStage("d", 1, "p" * 64, "failed", reason="no room"),)),
)
DEPLOYMENT = Deployment(
    "d",
    "p" * 64,
    "m",
    Expected(60.0, 0.02),
    "ready",
    places=(StagePlace("a", HeldStage("d", 0, "p" * 64)), StagePlace("b", HeldStage("d", 1, "p" * 64))),
    rows=(
        PlanRow("fastest", "fastest", "p" * 64, Expected(60.0, 0.02, energy_j=1.23456), ("a", "b"), phase="ready"),
        PlanRow("local", "local", "q" * 64, nodes=("a",)),
    ),
)


def _watch(*reports: object, alive: tuple[NodeState, ...] = NODES) -> Watch:
    watch = looked(Watch(), {}, NODES, 0.0, 5000.0)
    for second, each in enumerate(reports):
        watch = heard_run(watch, each, float(second), 5000.0 + second)
    return looked(watch, {}, alive, float(len(reports)), 5000.0 + len(reports))


def _running() -> Watch:
    return _watch(report(1.0, 10), report(2.0, 60, faults=(fault(at_s=4999.0),)))


def test_a_node_shows_what_it_holds_and_how_busy_pipelines_keep_it() -> None:
    node = snapshot(_running(), [DEPLOYMENT], 2.0).nodes["a"]
    assert (node.status, node.load, node.busy, node.free_bytes) == ("alive", 0.5, 0.5, 6 << 30)
    (held,) = snapshot(_running(), [DEPLOYMENT], 2.0).nodes["b"].stages
    assert (held.deployment, held.row, held.stage, held.phase, held.reason) == ("d", "fastest", 1, "failed", "no room")


def test_a_deployment_shows_what_each_plan_promises_and_which_ones_run() -> None:
    fastest, local = snapshot(_running(), [DEPLOYMENT], 2.0).deployments["d"].rows
    assert (fastest.name, fastest.nodes, fastest.energy_j, fastest.running_items_per_s) == ("fastest", ("a", "b"), 1.23, 50.0)
    assert (local.phase, local.latency_s, local.running_items_per_s) == ("pending", None, None)


def test_of_a_lost_node_nothing_is_claimed_that_is_not_known() -> None:
    node = snapshot(_watch(report(1.0, 10), report(2.0, 60), alive=NODES[1:]), [], 2.0).nodes["a"]
    assert (node.status, node.lost_unix_s) == ("lost", 5002.0)
    assert (node.load, node.busy, node.free_bytes) == (None, None, None)


def test_a_link_shows_the_share_of_its_bandwidth_that_is_used() -> None:
    links = snapshot(_running(), [DEPLOYMENT], 2.0).links
    assert list(links) == ["caller a", "a b", "b caller"]
    assert (links["a b"].bytes_per_s, links["a b"].share, links["a b"].rtt_s) == (50000.0, 0.5, 0.002)
    assert (links["caller a"].bytes_per_s, links["caller a"].share) == (50000.0, None)


def test_links_of_deployments_come_before_others_of_which_no_more_are_listed_than_can_be_read() -> None:
    states = tuple(
        NodeState(f"n{i:02}", "10.0.0.1:1", links=tuple(LinkState(f"n{j:02}", 1e6) for j in range(20) if j != i))
        for i in range(20)
    )
    places = (StagePlace("n18", HeldStage("d", 0, "p")), StagePlace("n19", HeldStage("d", 1, "p")))
    deployed = Deployment("d", "p", places=places, rows=(PlanRow("plan", "plan", "p"),))
    links = snapshot(looked(Watch(), {}, states, 0.0, 5000.0), [deployed], 0.0).links
    assert len(links) == MOST_LINKS
    assert next(iter(links)) == "n18 n19"


def test_a_run_shows_where_its_stages_are_now() -> None:
    moved = (StageDevices(0, ("a",)), StageDevices(1, ("a",)))
    run = snapshot(_watch(report(1.0, 10), report(2.0, 60, stages=moved)), [DEPLOYMENT], 2.0).runs["r1"]
    assert [stage.devices for stage in run.stages] == [("a",), ("a",)]
    assert (run.deployment, run.row, run.caller, run.phase) == ("d", "fastest", "client:anna", "running")
    assert run.items_per_s == 50.0
    assert run.expected_items_per_s == 60.0
    assert (run.input_bytes_per_s, run.output_bytes_per_s) == (50000.0, 50000.0)


def test_a_run_of_which_nothing_comes_shows_no_rate() -> None:
    run = snapshot(_running(), [], 60.0).runs["r1"]
    assert (run.phase, run.items_per_s, run.p99_s, run.answered) == ("silent", None, None, 60)


def test_faults_of_runs_and_of_nodes_stand_together_the_latest_first() -> None:
    watch = _watch(report(1.0, 10), report(2.0, 60, faults=(fault(at_s=4999.0),)), alive=NODES[:1])
    assert [(each.kind, each.device, each.run) for each in snapshot(watch, [], 2.0).faults.values()] == [
        ("lost", "b", ""),
        ("ended", "b", "r1"),
    ]


def test_changes_are_the_entries_that_differ_and_the_keys_that_are_gone() -> None:
    before, after = snapshot(_running(), [DEPLOYMENT], 2.0), snapshot(_running(), [], 2.0)
    assert changes(before, before) == {}
    assert changes(before, after)["deployments"] == {"d": None}
    assert set(changes(before, after)) == {"deployments", "runs", "nodes"}  # these name the deployment's plan


def test_a_copy_to_which_changes_are_applied_equals_the_snapshot() -> None:
    moments = [Snapshot(), snapshot(_watch(), [], 0.0), snapshot(_running(), [DEPLOYMENT], 2.0), snapshot(_watch(), [], 9.0)]
    copy = as_data(moments[0])
    for before, after in pairwise(moments):
        for section, entries in changes(before, after).items():
            merged = {**copy[section], **entries}
            copy[section] = {key: entry for key, entry in merged.items() if entry is not None}
        assert copy == as_data(after)
    assert json.loads(json.dumps(copy, allow_nan=False)) is not None
