import json
import math

import pytest

from multiedge.errors import PipelineError
from multiedge.executors.workers.messages import (
    Configure,
    Configured,
    Failed,
    Hello,
    Load,
    Prepare,
    Prepared,
    SetLink,
    SetSpeed,
    Stop,
    command_decoder,
    encode,
    reply_decoder,
)
from multiedge.fleet import Device, Link, Power
from multiedge.measurements import RanStage
from tests.builders.flow import chain_routes

ROUTES = chain_routes("d0", ("d1", "d2"))
DEVICE = Device("d0", "gpu-1", memory_bytes=1 << 40, speed=0.5, power=Power(1.0, 2.0))
RAN = RanStage(0, "d0", "onnxruntime", "1", "float32", "CPU")
HELLO = Hello(
    DEVICE,
    {"fast": {"threads": 2, "keep": None}},
    0.5,
    1.0,
    (0, 1),
    "pipe",
    {"d1": Link(1e6, 0.1), "d2": Link()},
    "caller",
    4,
    True,
    7,
)


@pytest.mark.parametrize(
    "command",
    [HELLO, Prepare("plan", ROUTES), Configure(3, "plan", ROUTES), SetSpeed(0.25), SetLink("d0", "d1", Link(0.5)), Stop()],
    ids=lambda command: type(command).__name__,
)
def test_a_command_arrives_as_it_was_sent(command):
    assert command_decoder().feed(encode(command)) == (command,)


@pytest.mark.parametrize(
    "reply",
    [Prepared((Load(0, 1.0, 2.5, RAN),)), Configured(3, (), 1000), Configured(3), Failed("load", "no such file: 'x'\n")],
    ids=str,
)
def test_a_reply_arrives_as_it_was_sent(reply):
    assert reply_decoder("d0").feed(encode(reply)) == (reply,)


def test_a_link_without_a_limit_arrives_as_such():
    (hello,) = command_decoder().feed(encode(HELLO))
    assert math.isinf(hello.links["d2"].bandwidth_bytes_per_s)


def test_messages_are_put_together_from_the_pieces_in_which_they_arrive():
    decoder, data = command_decoder(), encode(SetSpeed(0.5)) + encode(Stop())
    arrived = [message for place in range(len(data)) for message in decoder.feed(data[place : place + 1])]
    assert arrived == [SetSpeed(0.5), Stop()]


def line(**fields):
    return json.dumps(fields).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"{\n", "worker of 'd0': expected one message in JSON per line, got b'{'"),
        (b"[" * 100_000 + b"\n", "expected one message in JSON per line"),
        (line(type="Configued", epoch=1), "worker of 'd0': type: unknown value 'Configued'; did you mean 'Configured'?"),
        (line(type="Stop"), "worker of 'd0': type: unknown value 'Stop'"),
        (line(type="Configured", epoch="1"), "worker of 'd0': epoch: expected a whole number, got '1'"),
        (line(type="Configured", epoch=1), "worker of 'd0': loads: missing; expected a list"),
        (line(type="Prepared", loads=[{"stage": 0, "start_s": 1.0}]), r"worker of 'd0': loads\[0\].stop_s: missing"),
        (
            line(type="Failed", reason="tired", detail=""),
            "worker of 'd0': reason: unknown value 'tired'; known: changed, ",
        ),
    ],
)
def test_a_damaged_message_is_refused_by_its_field(data, text):
    with pytest.raises(PipelineError, match=text):
        reply_decoder("d0").feed(data)
