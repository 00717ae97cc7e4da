"""Results sent to the address that a request gave, again and again until it takes them.

The schedule is a pure function; what is to be sent is in the store of requests, so that it survives a restart. A result may
arrive twice, if the receiver took it and its answer was lost: the header `Idempotency-Key` has the request's id.
"""

from __future__ import annotations

import http.client
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from multiedge.errors import ConfigError, describe, one_line, require_least
from multiedge.serving.front.requests import Callback, RequestStore

log = logging.getLogger(__name__)

SENDERS = 4
"""Results that are sent at the same time: a receiver that does not answer delays few others."""
LOOK_S = 0.2
PORTS = {"http": 80, "https": 443}
AGAIN_STATUS = (408, 425, 429)
"""Refusals after which the same result may be taken; so may it after any status from 500."""
MOST_DOUBLED = 30


@dataclass(frozen=True)
class CallbackRules:
    """When a result is sent again.

    Attributes:
        first_s: After the first failure; each further one doubles it.
        longest_s: The longest time between two.
        give_up_s: After so long since it was answered, no more.
        timeout_s: How long a receiver may take.

    Raises:
        ConfigError: If a value is negative.
    """

    first_s: float = 1.0
    longest_s: float = 300.0
    give_up_s: float = 24 * 3600.0
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require_least(name, value, 0.0)


def next_try_s(rules: CallbackRules, failures: int, ready_s: float, now_s: float) -> float | None:
    """When to send a result again.

    Args:
        rules: The schedule.
        failures: How often it failed, at least once.
        ready_s: When the result was there.
        now_s: The time.

    Returns:
        A time; None to give up.
    """
    due_s = now_s + min(rules.longest_s, rules.first_s * 2 ** min(failures - 1, MOST_DOUBLED))
    return due_s if due_s <= ready_s + rules.give_up_s else None


def is_final(status: int) -> bool:
    """Whether a receiver's refusal holds for every later time."""
    return 300 <= status < 500 and status not in AGAIN_STATUS


@dataclass(frozen=True)
class Receivers:
    """Where results may be sent: addresses that begin with one of these. A request must not make this machine send elsewhere.

    Raises:
        ConfigError: For one that is no http or https address.
    """

    prefixes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for prefix in self.prefixes:
            if _place(prefix) is None:
                raise ConfigError(f"callbacks: expected an address such as http://HOST:PORT/PATH, got {describe(prefix)}")

    def refusal_of(self, url: str) -> str:
        """Why nothing may be sent there; '' if it may."""
        place = _place(url)
        if place is None:
            return f"callback: expected an address such as http://HOST:PORT/PATH, got {describe(url)}"
        if not any(_is_below(place, _place(prefix)) for prefix in self.prefixes):
            known = ", ".join(self.prefixes) or "none"
            return f"callback: {describe(url)} is none of the permitted receivers: {known}; see --callback-to"
        return ""


_Place = tuple[str, str, int, str]


def _place(url: str) -> _Place | None:
    """Scheme, host, port and path; None for what is no such address, or hides its host behind a user name."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc or not url.isprintable() or " " in url:
        return None
    return parts.scheme, parts.hostname, port or PORTS[parts.scheme], parts.path or "/"


def _is_below(place: _Place, prefix: _Place | None) -> bool:
    if prefix is None or place[:3] != prefix[:3] or ".." in place[3].split("/"):
        return False
    return place[3] == prefix[3] or place[3].startswith(prefix[3].rstrip("/") + "/")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A permitted receiver must not lead to another."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def post(callback: Callback, timeout_s: float) -> int | str:
    """Sends a result; the status of the answer, or why there was none."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": callback.id}
    request = urllib.request.Request(callback.url, callback.body, headers, method="POST")
    try:
        with _OPENER.open(request, timeout=timeout_s) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return one_line(error) or type(error).__name__


class Callbacks:
    """Sends what is due until `close`; a context manager.

    Args:
        store: Has what is to be sent.
        rules: The schedule.
        send: A result to a status, or to why there was none.
    """

    def __init__(
        self,
        store: RequestStore,
        rules: CallbackRules = CallbackRules(),
        send: Callable[[Callback, float], int | str] = post,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._rules, self._send, self._now = store, rules, send, clock
        self._news, self._closed = threading.Event(), threading.Event()
        self._sending: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="callback")
        self._thread = threading.Thread(target=self._run, name="callbacks", daemon=True)

    def __enter__(self) -> Callbacks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wake(self) -> None:
        """There may be a new result."""
        self._news.set()

    def close(self) -> None:
        """Sends no more; what was not sent is sent after the next start."""
        self._closed.set()
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._pool.shutdown(cancel_futures=True)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._begin(self._store.due_callbacks(self._now(), SENDERS + len(self._sending)))
            self._news.wait(LOOK_S)
            self._news.clear()

    def _begin(self, due: Sequence[Callback]) -> None:
        for callback in due:
            with self._lock:
                if callback.key in self._sending or len(self._sending) >= SENDERS:
                    continue
                self._sending.add(callback.key)
            self._pool.submit(self._try, callback)

    def _try(self, callback: Callback) -> None:
        try:
            outcome = self._send(callback, self._rules.timeout_s)
            if isinstance(outcome, int) and 200 <= outcome < 300:
                self._store.callback_done(callback, "")
            else:
                self._failed(callback, outcome)
        finally:
            with self._lock:
                self._sending.discard(callback.key)
            self._news.set()

    def _failed(self, callback: Callback, outcome: int | str) -> None:
        failures, now_s = callback.failures + 1, self._now()
        reason = f"status {outcome}" if isinstance(outcome, int) else outcome
        is_over = isinstance(outcome, int) and is_final(outcome)
        due_s = None if is_over else next_try_s(self._rules, failures, callback.ready_s, now_s)
        if due_s is None:
            log.warning("request '%s': its result was not taken by %s: %s", callback.id, callback.url, reason)
            self._store.callback_done(callback, reason)
        else:
            self._store.callback_failed(callback, failures, due_s, reason)
