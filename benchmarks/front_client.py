"""A client of a front end: sends requests at random times, again under the same id where that fails, and judges the answers.

    python benchmarks/front_client.py < job.json > outcomes.json

It uses the standard library and numpy alone, so that what it measures is not a client library's.
"""

from __future__ import annotations

import http.client
import json
import random
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HEADER = "Inference-Header-Content-Length"
TOLERANCE = 1e-4
AGAIN_S = 0.1
THREADS = 64


@dataclass(frozen=True)
class Job:
    """What a client does.

    Attributes:
        address: HOST:PORT of the front end over HTTP.
        model: Name of the model.
        inputs: A file of numpy with inputs `x0`, `x1`, ... of a model with one input, and the whole model's answers `y0`, ...
        name: Begins the ids of its requests.
        requests: How many it sends.
        rate_per_s: How many are due per second, at random times.
        seed: Of these times.
        parameters: Of all requests.
        toggle_each: The parameter `offload` turns after so many requests, from true; 0 for not at all.
        identity: A folder with certificate, key and CA; '' without TLS.
        patience_s: For how long a request is sent again.
        timeout_s: How long one try may take; then the client connects again and asks for the same id.
    """

    address: str
    model: str
    inputs: str
    name: str = "client"
    requests: int = 10
    rate_per_s: float = 10.0
    seed: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    toggle_each: int = 0
    identity: str = ""
    patience_s: float = 90.0
    timeout_s: float = 10.0


@dataclass(frozen=True)
class Outcome:
    """What became of a request. Times are on CLOCK_MONOTONIC, which all processes of the machine share."""

    id: str
    issued_s: float
    done_s: float
    tries: int
    is_right: bool
    row: str = ""
    attempts: int = 0
    is_stored: bool = False
    error: str = ""


class Client:
    """Sends requests from several threads, each with a connection of its own."""

    def __init__(self, job: Job) -> None:
        self._job = job
        with np.load(job.inputs) as data:
            count = sum(name.startswith("x") for name in data.files)
            self._inputs = [data[f"x{number}"] for number in range(count)]
            self._answers = [data[f"y{number}"] for number in range(count)]
            self._input, self._output = (str(data[name]) for name in ("input", "output"))
        self._local = threading.local()
        self._context = _context(Path(job.identity)) if job.identity else None

    def run(self) -> list[Outcome]:
        """All requests at their times."""
        job, generator = self._job, random.Random(self._job.seed)
        with ThreadPoolExecutor(THREADS) as pool:
            due_s, futures = time.monotonic(), []
            for number in range(job.requests):
                due_s += generator.expovariate(job.rate_per_s)
                time.sleep(max(0.0, due_s - time.monotonic()))
                futures.append(pool.submit(self.ask, number))
            return [future.result() for future in futures]

    def ask(self, number: int) -> Outcome:
        """One request, until it is answered or the patience is over."""
        identity, issued_s = f"{self._job.name}-{number}", time.monotonic()
        tries, error = 0, ""
        while time.monotonic() - issued_s < self._job.patience_s:
            tries += 1
            try:
                reply, made = self._try(number, identity)
            except (OSError, http.client.HTTPException, ValueError) as failure:
                self._drop()
                error = f"{type(failure).__name__}: {failure}"
                time.sleep(AGAIN_S)
                continue
            wanted = self._answers[number % len(self._answers)]
            is_right = made.shape == wanted.shape and np.allclose(made, wanted, rtol=TOLERANCE, atol=TOLERANCE)
            said = reply.get("parameters", {})
            row, attempts, is_stored = said.get("row", ""), said.get("attempts", 0), said.get("stored", False)
            return Outcome(identity, issued_s, time.monotonic(), tries, bool(is_right), row, attempts, is_stored)
        return Outcome(identity, issued_s, time.monotonic(), tries, False, error=error)

    def _try(self, number: int, identity: str) -> tuple[dict[str, Any], npt.NDArray[Any]]:
        body, size = self._encoded(number, identity)
        connection = self._connection()
        connection.request("POST", f"/v2/models/{self._job.model}/infer", body, {HEADER: str(size)})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise ValueError(f"status {answer.status}: {data[:200].decode(errors='replace')}")
        head = int(answer.headers[HEADER])
        reply: dict[str, Any] = json.loads(data[:head])
        (output,) = reply["outputs"]
        return reply, np.frombuffer(data[head:], np.float32).reshape(output["shape"])

    def _encoded(self, number: int, identity: str) -> tuple[bytes, int]:
        job, x = self._job, self._inputs[number % len(self._inputs)]
        parameters: dict[str, Any] = {**job.parameters, "binary_data_output": True}
        if job.toggle_each:
            parameters["offload"] = number // job.toggle_each % 2 == 0
        described = {"name": self._input, "shape": x.shape, "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}
        request = {"id": identity, "parameters": parameters, "inputs": [described], "outputs": [{"name": self._output}]}
        head = json.dumps(request).encode()
        return head + x.tobytes(), len(head)

    def _connection(self) -> http.client.HTTPConnection:
        known: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if known is None:
            address, timeout_s = self._job.address, self._job.timeout_s
            if self._context:
                known = http.client.HTTPSConnection(address, timeout=timeout_s, context=self._context)
            else:
                known = http.client.HTTPConnection(address, timeout=timeout_s)
            self._local.connection = known
        return known

    def _drop(self) -> None:
        self._connection().close()
        self._local.connection = None


def _context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # certificates are of names, not of addresses
    context.load_verify_locations(folder / "ca.pem")
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


if __name__ == "__main__":
    json.dump([asdict(outcome) for outcome in Client(Job(**json.load(sys.stdin))).run()], sys.stdout)
