"""A node's answer to `GET /metrics`, on the port on which it also takes the lines of callers."""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable

from multiedge.errors import ConfigError
from multiedge.serving.node.server import Accepted

SCRAPE = "GET /metrics"
"""The kind of a connection whose first line asks for metrics."""
MOST_HEAD_BYTES = 16 << 10
SCRAPE_S = 5.0
"""How long the rest of a request may take to come, and its answer to be taken."""


def answer_scrape(accepted: Accepted, text: Callable[[str], tuple[bytes, str]]) -> None:
    """Sends the metrics, and ends the connection. ConfigError for what is no request of HTTP.

    Args:
        accepted: A connection whose first line begins with SCRAPE.
        text: The metrics and their content type, of what the request accepts.
    """
    accepted.connection.settimeout(SCRAPE_S)
    body, content_type = text(_headers(accepted).get("Accept", ""))
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    accepted.connection.sendall(head.encode("ascii") + body)


def _headers(accepted: Accepted) -> http.client.HTTPMessage:
    """The fields of the request."""
    data = b"\r\n" + accepted.rest
    while b"\r\n\r\n" not in data:
        piece = accepted.connection.recv(MOST_HEAD_BYTES)
        data += piece
        if not piece or len(data) > MOST_HEAD_BYTES:
            raise ConfigError("expected a request of HTTP with an empty line at its end")
    try:
        return http.client.parse_headers(io.BytesIO(data.removeprefix(b"\r\n")))
    except http.client.HTTPException:
        raise ConfigError("expected the fields of a request of HTTP") from None
