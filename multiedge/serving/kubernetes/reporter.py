"""The worker's side: tells the controller how far a conversion is."""

from __future__ import annotations

import http.client
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from multiedge.errors import ConfigError, NetworkError, one_line
from multiedge.serving.kubernetes.address import host_and_port
from multiedge.serving.kubernetes.message import OWNER_KIND, WorkerMessage, encode_message
from multiedge.serving.kubernetes.names import (
    NAME_VARIABLE,
    NAMESPACE_VARIABLE,
    OWNER_KIND_VARIABLE,
    OWNER_VARIABLE,
    TOKEN_VARIABLE,
    info_path,
)
from multiedge.serving.kubernetes.status import Phase
from multiedge.serving.kubernetes.task import TaskInfo

LOGGER = logging.getLogger("multiedge.kubernetes")
TIMEOUT_S = 10.0
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Between the tries of one message."""
_REFUSED = (400, 401, 413)
"""What a controller answers to a message that it will never take."""


@dataclass(frozen=True)
class Reporter:
    """Posts the messages of one worker.

    Attributes:
        host: Of the controller.
        port: Of the controller.
        worker: The message without its news.
        token: What proves that messages are from this worker.
        sleep: Waits between tries.
    """

    host: str
    port: int
    worker: WorkerMessage
    token: str
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def of_environment(cls, url: str, environment: Mapping[str, str]) -> Reporter:
        """The reporter of the worker that the environment names; ConfigError for a variable that is missing."""
        host, port = host_and_port("--report", url)
        values = {name: _given(environment, name) for name in (NAME_VARIABLE, NAMESPACE_VARIABLE, OWNER_VARIABLE)}
        worker = WorkerMessage(
            name=values[NAME_VARIABLE],
            namespace=values[NAMESPACE_VARIABLE],
            owner_name=values[OWNER_VARIABLE],
            status=Phase.RUNNING,
            owner_kind=environment.get(OWNER_KIND_VARIABLE, OWNER_KIND),
        )
        return cls(host, port, worker, environment.get(TOKEN_VARIABLE, ""))

    def tell(self, status: Phase, task: TaskInfo) -> bool:
        """Posts a message, several times if need be; whether the controller has it. What it cannot be told is logged."""
        message = WorkerMessage(
            self.worker.name, self.worker.namespace, self.worker.owner_name, status, task, self.worker.owner_kind
        )
        body = encode_message(message)
        for wait_s in (*WAITS_S, None):
            try:
                self._post(body)
                return True
            except NetworkError as error:
                if wait_s is None or error.status in _REFUSED:
                    LOGGER.warning("--report: %s", error)
                    return False
            self.sleep(wait_s)
        return False

    def _post(self, body: bytes) -> None:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        try:
            connection.request("POST", info_path(self.worker.name), body, headers)
            answer = connection.getresponse()
            text = answer.read(1 << 16).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise NetworkError(f"{self.host}:{self.port}: cannot be reached: {one_line(error)}") from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise NetworkError(f"{self.host}:{self.port}: refused with status {answer.status}: {text}", status=answer.status)


def _given(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise ConfigError(f"--report: expected the environment variable {name}, which the controller sets, got none")
    return value
