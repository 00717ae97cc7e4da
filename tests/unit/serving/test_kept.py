"""Outputs that a server keeps: found by key, released, and bounded in size and time."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")

from multiedge.serving.inference.contract import InferRequest, NotFound
from multiedge.serving.inference.grpc_codec import decode_request, encode_reply
from multiedge.serving.inference.wire import Call, MadeOutput, WantedOutput, WireReply
from multiedge.serving.kept import LONGEST_S, KeptModel, KeptOutputs, KeptPlace
from multiedge.transports.references import KeptTensor, add_released, chained_request, made_outputs


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def array(nbytes):
    return np.zeros(nbytes, np.uint8)


def test_a_tensor_is_found_by_its_key_until_it_is_released():
    kept = KeptOutputs(100)
    key, other = kept.put(array(10)), kept.put(array(20))
    assert (kept.get(key).nbytes, kept.nbytes) == (10, 30)
    kept.release([key, "unknown"])
    with pytest.raises(KeyError):
        kept.get(key)
    assert kept.get(other).nbytes == 20


def test_older_tensors_make_room_for_a_new_one_of_any_size():
    kept = KeptOutputs(100)
    keys = [kept.put(array(nbytes)) for nbytes in (40, 40, 40)]
    assert kept.nbytes == 80
    with pytest.raises(KeyError):
        kept.get(keys[0])
    assert kept.get(kept.put(array(500))).nbytes == 500
    assert kept.nbytes == 500


def test_what_nobody_fetched_for_long_is_forgotten():
    clock = Clock()
    kept = KeptOutputs(100, clock)
    kept.put(array(10))
    clock.now_s = LONGEST_S + 1
    kept.put(array(20))
    assert kept.nbytes == 20


class NoOthers:
    """Stands in for the connections to other servers; keeps what was asked."""

    def fetch(self, kept, timeout_s):
        self.asked, self.timeout_s = kept, timeout_s
        return {name: array(1) for name in kept}


def place(others=None):
    kept = KeptOutputs(1000)
    return kept, KeptPlace(kept, others or NoOthers())


def sent(message):
    """A request after its way over a network."""
    return decode_request(type(message).FromString(message.SerializeToString()))


def test_a_request_says_which_inputs_are_kept_elsewhere_and_which_outputs_are_to_stay():
    reference, ones = KeptTensor("10.0.0.7:8081", "0af3"), np.ones(3, np.float32)
    request = sent(chained_request(4, {"x": ones, "k": reference}, ["y", "z"], ["z"]))
    others = NoOthers()
    _, here = place(others)
    away = [tensor for tensor in request.inputs if tensor.array is None]
    assert [tensor.name for tensor in away] == ["k"]
    assert here.has_input(away[0].parameters)
    assert list(here.read(away, Call(lambda: True, None, lambda: True))) == ["k"]
    assert others.asked == {"k": reference}
    assert [(output.name, here.takes_output(output.parameters)) for output in request.outputs] == [("y", False), ("z", True)]


def test_an_answer_has_the_arrays_and_the_keys_of_what_stayed():
    kept, here = place()
    one, two = array(3), array(4)
    key = here.write(WantedOutput("z"), two, Call(lambda: True, None, lambda: True))
    outputs = (MadeOutput("z", two, False, key), MadeOutput("y", one))
    reply = encode_reply(WireReply("m", "", "4", outputs, {}))
    made = made_outputs(type(reply).FromString(reply.SerializeToString()), "10.0.0.7:8081")
    assert made["y"].nbytes == 3
    assert made["z"].address == "10.0.0.7:8081"
    assert kept.get(made["z"].key) is two


def test_released_keys_come_with_the_next_request():
    kept, here = place()
    keys = [kept.put(array(1)), kept.put(array(2))]
    request = chained_request(1, {}, [], [])
    add_released(request, keys)
    here.note(sent(request).parameters)
    assert kept.nbytes == 0


def test_a_fetch_of_what_is_not_kept_any_more_is_not_found():
    kept, _ = place()
    key = kept.put(array(5))
    assert KeptModel(kept).infer(InferRequest("m", {}, (key,))).outputs[key].nbytes == 5
    with pytest.raises(NotFound, match="not kept here any more"):
        KeptModel(kept).infer(InferRequest("m", {}, (key, "gone")))
