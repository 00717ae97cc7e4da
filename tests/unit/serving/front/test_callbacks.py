import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from multiedge.errors import ConfigError
from multiedge.serving.front.callbacks import CallbackRules, Callbacks, Receivers, is_final, next_try_s, post
from multiedge.serving.front.requests import Callback, RequestStore, digest_of
from multiedge.serving.inference.contract import InferReply
from tests.builders.front import request, wait_until

RULES = CallbackRules(first_s=1.0, longest_s=8.0, give_up_s=100.0)
QUICK = CallbackRules(first_s=0.02, longest_s=0.05, give_up_s=5.0, timeout_s=2.0)
URL = "http://127.0.0.1:9/results"


@pytest.mark.parametrize(
    ("failures", "now_s", "expected"),
    [(1, 0.0, 1.0), (2, 1.0, 3.0), (4, 7.0, 15.0), (9, 50.0, 58.0), (10_000, 50.0, 58.0), (9, 93.0, None)],
    ids=["soon", "then later", "and later", "up to the longest time", "however often", "and no more after a day"],
)
def test_the_times_at_which_a_result_is_sent_again(failures, now_s, expected):
    assert next_try_s(RULES, failures, 0.0, now_s) == expected


@pytest.mark.parametrize(
    ("status", "final"), [(404, True), (301, True), (408, False), (429, False), (500, False), (503, False)]
)
def test_which_refusals_hold_for_ever(status, final):
    assert is_final(status) is final


@pytest.mark.parametrize(
    ("url", "permitted"),
    [
        ("http://desk:80/results", True),
        ("http://desk/results/7?x=1", True),
        ("http://desk/resultsx", False),
        ("http://desk/results/../admin", False),
        ("http://desk:8080/results", False),
        ("https://desk/results", False),
        ("http://other/results", False),
        ("http://desk@other/results", False),
        ("http://desk/results\n", False),
        ("file:///etc/passwd", False),
        ("results", False),
    ],
)
def test_results_go_to_permitted_receivers_alone(url, permitted):
    assert (not Receivers(("http://desk/results",)).refusal_of(url)) is permitted


def test_without_receivers_every_callback_is_refused():
    assert "--callback-to" in Receivers().refusal_of(URL)


def test_a_receiver_that_is_no_address_is_an_error():
    with pytest.raises(ConfigError, match="expected an address"):
        Receivers(("desk",))


class Receiver:
    """An HTTP server that answers with the next of `answers`, and then with 200."""

    def __init__(self, *answers: int) -> None:
        self.got: list[tuple[str, bytes]] = []
        left = list(answers)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.headers["Idempotency-Key"], body))
                self.send_response(left.pop(0) if left else 200)
                self.send_header("Location", URL)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/results"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def store_with_result(folder, url: str) -> RequestStore:
    store, asked = RequestStore(folder), request(id="a")
    store.accept(asked, digest_of(asked), url)
    store.put(asked, digest_of(asked), InferReply({"y": np.zeros(1)}), b"{}")
    return store


def is_over(store: RequestStore) -> bool:
    sent = store.sent(("small", "a"))
    return sent is not None and sent.is_over


def test_a_result_is_sent_until_it_is_taken(tmp_path):
    with Receiver(503, 429) as receiver:
        store = store_with_result(tmp_path, receiver.url)
        with Callbacks(store, QUICK):
            wait_until(lambda: is_over(store))
        assert receiver.got == [("a", b"{}")] * 3
    sent = store.sent(("small", "a"))
    assert sent is not None
    assert (sent.failures, sent.reason) == (2, "")
    store.close()


def test_what_was_not_sent_before_a_restart_is_sent_after_it(tmp_path):
    store = store_with_result(tmp_path, URL)
    with Callbacks(store, CallbackRules(first_s=0.05), send=lambda callback, timeout_s: "refused"):
        wait_until(lambda: (sent := store.sent(("small", "a"))) is not None and sent.failures > 0)
    store.close()
    again, sent = RequestStore(tmp_path), []

    def send(callback: Callback, timeout_s: float) -> int:
        sent.append(callback.body)
        return 200

    with Callbacks(again, QUICK, send):
        wait_until(lambda: is_over(again))
    assert sent == [b"{}"]
    again.close()


def test_a_result_that_is_refused_for_good_is_given_up(tmp_path):
    with Receiver(404) as receiver:
        store = store_with_result(tmp_path, receiver.url)
        with Callbacks(store, QUICK):
            wait_until(lambda: is_over(store))
        assert len(receiver.got) == 1
    sent = store.sent(("small", "a"))
    assert sent is not None
    assert sent.reason == "status 404"
    store.close()


def test_a_redirection_is_not_followed():
    with Receiver(302) as receiver:
        assert post(Callback("small", "a", receiver.url, b"{}", 0, 0.0), 2.0) == 302


def test_a_receiver_that_is_away_is_a_reason():
    assert "refused" in str(post(Callback("small", "a", URL, b"{}", 0, 0.0), 2.0))


def test_a_receiver_that_does_not_answer_delays_no_others(tmp_path):
    store, sent = RequestStore(tmp_path), []
    for number in range(3):
        asked = request(id=str(number))
        store.accept(asked, digest_of(asked), f"http://host-{number}/")
        store.put(asked, digest_of(asked), InferReply({"y": np.zeros(1)}), b"{}")
    hangs = threading.Event()

    def send(callback: Callback, timeout_s: float) -> int:
        if callback.id == "0":
            hangs.wait(5.0)
        sent.append(callback.id)
        return 200

    with Callbacks(store, QUICK, send):
        wait_until(lambda: len(sent) == 2)
        assert sorted(sent) == ["1", "2"]
        hangs.set()
        wait_until(lambda: len(sent) == 3)
    store.close()
