import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from multiedge.errors import ConfigError, MultiedgeError, NetworkError
from multiedge.network.records import (
    Deployment,
    HeldStage,
    ModelRecord,
    NodeState,
    PlanFile,
    PlanPart,
    PlanRecord,
    PlanRow,
    ResultRecord,
)
from multiedge.serving.hub.hub import KEEP_FILE_S, KEEP_PLAN_S, Hub
from multiedge.serving.hub.joining import JoinRequest


class _Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def hub(tmp_path: Path, clock: _Clock) -> Iterator[Hub]:
    hub = Hub(tmp_path, 1 << 20, clock=clock)
    yield hub
    hub.close()


def _add(hub: Hub, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    hub.pool.open_upload(digest, 0, len(content)).write_bytes(content)
    hub.pool.finish(digest)
    return digest


def _plan(digest: str, node: str = "pc") -> PlanRecord:
    return PlanRecord("{}", (PlanPart(0, (node,), (PlanFile("sub_model_1.onnx", 1, digest),)),))


def _wait(hub: Hub, clock: _Clock, seconds: int) -> None:
    """Time goes by, while the hub looks at its nodes once a second."""
    for _ in range(seconds):
        clock.now_s += 1
        hub.nodes()


def _age(hub: Hub, *digests: str) -> None:
    for digest in digests:
        then = hub.pool.path(digest).stat().st_mtime - KEEP_FILE_S - 60
        os.utime(hub.pool.path(digest), (then, then))


def test_a_node_that_listens_on_all_addresses_is_reached_where_it_came_from(hub: Hub) -> None:
    hub.hear(NodeState("pc", "[::]:5"), "10.0.0.7")
    hub.hear(NodeState("tablet", "10.0.0.9:6"), "10.0.0.8")
    assert [state.address for state in hub.nodes()] == ["10.0.0.7:5", "10.0.0.9:6"]
    assert hub.hear(NodeState("pc", "[::]:5"), "10.0.0.7").peers == {"tablet": "10.0.0.9:6"}


@pytest.mark.parametrize("state", [NodeState("pc", "nowhere"), NodeState("../pc", "a:1")])
def test_a_state_that_cannot_be_used_is_refused(hub: Hub, state: NodeState) -> None:
    with pytest.raises(Exception, match=r"^node: (name|address): expected"):
        hub.hear(state, "10.0.0.7")
    assert hub.nodes() == ()


def test_a_lost_node_is_logged_once(hub: Hub, clock: _Clock, caplog: pytest.LogCaptureFixture) -> None:
    hub.hear(NodeState("pc", "a:1"), "")
    _wait(hub, clock, 2)
    assert hub.nodes() == hub.nodes() == ()
    assert [record.message for record in caplog.records].count("node 'pc' is lost: it missed its heartbeats") == 1


def test_a_deployment_follows_the_states_of_its_nodes(hub: Hub, clock: _Clock) -> None:
    plan = _plan(_add(hub, b"part"))
    hub.put_plan(plan.digest, plan)
    assert hub.deploy(Deployment("vit", plan.digest)).phase == "pending"
    assert hub.hear(NodeState("pc", "a:1"), "").assignments[0].stages == (0,)
    assert hub.deployment("vit").phase == "distributing"
    hub.hear(NodeState("pc", "a:1", stages=(HeldStage("vit", 0, plan.digest),)), "")
    assert hub.deployment("vit").phase == "ready"
    _wait(hub, clock, 2)
    assert hub.deployment("vit").phase == "pending"


def test_the_plans_of_all_rows_are_kept_and_must_be_there(hub: Hub) -> None:
    first, second = _plan(_add(hub, b"first")), _plan(_add(hub, b"second"), "tablet")
    hub.put_plan(first.digest, first)
    rows = (PlanRow("fastest", "fastest", first.digest), PlanRow("local", "local", second.digest, phase="ready"))
    with pytest.raises(NetworkError, match="is not in the pool"):
        hub.deploy(Deployment("vit", first.digest, rows=rows))
    hub.put_plan(second.digest, second)
    deployment = hub.deploy(Deployment("vit", first.digest, rows=rows))
    assert [(row.name, row.nodes, row.phase) for row in deployment.rows] == [
        ("fastest", ("pc",), "pending"),
        ("local", ("tablet",), "pending"),
    ]
    assert [each.plan for each in hub.assignments("tablet")] == [second.digest]
    hub.store._database.execute("UPDATE plans SET created_s = created_s - ?", (KEEP_PLAN_S + 60,))
    hub.sweep()
    assert hub.plan(second.digest) == second


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (("fastest", "fastest"), "rows: expected different names, got 'fastest' twice"),
        (("fastest", "../local"), "rows: name: expected a name of up to 63 letters"),
    ],
)
def test_rows_that_cannot_be_told_apart_are_refused(hub: Hub, rows: tuple[str, ...], reason: str) -> None:
    plan = _plan(_add(hub, b"part"))
    hub.put_plan(plan.digest, plan)
    with pytest.raises(MultiedgeError, match=reason):
        hub.deploy(Deployment("vit", plan.digest, rows=tuple(PlanRow(name, "local", plan.digest) for name in rows)))


def test_the_first_row_is_the_plan_of_the_deployment(hub: Hub) -> None:
    first, second = _plan(_add(hub, b"first")), _plan(_add(hub, b"second"))
    for plan in (first, second):
        hub.put_plan(plan.digest, plan)
    with pytest.raises(NetworkError, match="rows: expected its plan in the first row"):
        hub.deploy(Deployment("vit", first.digest, rows=(PlanRow("fastest", "fastest", second.digest),)))


def test_a_plan_of_another_digest_is_refused(hub: Hub) -> None:
    with pytest.raises(NetworkError, match="its content has another digest"):
        hub.put_plan("a" * 64, PlanRecord("{}", ()))


def test_what_nothing_refers_to_is_removed_after_a_while(hub: Hub) -> None:
    deployed, planned, modelled, result, unused, recent = (_add(hub, name) for name in (b"d", b"p", b"m", b"r", b"u", b"n"))
    for digest in (deployed, planned):
        hub.put_plan(_plan(digest).digest, _plan(digest))
    hub.deploy(Deployment("vit", _plan(deployed).digest))
    hub.put_model(ModelRecord("vit", "h", {"weights": modelled}))
    hub.put_result(ResultRecord("run", result))
    _age(hub, deployed, planned, modelled, result, unused)
    hub.sweep()
    assert [hub.pool.state(each).complete for each in (deployed, planned, modelled, result, unused, recent)] == [
        *(True, True, True, True),
        *(False, True),
    ]
    hub.store._database.execute("UPDATE plans SET created_s = created_s - ?", (KEEP_PLAN_S + 60,))
    hub.remove_model("vit", "1")
    hub.sweep()
    assert [hub.pool.state(each).complete for each in (deployed, planned, modelled)] == [True, False, False]
    assert hub.plan(_plan(deployed).digest)
    with pytest.raises(NetworkError, match="is not in the pool"):
        hub.plan(_plan(planned).digest)


def test_the_files_of_a_tokenizer_must_be_there_and_are_kept_with_their_deployment(hub: Hub) -> None:
    plan = _plan(_add(hub, b"part"))
    hub.put_plan(plan.digest, plan)
    digest = hashlib.sha256(b"tokens").hexdigest()
    deployment = Deployment("text", plan.digest, text={"tokenizer.json": digest})
    with pytest.raises(NetworkError, match=r"file 'tokenizer\.json' is not in the pool"):
        hub.deploy(deployment)
    _add(hub, b"tokens")
    assert hub.deploy(deployment).text == deployment.text
    _age(hub, digest)
    hub.sweep()
    assert hub.pool.state(digest).complete
    hub.undeploy("text")
    hub.sweep()
    assert not hub.pool.state(digest).complete


def test_a_tokenizers_file_outside_its_folder_is_refused(hub: Hub) -> None:
    plan = _plan(_add(hub, b"part"))
    hub.put_plan(plan.digest, plan)
    with pytest.raises(MultiedgeError, match="deployment: text: expected a name"):
        hub.deploy(Deployment("text", plan.digest, text={"../tokenizer.json": _add(hub, b"tokens")}))


def test_a_hub_without_tls_has_nothing_to_join(hub: Hub) -> None:
    with pytest.raises(NetworkError, match="runs without TLS, so there is nothing to join"):
        hub.admit(JoinRequest("t", "node:pc", ""), "10.0.0.7")


def test_two_hubs_do_not_use_one_folder(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another hub uses this folder; end it, or choose another with --data"):
        Hub(tmp_path, 1 << 20)
    hub.close()
    Hub(tmp_path, 1 << 20).close()
