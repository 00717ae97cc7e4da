"""Responses of HTTP/1.1: bodies of each kind, in pieces of any size, and what is none."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiedge.errors import NetworkError
from multiedge.load.response import ResponseReader

COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n"
WHOLE = (
    (COUNTED, 200, b"hello"),
    (CHUNKED, 200, b"hello"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + COUNTED, 200, b"hello"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    (b"HTTP/1.1 503 Busy\r\ncontent-length:0\r\n\r\n", 503, b""),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, b""),
)


@given(case=st.sampled_from(WHOLE), cuts=st.lists(st.integers(0, 120), max_size=6))
def test_a_response_is_the_same_in_whatever_pieces_it_comes(case: tuple[bytes, int, bytes], cuts: list[int]) -> None:
    data, status, body = case
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader = ResponseReader()
    for begin, end in pairwise(places):
        assert not reader.is_complete or begin == end == len(data)
        if begin < end:
            reader.feed(data[begin:end])
    assert (reader.is_complete, reader.status, bytes(reader.body), reader.closes) == (True, status, body, False)


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    reader = ResponseReader()
    reader.feed(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome")
    reader.feed(b" text")
    assert not reader.is_complete
    reader.end()
    assert (reader.is_complete, reader.closes, bytes(reader.body)) == (True, True, b"some text")


@pytest.mark.parametrize("data", [b"", COUNTED[:-1], CHUNKED[:-4], CHUNKED[:20]])
def test_a_connection_that_ends_too_early_is_an_error(data: bytes) -> None:
    reader = ResponseReader()
    reader.feed(data)
    with pytest.raises(NetworkError, match="ended the connection before its answer was complete"):
        reader.end()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", r"expected an answer of HTTP/1.1, got b'SSH-2.0-OpenSSH'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n", "Content-Length: expected a number"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "expected the size of a chunk, got b'zz'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", "expected the size of a chunk"),
        (COUNTED + b"HTTP", "more than one answer"),
        (b"x" * 70_000, "expected a head of at most 65536 bytes"),
    ],
)
def test_what_is_no_response_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(NetworkError, match=reason):
        ResponseReader().feed(data)


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close", True),
        (b"HTTP/1.0 200 OK", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive", False),
        (b"HTTP/1.1 200 OK", False),
    ],
)
def test_a_response_says_whether_its_connection_goes_on(head: bytes, closes: bool) -> None:
    reader = ResponseReader()
    reader.feed(head + b"\r\nContent-Length: 0\r\n\r\n")
    assert reader.closes is closes
