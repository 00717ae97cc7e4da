"""One connection to a hub: requests of HTTP, and what went wrong in one line."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from multiedge.errors import MultiedgeError, NetworkError, one_line
from multiedge.formats.documents import parse_json
from multiedge.network.identity import HUB, require_peer

CHUNK_BYTES = 256 << 10
MAX_ANSWER_BYTES = 64 << 20
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, http.client.CannotSendRequest)


class HubConnection:
    """Sends requests, one after another, over a connection that is made when it is needed.

    Args:
        host: Name or address.
        port: Port.
        place: How every error begins.
        context: What TLS to use; None is none.
        timeout_s: How long to wait at each step.
        peer: The name that the certificate of the other side must have; '' is any name.
    """

    def __init__(
        self, host: str, port: int, place: str, context: ssl.SSLContext | None, timeout_s: float, peer: str = HUB
    ) -> None:
        self._place = place
        self._connection = (
            _TlsConnection(host, port, place, context, timeout_s, peer)
            if context
            else http.client.HTTPConnection(host, port, timeout=timeout_s, blocksize=CHUNK_BYTES)
        )

    def close(self) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
        """The body of an answer; NetworkError for one that is a refusal."""
        answer, data = self.request(method, path, body, headers)
        if answer.status >= 300:
            raise self._refusal(answer.status, data)
        return data

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, streams: bool = False
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """The answer and its body. If it `streams`, the body of status 206 is left to be read."""
        was_open = self._connection.sock is not None
        try:
            try:
                answer = self._send(method, path, body, headers)
            except _STALE:
                # The hub closes connections that are idle; a file object cannot be sent twice.
                self._connection.close()
                if not was_open or isinstance(body, Counted):
                    raise
                answer = self._send(method, path, body, headers)
            data = b"" if streams and answer.status == http.client.PARTIAL_CONTENT else answer.read(MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._unreachable(error) from None
        except MultiedgeError:
            self._connection.close()
            raise
        if len(data) > MAX_ANSWER_BYTES:
            self._connection.close()
            raise NetworkError(f"{self._place}: expected an answer of at most {MAX_ANSWER_BYTES} bytes, got a longer one")
        return answer, data

    def stream(self, path: str, offset: int, length: int) -> Iterator[bytes]:
        """The bytes [offset, offset + length) of what is at `path`, in pieces; NetworkError if they end before."""
        answer, body = self.request("GET", path, headers={"Range": f"bytes={offset}-{offset + length - 1}"}, streams=True)
        if answer.status != http.client.PARTIAL_CONTENT:
            raise self._refusal(answer.status, body)
        left = length
        try:
            while left:
                piece = answer.read(min(left, CHUNK_BYTES))
                if not piece:
                    raise NetworkError(f"{self._place}: the connection ended {left} bytes before the end of a range")
                left -= len(piece)
                yield piece
            answer.read()  # nothing is left; the connection serves the next request
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            if left:
                self.close()

    def _send(self, method: str, path: str, body: Any, headers: Mapping[str, str] | None) -> http.client.HTTPResponse:
        try:
            self._connection.request(method, path, body, dict(headers or {}))
        except (BrokenPipeError, ConnectionResetError):
            # A hub that refuses a long body answers before it has read all of it.
            if isinstance(body, Counted):
                with suppress(OSError, http.client.HTTPException):
                    return self._connection.getresponse()
            raise
        return self._connection.getresponse()

    def _refusal(self, status: int, data: bytes) -> NetworkError:
        try:
            reason = parse_json(data, self._place)["error"].text()
        except MultiedgeError:
            reason = f"refused with status {status}"
        return NetworkError(f"{self._place}: {reason}", status=status)

    def _unreachable(self, error: Exception) -> NetworkError:
        if isinstance(error, ssl.SSLError):
            return NetworkError(f"{self._place}: {_tls_reason(error)}")
        if isinstance(error, TimeoutError):
            return NetworkError(f"{self._place}: gave no answer in {self._connection.timeout:g} s")
        if isinstance(error, http.client.RemoteDisconnected):
            return NetworkError(f"{self._place}: ended the connection; if it uses TLS, give --identity FOLDER")
        reason = one_line(error) or type(error).__name__
        return NetworkError(f"{self._place}: cannot be reached: {reason}; start one with: multiedge hub run")


class _TlsConnection(http.client.HTTPSConnection):
    """HTTP over TLS with the hub, and with nobody else whom the CA knows."""

    def __init__(self, host: str, port: int, place: str, context: ssl.SSLContext, timeout_s: float, peer: str) -> None:
        super().__init__(host, port, timeout=timeout_s, context=context, blocksize=CHUNK_BYTES)
        self._place, self._peer = place, peer

    def connect(self) -> None:
        super().connect()
        if self._peer:
            require_peer(self.sock, self._peer, self._place)


class Counted:
    """A file whose bytes are counted as they are read, for http.client."""

    def __init__(self, file: Any, progress: Callable[[int], None]) -> None:
        self._file, self._progress, self.count = file, progress, 0

    def read(self, size: int) -> bytes:
        piece: bytes = self._file.read(size)
        self.count += len(piece)
        self._progress(len(piece))
        return piece


_TLS_REASONS = {
    "CERTIFICATE_EXPIRED": "this identity's certificate has expired; join again with a token of: multiedge hub token",
    "UNKNOWN_CA": "this identity is of another hub; join this one with a token of: multiedge hub token",
    "CERTIFICATE_REQUIRED": "expected a client with a certificate; give --identity FOLDER",
    "WRONG_VERSION_NUMBER": "answered without TLS; leave --identity out, or run the hub with one",
}


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"TLS: its certificate is not accepted: {error.verify_message};"
            " give the identity of this hub, and compare this machine's clock"
        )
    found = next((text for word, text in _TLS_REASONS.items() if word in (error.reason or "")), None)
    return f"TLS: {found or one_line(error)}"
