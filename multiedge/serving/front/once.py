"""One computation for each request id, however often and from however many connections it is asked for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from dataclasses import dataclass, replace

from multiedge.errors import MultiedgeError, one_line
from multiedge.serving.front.requests import Key, RequestStore, digest_of, require_same
from multiedge.serving.inference.contract import Busy, DeadlineExceeded, InferReply, InferRequest, RequestError

log = logging.getLogger(__name__)

LOOK_S = 0.1
"""How often a client that waits is looked at."""

Compute = Callable[[InferRequest], InferReply]
Encode = Callable[[InferRequest, InferReply | MultiedgeError], bytes]
"""The body that is sent to the callback of a request."""


@dataclass(frozen=True)
class _Running:
    digest: str
    future: Future[InferReply]


class OnceById:
    """Answers requests that have an id. The computation goes on when the client has gone, and its answer is kept.

    Args:
        store: Has the answers.
        encode: Makes the bodies for callbacks.
        on_ready: Called when a body is to be sent.
        most: Requests that are computed at the same time; others are refused as Busy.
    """

    def __init__(self, store: RequestStore, encode: Encode, on_ready: Callable[[], None], most: int = 64) -> None:
        self._store, self._encode, self._on_ready, self._most = store, encode, on_ready, most
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._running: dict[Key, _Running] = {}
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="once")

    def infer(self, request: InferRequest, compute: Compute, callback: str = "") -> InferReply:
        """The answer of the request's id: the kept one, that of a computation that is going on, or of a new one.

        Args:
            request: It has an id.
            compute: Computes it; called in another thread, without the client's deadline.
            callback: Where its result is sent as well; '' for nowhere.

        Raises:
            Busy: If too many are computed.
            DeadlineExceeded: If the client's time is over; the answer can be asked for again.
            Invalid: If the id was used for other inputs.
            RequestError: As `compute` does.
        """
        digest, key = digest_of(request), (request.model, request.id)
        with self._lock:
            running = self._running.get(key)
            if running is not None:
                require_same(request, running.digest, digest)
            else:
                kept = self._store.answer(request, digest)
                if kept is not None:
                    return replace(kept, parameters={**kept.parameters, "stored": True})
                running = self._begin(request, compute, digest, callback)
        return _awaited(running.future, request)

    def resume(self, compute_of: Callable[[str], Compute | None]) -> int:
        """Computes the requests with a callback that were accepted before a restart and not answered; how many.

        Args:
            compute_of: What computes the requests of a model; None for a model that is not there.
        """
        begun = 0
        for request in self._store.accepted():
            compute = compute_of(request.model)
            key = (request.model, request.id)
            with self._lock:
                if compute is not None and key not in self._running and len(self._running) < self._most:
                    self._begin(request, compute, digest_of(request), "")
                    begun += 1
        return begun

    def close(self) -> None:
        """Takes no more, and ends what is computed; accepted requests are computed after the next start."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, request: InferRequest, compute: Compute, digest: str, callback: str) -> _Running:
        if len(self._running) >= self._most:
            raise Busy(f"{self._most} requests with an id are computed; send it later")
        if callback:
            self._store.accept(request, digest, callback)
        running = _Running(digest, Future())
        self._running[request.model, request.id] = running
        self._pool.submit(
            self._compute, replace(request, deadline_s=None, is_active=lambda: not self._closed.is_set()), compute, running
        )
        return running

    def _compute(self, request: InferRequest, compute: Compute, running: _Running) -> None:
        key = (request.model, request.id)
        try:
            reply = compute(request)
            body = self._encode(request, reply) if self._store.sent(key) else None
            self._store.put(request, running.digest, reply, body)
        except Exception as error:  # of whatever kind: the clients get it
            self._fail(request, error)
            with self._lock:
                del self._running[key]
            running.future.set_exception(error)
            return
        finally:
            self._on_ready()
        with self._lock:  # from here on the store answers
            del self._running[key]
        running.future.set_result(reply)

    def _fail(self, request: InferRequest, error: Exception) -> None:
        """The callback gets an error, too."""
        if self._store.sent((request.model, request.id)) and not self._closed.is_set():
            known = error if isinstance(error, MultiedgeError) else RequestError(f"{type(error).__name__}: {one_line(error)}")
            self._store.fail(request, self._encode(request, known))


def _awaited(future: Future[InferReply], request: InferRequest) -> InferReply:
    """The answer within the client's time."""
    while request.is_active():
        left_s = request.time_left_s
        if left_s is not None and left_s <= 0:
            break
        try:
            return future.result(LOOK_S if left_s is None else min(left_s, LOOK_S))
        except TimeoutError:
            if future.done():  # the computation itself raised it
                raise
    raise DeadlineExceeded(f"request '{request.id}' is being computed; ask again with the same id")
