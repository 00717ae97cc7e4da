"""The options with which hubs and nodes answer clients: off unless given, and never beyond this machine without TLS."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from multiedge.commands._serving import add_serving, serving_options
from multiedge.errors import ConfigError
from multiedge.network.identity import Identity

IDENTITY = Identity(Path("identity"))


def read(*words: str, identity: Identity | None = None):
    parser = argparse.ArgumentParser()
    add_serving(parser)
    return serving_options(parser.parse_args(words), identity)


def test_without_the_options_nothing_is_served() -> None:
    assert read() is None
    assert read("--max-message", "1MiB") is None


def test_each_option_is_an_address_of_its_own() -> None:
    both = read("--serve-grpc", "127.0.0.1:8081", "--serve-http", "[::1]:0", "--max-message", "1MiB")
    assert (both.grpc, both.http, both.identity, both.max_message_bytes) == (("127.0.0.1", 8081), ("::1", 0), None, 1 << 20)
    assert read("--serve-http", "localhost:80").grpc is None


@pytest.mark.parametrize("option", ["--serve-grpc", "--serve-http"])
def test_beyond_this_machine_an_identity_is_needed(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option}: 10.0.0.1 is not this machine alone, so TLS is needed"):
        read(option, "10.0.0.1:80")
    assert read(option, "10.0.0.1:80", identity=IDENTITY).identity is IDENTITY


@pytest.mark.parametrize("text", ["80", "127.0.0.1", "127.0.0.1:70000", "127.0.0.1:-1", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--serve-grpc: expected HOST:PORT"):
        read("--serve-grpc", text)
