"""Models that are loaded, replaced and unloaded while requests use them."""

from __future__ import annotations

import random
import threading
import time

import pytest

from multiedge.errors import ModelError
from multiedge.serving.inference.contract import InferRequest, NotFound, Unavailable, Unsupported
from multiedge.serving.inference.repository import ModelRepository, State
from tests.builders.inference import Doubler


@pytest.fixture
def made():
    return []


@pytest.fixture
def repository(made):
    def load():
        made.append(Doubler())
        return made[-1]

    repository = ModelRepository()
    repository.declare("m", load)
    return repository


def test_a_model_that_is_not_loaded_is_unavailable_and_one_that_is_unknown_not_found(repository):
    with pytest.raises(Unavailable, match="model 'm' is not loaded"), repository.using("m"):
        pass
    with pytest.raises(NotFound, match="no model 'x' here; there are m"), repository.using("x"):
        pass
    assert not repository.is_ready("m")
    assert not repository.is_ready("x")


def test_a_version_that_the_model_does_not_have_is_not_found(repository):
    repository.load("m")
    with repository.using("m", "1") as loaded:
        assert loaded.model.name == "m"
    with pytest.raises(NotFound, match="model 'm' has no version '2'; there are 1"), repository.using("m", "2"):
        pass


def test_an_unloaded_model_is_closed_when_its_last_request_has_ended(repository, made):
    repository.load("m")
    with repository.using("m") as first:
        with repository.using("m"):
            repository.unload("m")
            assert made[0].closed == 0
        assert made[0].closed == 0
        assert first.model is made[0]
        with pytest.raises(Unavailable, match="model 'm' is not loaded: unloaded"), repository.using("m"):
            pass
    assert made[0].closed == 1


def test_a_model_that_is_loaded_again_takes_the_place_of_the_old_one_which_is_closed_once(repository, made):
    repository.load("m")
    with repository.using("m") as before:
        repository.load("m")
        with repository.using("m") as after:
            assert (before.model, after.model) == tuple(made)
        assert made[0].closed == 0
    assert [model.closed for model in made] == [1, 0]
    repository.close()
    assert [model.closed for model in made] == [1, 1]


def test_a_load_that_fails_leaves_the_old_model_and_its_reason_in_the_index():
    repository = ModelRepository()

    def fail():
        raise ModelError("the file is\ndamaged")

    repository.put(Doubler(), fail)
    with pytest.raises(ModelError):
        repository.load("m")
    with repository.using("m") as loaded:
        assert loaded.is_ready
    repository.declare("other", fail)
    with pytest.raises(ModelError):
        repository.load("other")
    assert [(entry.name, entry.version, entry.state, entry.reason) for entry in repository.index()] == [
        ("m", "1", State.READY, "the file is damaged"),
        ("other", "", State.UNAVAILABLE, "the file is damaged"),
    ]


def test_while_a_model_is_loaded_for_the_first_time_it_is_unavailable_and_said_to_be_loaded():
    begun, go_on = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(5)
        return Doubler()

    repository = ModelRepository()
    repository.declare("m", slow)
    thread = threading.Thread(target=repository.load, args=("m",))
    thread.start()
    assert begun.wait(5)
    with pytest.raises(Unavailable, match="model 'm' is being loaded"), repository.using("m"):
        pass
    assert [entry.state for entry in repository.index()] == [State.LOADING]
    go_on.set()
    thread.join(5)
    assert repository.is_ready("m")


def test_a_model_without_a_loader_is_neither_loaded_nor_unloaded_by_clients():
    repository = ModelRepository()
    repository.put(Doubler())
    with pytest.raises(Unsupported, match="cannot be loaded again, so it is not unloaded"):
        repository.unload("m")
    with pytest.raises(Unsupported, match="was given to the server as it is"):
        repository.load("m")
    assert repository.is_ready("m")


def test_a_model_whose_end_fails_costs_no_request_its_answer(caplog):
    class Stubborn(Doubler):
        def close(self):
            raise OSError("it holds on")

    repository = ModelRepository()
    repository.put(Stubborn())
    with repository.using("m"):
        repository.remove("m")
    assert "model 'm' was not closed: it holds on" in caplog.text


def test_fifty_loads_and_unloads_under_requests_lose_none_of_them(repository, made):
    """Every request is answered, or told that the model is not there; none meets a model that is closed."""
    repository.load("m")
    answered, refused, wrong = [], [], []
    done = threading.Event()

    def ask():
        while not done.is_set():
            try:
                with repository.using("m") as loaded, loaded.slots.taken(lambda: True):
                    time.sleep(0.0002)
                    wrong.extend([1] if loaded.model.closed else [])
                    answered.append(1)
            except Unavailable:
                refused.append(1)
                time.sleep(0.0002)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    generator = random.Random(18)
    for _ in range(50):
        time.sleep(generator.uniform(0, 0.004))
        getattr(repository, generator.choice(["load", "unload", "load"]))("m")
    repository.load("m")
    done.set()
    for thread in threads:
        thread.join(10)
    assert answered
    assert wrong == []
    assert [model.closed for model in made] == [1] * (len(made) - 1) + [0]


def test_statistics_are_kept_when_a_model_is_loaded_again(repository):
    repository.load("m")
    with repository.using("m") as loaded:
        loaded.counters.succeed(1, 2, 3, 4)
    repository.load("m")
    ((model, statistics),) = repository.statistics("m")
    assert model.name == "m"
    assert statistics.success.count == 1
    assert statistics.success.ns == 10
    repository.unload("m")
    assert repository.statistics() == ()


def test_a_default_request_waits_without_limit():
    assert InferRequest("m", {}).time_left_s is None
    assert InferRequest("m", {}, deadline_s=time.monotonic() - 1).time_left_s == 0.0
