from dataclasses import replace

import numpy as np
import pytest

from multiedge.backends.contract import Batching
from multiedge.composed import VOID, is_void
from multiedge.executors.flow.stage_loop import DIRECT_BYTES, StageLoop
from multiedge.fleet import CALLER_NAME, Link
from multiedge.transports.links import LinkShaper
from multiedge.transports.message import ArraySpec, encode, log_rows
from tests.builders.flow import (
    FakeClock,
    FakeDirectSession,
    FakeEndpoint,
    FakeMonitor,
    FakePace,
    FakeSession,
    chain_routes,
    message,
)

ROUTES = chain_routes("d0", "d1", "d0")


def adding(stage, **fields):
    """A session that adds 1."""
    return FakeSession(
        lambda tensors: {f"t{stage + 1}": tensors[f"t{stage}"] + 1.0}, (f"t{stage}",), (f"t{stage + 1}",), **fields
    )


class Device:
    """The loop of device d0, which holds the first and the last of three stages."""

    def __init__(self, sessions=None, routes=ROUTES, *, links=(), caller=CALLER_NAME, micro_batch=1, record=False):
        self.clock = FakeClock()
        self.endpoint, self.monitor, self.pace = FakeEndpoint(self.clock), FakeMonitor(), FakePace(self.clock)
        self.loop = StageLoop(
            "d0",
            self.endpoint,
            LinkShaper("d0", dict(links)),
            self.monitor,
            self.pace,
            caller=caller,
            micro_batch=micro_batch,
            record=record,
            clock=self.clock,
        )
        self.loop.configure(1, routes, sessions or {0: adding(0), 2: adding(2)})

    def steps(self, *messages):
        """Takes the messages and works until nothing is left; what was sent, as (peer, transfer, sequence, value or error)."""
        self.endpoint.inbox += messages
        while self.loop.step(0.0):
            pass
        return [
            (peer, sent.address.transfer, sent.address.sequence, sent.error or float(sent.arrays[0][0]))
            for peer, sent in self.endpoint.sent
        ]


def test_a_stage_hands_on_what_it_made():
    device = Device()
    assert device.steps(message(0, 5.0)) == [("d1", 1, 0, 6.0)]
    assert (device.monitor.taken, device.monitor.sent, device.monitor.busy) == ({0: 1}, {1: 1}, None)
    assert [address.transfer for address in device.endpoint.released] == [0]


def test_the_oldest_item_runs_first_and_its_latest_stage_before_its_others():
    device = Device()
    device.steps(message(0, 1.0, sequence=5), message(2, 2.0, sequence=4, source="d1"), message(0, 3.0, sequence=4))
    assert device.monitor.was_busy == [(2, 4), (0, 4), (0, 5)]


def test_a_stage_with_two_inputs_waits_for_both():
    session = FakeSession(lambda tensors: {"y": tensors["t0"] + tensors["t1"]}, ("t0", "t1"))
    routes = chain_routes("d0")
    moves = (
        routes.transfers[0],
        routes.transfers[0].__class__(-1, 0, ("t1",), 16),
        routes.transfers[1].__class__(0, -1, ("y",), 16),
    )
    device = Device({0: session}, routes.__class__(routes.parts, moves))
    assert device.steps(message(0, 1.0)) == []
    assert device.steps(message(1, 2.0)) == [(CALLER_NAME, 2, 0, 3.0)]


def test_what_a_stage_raises_is_the_items_error_and_others_go_on():
    def compute(tensors):
        if tensors["t0"][0] == 1.0:
            raise ValueError("bad\n  item")
        return {"t1": tensors["t0"]}

    device = Device({0: FakeSession(compute, ("t0",), ("t1",))})
    text = "stage 0 on 'd0' failed: ValueError: bad item"
    assert device.steps(message(0, 1.0), message(0, 2.0, sequence=1)) == [("d1", 1, 0, text), ("d1", 1, 1, 2.0)]


def test_an_error_passes_through_later_stages_without_compute():
    device = Device()
    assert device.steps(message(2, None, error="stage 0 failed", source="d1")) == [(CALLER_NAME, 3, 0, "stage 0 failed")]
    assert device.pace.stretched == 0


def test_an_output_that_was_not_made_is_named():
    device = Device({0: FakeSession(lambda tensors: {}, ("t0",), ("t1",))})
    assert device.steps(message(0, 1.0)) == [("d1", 1, 0, "stage 0 on 'd0' did not make 't1', which stage 1 needs")]


class StrictEndpoint(FakeEndpoint):
    """Sends what can be written as bytes."""

    def send(self, peer, message):
        encode(message)
        super().send(peer, message)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        pytest.param([1.0, 2.0], "output 't1': expected an array, got list", id="no array"),
        pytest.param(None, "output 't1': expected an array, got NoneType", id="nothing"),
        pytest.param(np.array([{"a": 1}, object()], dtype=object), "AttributeError", id="objects"),
        pytest.param(np.array([b"\xff\xfe"], dtype=object), "UnicodeDecodeError", id="not UTF-8"),
    ],
)
def test_an_item_whose_output_cannot_be_sent_fails_alone(output, reason):
    def compute(tensors):
        return {"t1": output if tensors["t0"][0] == 7 else tensors["t0"] + 1}

    device = Device({0: FakeSession(compute), 2: adding(2)})
    device.loop.endpoint = device.endpoint = StrictEndpoint(device.clock)
    wrong, right = device.steps(message(0, 7.0, sequence=0), message(0, 5.0, sequence=1))
    assert wrong[:3] == ("d1", 1, 0)
    assert "stage 0 on 'd0' failed: " in wrong[3]
    assert reason in wrong[3]
    assert right == ("d1", 1, 1, 6.0)


def test_outputs_that_are_no_mapping_fail_the_item_alone():
    device = Device({0: FakeSession(lambda tensors: 5), 2: adding(2)})
    ((_, _, _, error),) = device.steps(message(0, 1.0))
    assert "stage 0 on 'd0' failed: TypeError" in error


def test_messages_of_other_epochs_are_dropped():
    assert Device().steps(message(0, 1.0, epoch=0), message(0, 1.0, epoch=2)) == []


def test_a_new_epoch_drops_what_waits():
    device = Device()
    device.endpoint.inbox.append(message(2, 1.0, source="d1", due_s=1e9))
    device.loop.step(0.0)
    device.loop.configure(2, ROUTES, {0: adding(0), 2: adding(2)})
    device.clock.now_s = 2e9
    assert device.steps() == []
    assert device.endpoint.forgotten == [1, 2]
    assert device.monitor.taken == {}


def test_a_message_is_not_taken_before_it_is_due():
    device = Device()
    device.endpoint.inbox.append(message(0, 1.0, due_s=100.5))
    device.loop.step(0.0)
    assert not device.loop.step(0.25)
    assert (device.clock.now_s, device.monitor.taken) == (100.25, {})
    assert device.loop.step(1.0)
    assert device.clock.now_s == 100.5


@pytest.mark.parametrize(("caller", "due_s"), [(CALLER_NAME, 100.0), ("d1", 100.5), ("d0", 100.0)])
def test_links_delay_messages_also_to_a_caller_who_is_at_a_device(caller, due_s):
    device = Device(links=[("d1", Link(latency_s=0.5))], caller=caller)
    device.steps(message(2, 1.0, source="d1"), message(0, 1.0, sequence=1))
    due = {peer: sent.due_s for peer, sent in device.endpoint.sent}
    assert due == {CALLER_NAME: due_s, "d1": 100.5}


def counting_session(sizes, **fields):
    def compute(tensors):
        sizes.append(len(tensors["t0"]) // 4)
        if (tensors["t0"] == 99.0).any():
            raise ValueError("refused")
        return {"t1": tensors["t0"] + 1.0}

    return FakeSession(compute, ("t0",), ("t1",), **fields)


def test_items_that_wait_are_joined_up_to_the_micro_batch():
    sizes = []
    device = Device({0: counting_session(sizes, batch_is_free=True)}, micro_batch=3)
    made = device.steps(*(message(0, float(number), sequence=number) for number in range(5)))
    assert sizes == [3, 2]
    assert [(sequence, value) for _, _, sequence, value in made] == [(number, number + 1.0) for number in range(5)]


def test_a_stage_with_a_fixed_batch_takes_items_one_by_one():
    sizes = []
    Device({0: counting_session(sizes)}, micro_batch=3).steps(*(message(0, 0.0, sequence=number) for number in range(3)))
    assert sizes == [1, 1, 1]


def test_a_bad_item_in_a_micro_batch_fails_alone():
    sizes = []
    device = Device({0: counting_session(sizes, batch_is_free=True)}, micro_batch=3)
    made = device.steps(*(message(0, value, sequence=number) for number, value in enumerate((1.0, 99.0, 3.0))))
    assert [value for _, _, _, value in made] == [2.0, "stage 0 on 'd0' failed: ValueError: refused", 4.0]


def test_the_device_is_shown_as_busy_until_its_outputs_are_sent():
    device = Device()

    class Broken(FakeEndpoint):
        def send(self, peer, message):
            raise MemoryError

    device.loop.endpoint = Broken(device.clock)
    device.loop.endpoint.inbox.append(message(0, 1.0, sequence=3))
    with pytest.raises(MemoryError):
        device.loop.step(0.0)
    assert device.monitor.busy == (0, 3, 100.0)


def test_the_log_travels_with_the_item():
    device = Device(record=True)
    device.steps(message(0, 1.0, sent_s=99.0, due_s=99.5))
    rows = log_rows(device.endpoint.sent[0][1].log)
    assert [row[:3] for row in rows] == [["transfer", 0, "caller"], ["compute", 0, "d0"]]
    assert rows[0][3:] == [99.0, 99.5, 16, "d0"]


def test_an_item_that_comes_again_is_logged_as_a_repeat():
    session = adding(0)
    seen = set()
    session.repeats = lambda tensors: tensors["t0"][0] in seen or bool(seen.add(tensors["t0"][0]))
    session.joins, session.run_together = False, list
    device = Device({0: session, 2: adding(2)}, record=True)
    device.steps(message(0, 1.0), message(0, 1.0, sequence=1), message(0, 2.0, sequence=2))
    kinds = [log_rows(sent.log)[-1][0] for _, sent in device.endpoint.sent]
    assert kinds == ["compute", "repeat", "compute"]


LARGE = ArraySpec(np.dtype(np.float32), (DIRECT_BYTES // 4,))


def branching(session, *, names=(("t1",), ("t0", "t1"))):
    """A device with one stage, whose outputs go to the caller over several transfers."""
    routes = chain_routes("d0")
    first, last = routes.transfers
    moves = (first, *(replace(last, tensors=tensors) for tensors in names))
    return Device({0: session}, routes.__class__(routes.parts, moves))


def direct(compute=None, fixed=None, **fields):
    compute = compute or (lambda tensors: {"t1": np.full(LARGE.shape, tensors["t0"][0] + 1.0, dtype=np.float32)})
    return FakeDirectSession(compute, ("t0",), ("t1",), fixed={"t1": LARGE} if fixed is None else fixed, **fields)


def test_a_large_output_of_known_size_is_written_to_its_message_once_and_copied_to_further_ones():
    session = direct()
    device = branching(session)
    assert [sent[3] for sent in device.steps(message(0, 5.0))] == [6.0, 5.0]
    (address,) = device.endpoint.reserved
    (place,) = device.endpoint.reserved[address]
    first, second = (sent for _, sent in device.endpoint.sent)
    assert (address, session.places[0]["t1"] is place) == (first.address, True)
    assert first.arrays[0] is place
    assert second.arrays[1] is place


def test_what_passes_through_beside_a_direct_output_keeps_its_contents():
    device = branching(direct(), names=(("t0", "t1"),))
    device.steps(message(0, 5.0))
    ((_, sent),) = device.endpoint.sent
    assert sent.arrays[0].tolist() == [5.0] * 4
    assert device.endpoint.reserved[sent.address][1] is sent.arrays[1]


@pytest.mark.parametrize(
    ("session", "sent_text", "has_memory"),
    [
        pytest.param(direct(fixed={}), False, True, id="open-shape"),
        pytest.param(direct(fixed={"t1": ArraySpec(LARGE.dtype, (4,))}), False, True, id="small"),
        pytest.param(direct(), True, True, id="text-beside-it"),
        pytest.param(direct(), False, False, id="no-memory-of-messages"),
    ],
)
def test_other_outputs_take_the_ordinary_way(session, sent_text, has_memory):
    device = branching(session, names=(("t0", "t1"),))
    device.endpoint.has_memory = has_memory
    given = message(0, 5.0)
    if sent_text:
        given = given._replace(arrays=(np.array([5.0, "word"], dtype=object),))
    device.steps(given)
    assert session.places == []
    assert device.endpoint.sent[0][1].arrays[1].max() == 6.0


def test_an_item_that_fails_in_a_direct_run_fails_alone():
    def compute(tensors):
        if tensors["t0"][0] == 1.0:
            raise ValueError("refused")
        return {"t1": np.full(LARGE.shape, 3.0, dtype=np.float32)}

    made = branching(direct(compute), names=(("t1",),)).steps(message(0, 1.0), message(0, 2.0, sequence=1))
    assert [value for *_, value in made] == ["stage 0 on 'd0' failed: ValueError: refused", 3.0]


def test_items_that_are_joined_are_not_written_to_messages():
    session = direct(lambda tensors: {"t1": np.zeros(len(tensors["t0"]), dtype=np.float32)}, batch_is_free=True)
    device = Device({0: session}, micro_batch=2)
    device.steps(message(0, 1.0), message(0, 2.0, sequence=1))
    assert (session.places, len(device.endpoint.sent)) == ([], 2)


class ItemsSession(FakeSession):
    """Adds 1 to each item; keeps how many came together."""

    def __init__(self, batching, outputs=("t1",)):
        super().__init__(lambda tensors: {"t1": tensors["t0"] + 1.0}, ("t0",), outputs)
        self.batching, self.counts = batching, []

    def computes(self, tensors):
        return not is_void(tensors["t0"])

    def run_items(self, items):
        self.counts.append(len(items))
        return [self.compute(item) if self.computes(item) else {"t1": VOID} for item in items]


def void(transfer, **fields):
    """A message with a tensor that the item does not have."""
    return message(transfer, None, **fields)._replace(arrays=(VOID,))


def test_a_stage_with_nothing_to_compute_for_an_item_is_recorded_as_skipped():
    session = ItemsSession(Batching())
    device = Device({0: session, 2: adding(2)}, record=True)
    device.endpoint.inbox += [void(0), message(0, 5.0, sequence=1)]
    while device.loop.step(0.0):
        pass
    (_, skipped), (_, computed) = device.endpoint.sent
    assert is_void(skipped.arrays[0])
    assert computed.arrays[0][0] == 6.0
    assert [row[0] for row in log_rows(skipped.log)] == ["transfer", "skip"]
    assert [row[0] for row in log_rows(computed.log)] == ["transfer", "compute"]


def test_a_session_that_takes_several_items_gets_as_many_as_it_wants():
    session = ItemsSession(Batching(2))
    device = Device({0: session, 2: adding(2)})
    sent = device.steps(*(message(0, float(n), sequence=n) for n in range(3)))
    assert [value for *_, value in sent] == [1.0, 2.0, 3.0]
    assert session.counts == [2, 1]


def test_a_batch_waits_for_its_time_and_then_runs_with_what_there_is():
    session = ItemsSession(Batching(3, wait_s=0.5))
    device = Device({0: session, 2: adding(2)})
    begin = device.clock.now_s
    device.endpoint.inbox += [message(0, 1.0), message(0, 2.0, sequence=1)]
    assert not device.loop.step(1.0)
    assert device.loop.step(1.0)
    assert device.clock.now_s == pytest.approx(begin + 0.5)
    assert session.counts == [2]


def test_an_item_that_failed_or_needs_no_computation_does_not_wait_for_a_batch():
    session = ItemsSession(Batching(3, wait_s=0.5))
    device = Device({0: session, 2: adding(2)})
    device.endpoint.inbox += [message(0, None, error="stage 9 failed"), void(0, sequence=1)]
    assert device.loop.step(1.0)
    assert device.loop.step(1.0)
    assert (len(device.endpoint.sent), session.counts) == (2, [1])
