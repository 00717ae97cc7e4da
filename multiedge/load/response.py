"""Responses of HTTP/1.1 out of the pieces in which they arrive: RFC 9112, as far as an answer to a POST needs it.

A library's parser takes longer than everything else that a sender does for a request, and would show in what it measures.
"""

from __future__ import annotations

from enum import Enum

from multiedge.errors import NetworkError

MOST_HEAD_BYTES = 64 << 10
END_OF_HEAD = b"\r\n\r\n"
_LONGEST_SIZE = 16


class _Body(Enum):
    """What comes next."""

    COUNTED = "so many bytes"
    CHUNK_SIZE = "the size of a chunk"
    TRAILER = "a line behind the last chunk"
    OPEN = "all until the connection ends"


class ResponseReader:
    """Reads one response.

    Attributes:
        status: The status; 0 before the head is complete.
        head: The head, without the empty line.
        body: As much of the body as is here.
        is_complete: Whether nothing more belongs to it.
        closes: Whether the server ends the connection after it.
    """

    def __init__(self) -> None:
        self.status, self.head, self.body = 0, b"", bytearray()
        self.is_complete, self.closes = False, False
        self._rest = bytearray()
        self._next, self._left, self._is_chunked = _Body.COUNTED, 0, False

    def feed(self, data: bytes) -> None:
        """Takes a piece. Raises NetworkError for what is no response, and for bytes behind its end."""
        self._rest += data
        while not self.status:
            head, mark, rest = self._rest.partition(END_OF_HEAD)
            if not mark:
                if len(self._rest) > MOST_HEAD_BYTES:
                    raise NetworkError(f"expected a head of at most {MOST_HEAD_BYTES} bytes, got a longer one")
                return
            self._rest = rest
            self._read_head(bytes(head))
        self._read_body()
        if self.is_complete and self._rest:
            raise NetworkError("the server sent more than one answer")

    def end(self) -> None:
        """The server has ended the connection. Raises NetworkError if the response is not complete."""
        if self._next is not _Body.OPEN or not self.status:
            raise NetworkError("the server ended the connection before its answer was complete")
        self.is_complete = self.closes = True

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        version, _, rest = first.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise NetworkError(f"expected an answer of HTTP/1.1, got {first[:40]!r}")
        status = int(rest[:3])
        if status < 200:  # an interim response, such as 100 Continue
            return
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        self.status, self.head = status, head
        options = fields.get(b"connection", b"").lower()
        self.closes = b"close" in options or (version == b"HTTP/1.0" and b"keep-alive" not in options)
        length = fields.get(b"content-length")
        if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            self._next, self._is_chunked = _Body.CHUNK_SIZE, True
        elif length is not None:
            if not length.isdigit():
                raise NetworkError(f"Content-Length: expected a number, got {length[:40]!r}")
            self._left = int(length)
        elif status not in (204, 304):
            self._next = _Body.OPEN

    def _read_body(self) -> None:
        while self._next is not _Body.COUNTED or self._is_chunked:
            if not self._step():
                return
        self._take_counted()
        self.is_complete = self._left == 0

    def _step(self) -> bool:
        """Reads one part of a body whose length is not known before; False if more must arrive, or nothing is left."""
        if self._next is _Body.OPEN:
            self.body += self._rest
            self._rest.clear()
            return False
        if self._next is _Body.COUNTED:
            self._take_counted()
            if self._left:
                return False
            del self.body[-2:]  # the line break that ends a chunk counts with it
            self._next = _Body.CHUNK_SIZE
            return True
        line, mark, rest = self._rest.partition(b"\r\n")
        if not mark:
            return False
        self._rest = rest
        if self._next is _Body.TRAILER:
            self.is_complete = not line
            return bool(line)
        size = _size(bytes(line))
        self._next, self._left = (_Body.COUNTED, size + 2) if size else (_Body.TRAILER, 0)
        return True

    def _take_counted(self) -> None:
        piece = self._rest[: self._left]
        self.body += piece
        self._left -= len(piece)
        del self._rest[: len(piece)]


def _size(line: bytes) -> int:
    """The size in the first line of a chunk, which may have extensions behind it."""
    digits = line.partition(b";")[0].strip()
    try:
        size = int(digits, 16) if len(digits) <= _LONGEST_SIZE else -1
    except ValueError:
        size = -1
    if size < 0:
        raise NetworkError(f"expected the size of a chunk, got {line[:40]!r}")
    return size
