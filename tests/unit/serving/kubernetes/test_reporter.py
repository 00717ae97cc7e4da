"""The worker's side: messages to a controller that is there, that refuses, and that is not there."""

from __future__ import annotations

import re

import pytest

from multiedge.backends.conversion.record import State
from multiedge.errors import ConfigError
from multiedge.serving.kubernetes.message import WorkerMessage, decode_message
from multiedge.serving.kubernetes.names import OWNER_VARIABLE
from multiedge.serving.kubernetes.reporter import WAITS_S, Reporter
from multiedge.serving.kubernetes.status import Phase
from multiedge.serving.kubernetes.task import TaskInfo
from tests.builders.services import ENVIRONMENT, listening_controller

TASK = TaskInfo(State.RUNNING, 10.0)


def reporter(url: str, waits: list[float] | None = None) -> Reporter:
    made = Reporter.of_environment(url, ENVIRONMENT)
    return Reporter(made.host, made.port, made.worker, made.token, (waits if waits is not None else []).append)


def test_a_message_is_posted_to_the_path_of_its_worker_with_its_token() -> None:
    with listening_controller(200) as (url, seen):
        assert reporter(url).tell(Phase.RUNNING, TASK)
    ((path, authorization, body),) = seen
    assert (path, authorization) == ("/sedna/workers/w/info", "Bearer secret")
    assert decode_message(body) == WorkerMessage("w", "default", "classify", Phase.RUNNING, TASK)


def test_a_message_is_sent_again_until_the_controller_has_it() -> None:
    waits: list[float] = []
    with listening_controller(503, 404, 200) as (url, seen):
        assert reporter(url, waits).tell(Phase.RUNNING, TASK)
    assert len(seen) == 3
    assert waits == list(WAITS_S[:2])


def test_a_message_that_is_never_taken_is_sent_once() -> None:
    with listening_controller(401) as (url, seen):
        assert not reporter(url).tell(Phase.RUNNING, TASK)
    assert len(seen) == 1


def test_a_conversion_goes_on_without_a_controller() -> None:
    with listening_controller() as (url, _):
        pass  # nobody listens at its port any more
    waits: list[float] = []
    assert not reporter(url, waits).tell(Phase.RUNNING, TASK)
    assert waits == list(WAITS_S)


@pytest.mark.parametrize("url", ["controller:8480", "ftp://controller", "http://", "http://controller/path", "http://a:port"])
def test_what_is_no_address_of_a_controller_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("--report: expected the address of a controller")):
        Reporter.of_environment(url, ENVIRONMENT)


def test_the_environment_has_to_name_the_worker() -> None:
    with pytest.raises(ConfigError, match=f"expected the environment variable {OWNER_VARIABLE}"):
        Reporter.of_environment("http://controller", {**ENVIRONMENT, OWNER_VARIABLE: ""})
