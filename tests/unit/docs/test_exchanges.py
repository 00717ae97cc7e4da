"""What the steps of a sequence diagram are made of."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from docs.diagrams import draw, read, sides
from docs.exchanges import Step, deployment_steps, inference_steps
from multiedge.formats.records import encode_line
from multiedge.measurements import Event
from multiedge.network.encoding import encode
from multiedge.network.records import Assignment, Deployment, GetState, HeartbeatReply, HeldStage, NodeState
from multiedge.serving.hub.exchange import Exchange

HOLD = HeartbeatReply((Assignment("d", "p", (0,)),))


def _exchange(who: str, at_s: float, method: str, path: str, **other: object) -> Exchange:
    given = {"status": 200, "received_bytes": 10, "sent_bytes": 20, **other}
    return Exchange(who, method, path, start_s=at_s, stop_s=at_s + 0.001, **given)


def _heartbeat(at_s: float, reply: HeartbeatReply, *phases: str, who: str = "node:a") -> Exchange:
    stages = tuple(HeldStage("d", n, "p", phase) for n, phase in enumerate(phases))
    return _exchange(
        who, at_s, "POST", "/v1/heartbeat", received=encode(NodeState("a", "x:1", stages=stages)), sent=encode(reply)
    )


def _texts(steps: tuple[Step, ...]) -> list[str]:
    return [f"{step.source} > {step.target}: {step.text}" for step in steps]


def test_files_that_the_hub_has_are_asked_for_and_the_others_sent_in_one_step() -> None:
    exchanges = [
        _exchange("client:anna", 1.0, "HEAD", "/v1/blobs/1", status=404),
        _exchange("client:anna", 1.1, "PUT", "/v1/blobs/1", received_bytes=1 << 20),
        _exchange("client:anna", 1.2, "HEAD", "/v1/blobs/1"),
        _exchange("client:anna", 1.3, "HEAD", "/v1/blobs/2"),
    ]
    assert _texts(deployment_steps(exchanges)) == [
        "caller > hub: are these 2 files there?",
        "hub > caller: 1 are not",
        "caller > hub: 1 files, 1.0 MiB",
    ]


def test_a_state_that_says_nothing_new_is_left_out() -> None:
    exchanges = [
        _heartbeat(1.0, HeartbeatReply()),
        _heartbeat(1.5, HOLD),
        _heartbeat(2.0, HOLD, "loading"),
        _heartbeat(2.5, HOLD, "loading"),
        _heartbeat(3.0, HOLD, "ready"),
    ]
    assert _texts(deployment_steps(exchanges))[::2] == [
        "a > hub: state: holds nothing",
        "a > hub: state: holds nothing",
        "a > hub: state: stage 1 loading",
        "a > hub: state: stage 1 ready",
    ]
    assert _texts(deployment_steps(exchanges))[3] == "hub > a: hold stage 1"


def test_by_pull_the_hub_asks() -> None:
    state = encode(NodeState("a", "x:1"))
    asked = _exchange("node:a", 1.0, "GetState", "", received=state, sent=encode_line(GetState(HOLD.assignments)))
    assert _texts(deployment_steps([asked])) == ["hub > a: your state? hold stage 1", "a > hub: state: holds nothing"]


def test_what_nodes_fetch_at_the_same_time_is_one_step_for_each() -> None:
    exchanges = [_exchange(f"node:{'ab'[n % 2]}", 1.0 + n, "GET", f"/v1/blobs/{n}", sent_bytes=1 << 10) for n in range(6)]
    steps = deployment_steps(exchanges)
    assert sorted(_texts(steps)) == [
        "a > hub: 3 × bytes of a file",
        "b > hub: 3 × bytes of a file",
        "hub > a: 3.0 KiB",
        "hub > b: 3.0 KiB",
    ]
    assert [step.at_s for step in steps] == sorted(step.at_s for step in steps)


def test_the_phases_of_a_deployment_are_asked_for_until_it_is_ready() -> None:
    phases = ("distributing", "distributing", "ready")
    exchanges = [
        _exchange("client:anna", float(n), "GET", "/v1/deployments/d", sent=encode(replace(Deployment("d", "p"), phase=phase)))
        for n, phase in enumerate(phases)
    ]
    assert _texts(deployment_steps(exchanges)) == [
        "caller > hub: how far is it?",
        "hub > caller: distributing",
        "caller > hub: how far is it?",
        "hub > caller: ready",
    ]


def test_an_item_goes_from_side_to_side() -> None:
    events = [Event("compute", 0, 0, "a", 1.01, 1.03), Event("transfer", 0, -1, "caller", 1.0, 1.01, 2048, "a")]
    assert _texts(inference_steps(events)) == ["caller > a: 2.0 KiB in 10.0 ms", "a > a: stage 1: 20.0 ms"]


def test_a_diagram_has_all_sides_and_all_steps() -> None:
    recorded = read()
    for steps in (recorded.push, recorded.pull, recorded.inference):
        drawn = ElementTree.fromstring(draw(steps, "what it shows"))
        texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
        assert texts[: len(sides(steps))] == sides(steps)
        assert {step.text for step in steps} <= set(texts)
        assert drawn.get("aria-label") == "what it shows"
