"""URLs of servers, and what they say of protocol and model."""

from __future__ import annotations

import pytest

from multiedge.errors import ConfigError, NetworkError
from multiedge.load.place import Place, parse_place, protocol_of, split_answer
from tests.builders.load_servers import asked_server


@pytest.mark.parametrize(
    ("text", "place", "protocol"),
    [
        ("http://h:8082/v2/models/net", Place("http", "h", 8082, "/v2/models/net"), "open-inference"),
        ("127.0.0.1:8082/net", Place("http", "127.0.0.1", 8082, "/net"), "open-inference"),
        ("grpc://[::1]:8001/net", Place("grpc", "::1", 8001, "/net"), "open-inference-grpc"),
        ("https://h/v1/", Place("https", "h", 443, "/v1"), "openai"),
        ("http://h/v1/chat/completions", Place("http", "h", 80, "/v1/chat/completions"), "openai"),
    ],
)
def test_a_url_names_server_model_and_protocol(text: str, place: Place, protocol: str) -> None:
    assert parse_place(text) == place
    assert protocol_of(place) == protocol


def test_an_identity_makes_it_tls() -> None:
    assert parse_place("http://h:1/net", "me").scheme == "https"
    assert parse_place("grpc://h:1/net", "me").channel().tls


@pytest.mark.parametrize(
    "text", ["ftp://h/net", "http://", "http://h:port/net", "http://h:99999/net", "http://h/net?a=1", "grpc:///net"]
)
def test_what_is_no_url_of_a_server_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        parse_place(text)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(NetworkError, match=r"http://127.0.0.1:1/v2: cannot be reached: connection refused"):
        parse_place("127.0.0.1:1").ask("/v2")


def test_a_server_is_asked_directly_as_the_load_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr("urllib.request._opener", None)  # it has the proxies of when it was made
    with asked_server({"name": "here"}) as server:
        assert parse_place(server.url).ask("/v2")["name"].text() == "here"


def test_letters_beyond_ascii_are_quoted_in_paths_and_what_is_quoted_stays() -> None:
    with asked_server({}) as server:
        place = parse_place(server.url)
        for name in ("größe", "gr%C3%B6%C3%9Fe"):
            place.ask(f"/v2/models/{name}")
            assert place.post(f"/v2/models/{name}", b"{}").startswith(b"POST /v2/models/gr%C3%B6%C3%9Fe HTTP/1.1\r\n")
    assert [path for path, _ in server.questions] == ["/v2/models/gr%C3%B6%C3%9Fe"] * 2


def test_an_answer_is_split_into_fields_and_body() -> None:
    assert split_answer(b"HTTP/1.1 200 OK\r\nA-B: 1\r\n\r\nx\r\n\r\ny") == ({"a-b": "1"}, b"x\r\n\r\ny")
