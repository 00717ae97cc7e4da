"""Steps of a sequence diagram, made of what a hub exchanged with nodes and callers, and of the events of an item.

Requests of one kind in a row are one step, and states that say nothing new are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from multiedge.measurements import Event
from multiedge.network.encoding import decode
from multiedge.network.records import Assignment, Deployment, GetState, HeartbeatReply, HeldStage, NodeState
from multiedge.quantity import human_bytes
from multiedge.serving.hub.exchange import Exchange

CALLER, HUB = "caller", "hub"
PLACE = "recorded exchange"
UPLOAD = "upload"


@dataclass(frozen=True)
class Step:
    """What one side sent to another, or did if it is both; `at_s` counts from the first step."""

    source: str
    target: str
    at_s: float
    text: str
    is_reply: bool = False


@dataclass(frozen=True)
class _Said:
    """An exchange in words: `kind` is the same for those that can be one step."""

    exchange: Exchange
    kind: str
    asked: str
    answered: str = ""


def deployment_steps(exchanges: Iterable[Exchange]) -> tuple[Step, ...]:
    """The steps of a deployment.

    Args:
        exchanges: All of the hub, in any order.
    """
    ordered = sorted(exchanges, key=lambda each: each.start_s)
    told: dict[str, tuple[object, ...]] = {}
    said = [each for exchange in ordered if (each := _said(exchange, told)) is not None]
    zero_s = said[0].exchange.start_s
    steps: list[Step] = []
    # What others do meanwhile does not make two steps of one.
    for _, together in groupby(
        sorted(said, key=lambda each: each.exchange.who), key=lambda each: (each.exchange.who, each.kind)
    ):
        group = list(together)
        steps += _upload(group, zero_s) if group[0].kind == UPLOAD else _steps(group, zero_s)
    return tuple(sorted(steps, key=lambda each: each.at_s))


def _said(exchange: Exchange, told: dict[str, tuple[object, ...]]) -> _Said | None:
    """The exchange in words; None if it says nothing new. `told` has what was said last, by who said it."""
    if exchange.path == "/v1/heartbeat" or exchange.method == "GetState":
        return _of_state(exchange, told)
    if exchange.path.startswith("/v1/blobs/"):
        kind = "bytes" if exchange.method == "GET" else UPLOAD
        return _Said(exchange, kind, "bytes of a file")
    if exchange.path.startswith("/v1/plans/"):
        return _Said(exchange, exchange.method + " plan", "plan" if exchange.method == "PUT" else "give me the plan")
    if exchange.path.startswith("/v1/deployments/"):
        phase = decode(Deployment, exchange.sent, PLACE).phase
        if told.get(exchange.who) == (phase,):
            return None
        told[exchange.who] = (phase,)
        asked = "deploy this plan" if exchange.method == "PUT" else "how far is it?"
        return _Said(exchange, exchange.method + phase, asked, phase)
    return None


def _of_state(exchange: Exchange, told: dict[str, tuple[object, ...]]) -> _Said | None:
    is_pull = exchange.method == "GetState"
    state = decode(NodeState, exchange.received, PLACE)
    sent = _without_type(exchange.sent) if is_pull else exchange.sent
    assignments = decode(GetState if is_pull else HeartbeatReply, sent, PLACE).assignments
    news = (tuple((each.stage, each.phase) for each in state.stages), tuple(each.stages for each in assignments))
    if told.get(exchange.who) == news:
        return None
    told[exchange.who] = news
    mine, yours = _held(state.stages), _assigned(assignments)
    return _Said(exchange, f"state {news}", *((f"your state? {yours}", mine) if is_pull else (mine, yours)))


def _without_type(line: bytes) -> bytes:
    """A message without the name of its class."""
    data = json.loads(line)
    data.pop("type")
    return json.dumps(data).encode()


def _held(stages: Sequence[HeldStage]) -> str:
    return "state: " + (", ".join(f"stage {each.stage + 1} {each.phase}" for each in stages) or "holds nothing")


def _assigned(assignments: Iterable[Assignment]) -> str:
    numbers = [str(stage + 1) for each in assignments for stage in each.stages]
    return f"hold stage {', '.join(numbers)}" if numbers else "hold nothing"


def _steps(together: Sequence[_Said], zero_s: float) -> list[Step]:
    """One request and one answer for exchanges of one kind in a row."""
    first = together[0].exchange
    other = CALLER if first.who.startswith("client:") else first.who.removeprefix("node:")
    source, target = (HUB, other) if first.method == "GetState" else (other, HUB)
    up, down = sum(each.exchange.received_bytes for each in together), sum(each.exchange.sent_bytes for each in together)
    asked, answered = together[0].asked, together[-1].answered
    times = f"{len(together)} × " if len(together) > 1 else ""
    if together[0].kind == "PUT plan":
        asked += f", {human_bytes(up)}"
    if together[0].kind in ("bytes", "GET plan"):
        answered = human_bytes(down)
    request = Step(source, target, first.start_s - zero_s, times + asked)
    if not answered:
        return [request]
    return [request, Step(target, source, together[-1].exchange.stop_s - zero_s, answered, is_reply=True)]


def _upload(together: Sequence[_Said], zero_s: float) -> list[Step]:
    """The question which files the hub has, and those that it did not have."""
    exchanges = [each.exchange for each in together]
    sent = [each for each in exchanges if each.method == "PUT"]
    asked = {each.path for each in exchanges if each.method == "HEAD"}
    steps = [
        Step(CALLER, HUB, exchanges[0].start_s - zero_s, f"are these {len(asked)} files there?"),
        Step(HUB, CALLER, exchanges[0].stop_s - zero_s, f"{len(sent)} are not" if sent else "yes", is_reply=True),
    ]
    if sent:
        text = f"{len(sent)} files, {human_bytes(sum(each.received_bytes for each in sent))}"
        steps.append(Step(CALLER, HUB, sent[0].start_s - zero_s, text))
    return steps


def inference_steps(events: Iterable[Event]) -> tuple[Step, ...]:
    """The steps of an item.

    Args:
        events: What stages and links did for it.
    """
    ordered = sorted(events, key=lambda each: each.start_s)
    zero_s = ordered[0].start_s
    return tuple(replace(_of_event(each), at_s=each.start_s - zero_s) for each in ordered)


def _of_event(event: Event) -> Step:
    milliseconds = f"{event.seconds * 1e3:.1f} ms"
    if event.kind == "compute":
        return Step(event.device, event.device, 0.0, f"stage {event.stage + 1}: {milliseconds}")
    return Step(event.device, event.peer, 0.0, f"{human_bytes(event.nbytes)} in {milliseconds}")
