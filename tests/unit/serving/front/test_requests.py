import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from multiedge.errors import ConfigError
from multiedge.serving.front.requests import FILE_NAME, RequestStore, Retention, Sent, digest_of
from multiedge.serving.inference.contract import InferReply, Invalid
from tests.builders.flow import FakeClock
from tests.builders.front import request

URL = "http://127.0.0.1:9/results"


@pytest.fixture
def clock():
    return FakeClock(1000.0)


@pytest.fixture
def store(tmp_path, clock):
    opened = RequestStore(tmp_path, Retention(age_s=60.0, most_bytes=400), clock)
    yield opened
    opened.close()


def reply(value: float = 1.0, size: int = 2) -> InferReply:
    return InferReply({"y": np.full((1, size), value, np.float32)}, {"row": "first", "attempts": 1}, "v")


def put(store: RequestStore, number: str, value: float = 1.0, size: int = 2) -> None:
    asked = request(value, id=number)
    store.put(asked, digest_of(asked), reply(value, size))


def kept(store: RequestStore, number: str, value: float = 1.0) -> InferReply | None:
    asked = request(value, id=number)
    return store.answer(asked, digest_of(asked))


def test_an_answer_is_kept_with_its_parameters_over_a_restart(tmp_path, store, clock):
    put(store, "a")
    store.close()
    again = RequestStore(tmp_path, clock=clock)
    found = kept(again, "a")
    assert found is not None
    np.testing.assert_array_equal(found.outputs["y"], reply().outputs["y"])
    assert (found.parameters, found.version) == ({"row": "first", "attempts": 1}, "v")
    assert kept(again, "b") is None
    again.close()


def test_strings_and_all_types_come_back_as_they_were(store):
    outputs = {
        "texts": np.array([["a", "ü"]], dtype=object),
        "flags": np.array([True, False]),
        "half": np.arange(3, dtype=np.float16),
        "none": np.zeros((0, 4), np.int64),
    }
    asked = request(id="a")
    store.put(asked, digest_of(asked), InferReply(outputs))
    found = store.answer(asked, digest_of(asked))
    assert found is not None
    for name, array in outputs.items():
        np.testing.assert_array_equal(found.outputs[name], array)
        assert found.outputs[name].dtype == array.dtype


def test_an_id_stands_for_the_same_inputs(store):
    put(store, "a", 1.0)
    with pytest.raises(Invalid, match="'a' was used for other inputs"):
        kept(store, "a", 2.0)


@pytest.mark.parametrize(
    "other",
    [
        {"x": np.zeros((2, 1), np.float32)},
        {"x": np.zeros((1, 2), np.int32)},
        {"z": np.zeros((1, 2), np.float32)},
        {"x": np.array([["0.0", "0.0"]], dtype=object)},
    ],
    ids=["shape", "type", "name", "strings"],
)
def test_digests_differ_where_inputs_do(other):
    assert digest_of(replace(request(), inputs=other)) != digest_of(request())


def test_old_answers_are_removed(store, clock):
    put(store, "a")
    clock.now_s += 30.0
    put(store, "b")
    clock.now_s += 31.0
    assert store.sweep() == 1
    assert kept(store, "a") is None
    assert kept(store, "b") is not None


def test_the_oldest_answers_make_room(store, clock):
    for number in "abcd":
        put(store, number, size=30)
        clock.now_s += 1.0
    assert store.sweep() > 0
    assert store.used_bytes <= 400
    assert kept(store, "d") is not None
    assert kept(store, "a") is None


def test_a_request_with_a_callback_is_kept_until_it_is_answered(tmp_path, store, clock):
    asked = request(3.0, id="a", callback=URL, max_latency_ms=5)
    store.accept(asked, digest_of(asked), URL)
    store.accept(asked, digest_of(asked), URL)
    assert store.due_callbacks(clock(), 9) == ()
    store.close()
    again = RequestStore(tmp_path, clock=clock)
    (found,) = again.accepted()
    assert (found.model, found.id, found.parameters) == ("small", "a", {"callback": URL, "max_latency_ms": 5})
    assert digest_of(found) == digest_of(asked)
    again.put(found, digest_of(found), reply(), b"body")
    assert again.accepted() == ()
    (callback,) = again.due_callbacks(clock(), 9)
    assert (callback.url, callback.body, callback.failures) == (URL, b"body", 0)
    again.close()


def test_a_result_that_was_not_taken_is_due_later_and_none_that_was(store, clock):
    asked = request(id="a")
    store.accept(asked, digest_of(asked), URL)
    store.put(asked, digest_of(asked), reply(), b"body")
    (callback,) = store.due_callbacks(clock(), 9)
    store.callback_failed(callback, 1, clock() + 5.0, "status 503")
    assert store.due_callbacks(clock() + 4.9, 9) == ()
    (callback,) = store.due_callbacks(clock() + 5.0, 9)
    assert callback.failures == 1
    store.callback_done(callback, "")
    assert store.due_callbacks(clock() + 99.0, 9) == ()
    assert store.sent(callback.key) == Sent(URL, 1, True)


def test_a_request_that_fails_tells_its_callback(store, clock):
    asked = request(id="a")
    store.accept(asked, digest_of(asked), URL)
    store.fail(asked, b"error")
    assert store.accepted() == ()
    assert [each.body for each in store.due_callbacks(clock(), 9)] == [b"error"]


def test_a_file_of_a_later_release_is_refused(tmp_path, store):
    store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(ConfigError, match="version 99"):
        RequestStore(tmp_path)


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be opened"):
        RequestStore(tmp_path / "file")
