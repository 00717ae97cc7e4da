from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from multiedge.errors import StageError
from multiedge.workflows.deployed import HEADER, ask, close_connections

Reply = tuple[int, bytes, int | None]
X = np.arange(6, dtype=np.float32).reshape(2, 3)


@contextmanager
def server(answer: Callable[[dict[str, Any], bytes], Reply], closes: bool = False) -> Iterator[str]:
    """The URL of a server that answers each request by `answer(JSON, contents)`: status, body, size of its JSON."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            size = int(self.headers[HEADER])
            status, content, json_bytes = answer(json.loads(body[:size]), body[size:])
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if json_bytes is not None:
                self.send_header(HEADER, str(json_bytes))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = closes

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        close_connections()
        http.shutdown()
        http.server_close()
        thread.join()


def doubled(request: dict[str, Any], contents: bytes) -> Reply:
    x = 2 * np.frombuffer(contents, np.float32)
    output = {"name": "y", "datatype": "FP32", "shape": request["inputs"][0]["shape"]}
    head = json.dumps({"outputs": [{**output, "parameters": {"binary_data_size": x.nbytes}}]}).encode()
    return 200, head + x.tobytes(), len(head)


def listed(request: dict[str, Any], contents: bytes) -> Reply:
    x = 2 * np.frombuffer(contents, np.float32)
    output = {"name": "y", "datatype": "FP32", "shape": request["inputs"][0]["shape"], "data": x.tolist()}
    return 200, json.dumps({"outputs": [output]}).encode(), None


@pytest.mark.parametrize("answer", [doubled, listed])
def test_a_reply_has_its_tensors_behind_the_json_or_in_it(answer: Callable[[dict[str, Any], bytes], Reply]) -> None:
    with server(answer) as url:
        assert np.array_equal(ask(url=url, model="double", results=["y"], x=X)["y"], 2 * X)


def test_a_connection_that_the_server_closes_is_opened_again() -> None:
    with server(doubled, closes=True) as url:
        for _ in range(3):
            assert np.array_equal(ask(url=url, model="double", results=["y"], x=X)["y"], 2 * X)


def test_a_request_says_which_outputs_it_wants() -> None:
    seen: list[dict[str, Any]] = []

    def answer(request: dict[str, Any], contents: bytes) -> Reply:
        seen.append(request)
        return doubled(request, contents)

    with server(answer) as url:
        ask(url=url, model="double", results=["y"], x=X)
    assert seen[0]["outputs"] == [{"name": "y", "parameters": {"binary_data": True}}]
    assert seen[0]["inputs"][0]["datatype"] == "FP32"


REFUSALS = {
    "a status": (
        lambda request, contents: (404, b'{"error": "no model"}', None),
        'refused the request with 404: {"error": "no',
    ),
    "another output": (lambda request, contents: doubled(request, contents), "expected outputs z, got y; correct 'outputs'"),
    "no JSON": (lambda request, contents: (200, b"<html>", None), "not valid JSON"),
    "too few bytes": (lambda request, contents: (200, doubled(request, contents)[1][:-4], doubled(request, contents)[2]), "y"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_server_gets_wrong_is_an_error_of_one_line(name: str) -> None:
    answer, expected = REFUSALS[name]
    with server(answer) as url, pytest.raises(StageError) as caught:
        ask(url=url, model="double", results=["z" if name == "another output" else "y"], x=X)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_named() -> None:
    with server(doubled) as url:
        pass
    with pytest.raises(
        StageError, match=rf"^{url}/double: the server cannot be reached: .*; start it, or change the workflow$"
    ):
        ask(url=url, model="double", results=["y"], x=X)
