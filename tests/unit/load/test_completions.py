"""Targets of OpenAI's protocol: the key that servers want."""

from __future__ import annotations

import pytest

from multiedge.errors import ConfigError
from multiedge.load.completions import KEY_VARIABLE, Completions
from multiedge.load.place import parse_place
from tests.builders.load_servers import asked_server


def test_the_key_goes_with_the_question_for_models_and_with_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret\n")
    with asked_server({"data": [{"id": "tiny"}]}) as server:
        target = Completions(parse_place(f"{server.url}/v1"), prompts=("hello",))
    assert target.name == "tiny"
    ((path, fields),) = server.questions
    assert (path, fields["authorization"]) == ("/v1/models", "Bearer secret")
    assert b"\r\nAuthorization: Bearer secret\r\n" in target.requests[0]


def test_a_key_that_is_none_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "schlüssel")
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY: expected a key of ASCII characters, got another one$"):
        Completions(parse_place("http://127.0.0.1:1/v1"), "tiny", prompts=("hello",))
