from multiedge.network.encoding import decode, decode_all, encode
from multiedge.network.records import (
    ByteRange,
    Deployment,
    Expected,
    HeldStage,
    LinkState,
    NodeState,
    NodeWork,
    PlanFile,
    PlanPart,
    PlanRecord,
    PlanRow,
)

STATE = NodeState(
    "phone", "10.0.0.2:8471", memory_bytes=1 << 30, stages=(HeldStage("vit", 0),), links=(LinkState("pc", 1e6, 0.01),)
)


def test_a_record_is_the_same_after_a_journey_as_json() -> None:
    assert decode(NodeState, encode(STATE), "node") == STATE
    assert decode_all(NodeState, encode([STATE, STATE]), "hub") == (STATE, STATE)


def test_a_field_with_a_default_may_be_missing_and_an_unknown_one_is_left_out() -> None:
    assert decode(NodeState, '{"name": "pc", "address": "a:1", "later": 2}', "node") == NodeState("pc", "a:1")


def test_what_is_not_known_stays_unknown() -> None:
    assert decode(NodeState, encode(NodeState("pc", "a:1")), "node").flops_per_s is None


def _plan(*names: str) -> PlanRecord:
    file = PlanFile("weights_1.linked", 100, "a" * 64, (ByteRange(0, 10, "b" * 64), ByteRange(50, 20, "c" * 64)))
    return PlanRecord("{}", tuple(PlanPart(number, (name,), (file,)) for number, name in enumerate(names)))


def test_a_plan_has_the_digest_of_its_content() -> None:
    assert _plan("a", "b").digest == _plan("a", "b").digest
    assert _plan("a", "b").digest != _plan("b", "a").digest
    assert decode(PlanRecord, encode(_plan("a")), "hub").digest == _plan("a").digest


def test_a_plan_lists_nodes_once_and_the_stages_of_each() -> None:
    plan = _plan("a", "b", "a")
    assert plan.nodes == ("a", "b")
    assert plan.stages_of("a") == (0, 2)
    assert plan.stages_of("c") == ()


def test_a_node_needs_the_ranges_of_a_file_or_all_of_it() -> None:
    assert _plan("a").parts[0].files[0].needed_bytes == 30
    assert PlanFile("sub_model_1.onnx", 7, "d" * 64).needed_bytes == 7


def test_a_deployment_with_rows_is_the_same_after_a_journey_and_one_of_before_has_none() -> None:
    expected = Expected(10.0, 0.1, energy_j=2.0, work=(NodeWork("a", 0.05, 100.0, 1.5), NodeWork("b", 0.0, 7.0)))
    deployment = Deployment(
        "vit", "p1", "vit.onnx", expected, rows=(PlanRow("local", "local", "p1", expected, ("a",), ("a",)),)
    )
    assert decode(Deployment, encode(deployment), "hub") == deployment
    before = '{"name": "vit", "plan": "p1", "expected": {"items_per_s": 5.0, "latency_s": null, "memory": []}}'
    assert decode(Deployment, before, "hub") == Deployment("vit", "p1", expected=Expected(5.0))


def test_work_that_is_not_known_is_not_none_at_all() -> None:
    assert Expected().work_of("a") is None
    assert Expected(work=(NodeWork("a", 1.0),)).work_of("a") == NodeWork("a", 1.0)
    assert Expected(work=(NodeWork("a", 1.0),)).work_of("b") == NodeWork("b", 0.0, 0.0, 0.0)
