"""OpenAI's routes: whole texts and streams, their errors, and callers who go."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from multiedge.decoding.text_model import TextModel
from multiedge.serving.inference.repository import ModelRepository
from multiedge.serving.inference.server import InferenceServer, ServerOptions
from tests.builders.text_models import ScriptedModel, byte_tokenizer

pytest.importorskip("aiohttp", reason="needs the extra [fleet]")

from multiedge.serving.text.served import ServedText
from multiedge.serving.text.service import text_routes

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
TOKENIZER = byte_tokenizer(chat_template=TEMPLATE)
TEXT = "naïve 🙂 end"


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel([*TOKENIZER.encode(TEXT).tolist(), 256])


@pytest.fixture
def address(model: ScriptedModel) -> Iterator[str]:
    served = {"script": ServedText.of("script", TextModel(model, TOKENIZER))}
    with InferenceServer(
        ModelRepository(), ServerOptions(http=("127.0.0.1", 0)), add_routes=text_routes(lambda: served)
    ) as server:
        yield server.http_address


def asked(address: str, route: str, **body: Any) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection(address, timeout=20)) as connection:
        connection.request("POST" if body else "GET", route, json.dumps({"model": "script", **body}) if body else None)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def streamed(address: str, route: str, **body: Any) -> list[Any]:
    with closing(http.client.HTTPConnection(address, timeout=20)) as connection:
        connection.request("POST", route, json.dumps({"model": "script", "stream": True, **body}))
        answer = connection.getresponse()
        assert answer.getheader("Content-Type", "").startswith("text/event-stream")
        events = [event.removeprefix("data: ") for event in answer.read().decode().split("\n\n") if event]
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def test_a_completion_has_its_text_and_the_numbers_of_tokens(address: str) -> None:
    status, answer = asked(address, "/v1/completions", prompt="abc", max_tokens=50, seed=4)
    assert status == 200
    assert answer["object"] == "text_completion"
    (choice,) = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == (TEXT, "stop")
    made = len(TEXT.encode()) + 1
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": made, "total_tokens": made + 3}
    assert (answer["model"], answer["seed"]) == ("script", 4)


def test_a_conversation_is_answered_as_the_assistant(address: str, model: ScriptedModel) -> None:
    status, answer = asked(address, "/v1/chat/completions", messages=[{"role": "user", "content": "hi"}], max_tokens=5)
    assert status == 200
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "naïv"}
    assert choice["finish_reason"] == "length"
    assert TOKENIZER.decode(model.given[0]) == "user: hi\nassistant:"


def test_a_stream_has_whole_characters_and_ends_with_its_reason(address: str) -> None:
    parts = streamed(address, "/v1/completions", prompt="abc", max_tokens=50, stream_options={"include_usage": True})
    *pieces, counts = parts
    texts = [part["choices"][0]["text"] for part in pieces]
    assert "".join(texts) == TEXT
    assert "🙂" in texts
    assert [part["choices"][0]["finish_reason"] for part in pieces[-2:]] == [None, "stop"]
    assert (counts["choices"], counts["usage"]["prompt_tokens"]) == ([], 3)
    assert len({part["id"] for part in parts}) == 1


def test_a_streamed_conversation_begins_with_its_role(address: str) -> None:
    parts = streamed(address, "/v1/chat/completions", messages=[{"role": "user", "content": "hi"}], max_tokens=50)
    deltas = [part["choices"][0]["delta"] for part in parts]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == TEXT
    assert {part["object"] for part in parts} == {"chat.completion.chunk"}


def test_models_are_listed(address: str) -> None:
    status, listed = asked(address, "/v1/models")
    assert status == 200
    assert [entry["id"] for entry in listed["data"]] == ["script"]
    assert asked(address, "/v1/models/script")[1]["object"] == "model"


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        ({"model": "scrip", "prompt": "a"}, 404, "no language model 'scrip' here; did you mean 'script'?"),
        ({"prompt": ""}, 400, "prompt: expected at least one token, got none; write a word"),
        ({"prompt": "", "stream": True}, 400, "prompt: expected at least one token, got none; write a word"),
        ({"prompt": "a", "n": 3}, 400, "request: n: is not supported; leave it out"),
    ],
)
def test_errors_are_in_the_form_of_openais_clients(address: str, body: dict[str, Any], status: int, line: str) -> None:
    got, answer = asked(address, "/v1/completions", **body)
    assert (got, answer["error"]["message"], answer["error"]["type"]) == (status, line, "invalid_request_error")


def test_a_text_ends_when_its_caller_has_gone(address: str, model: ScriptedModel) -> None:
    model.script = tuple(TOKENIZER.encode("a").tolist())
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request(
        "POST", "/v1/completions", json.dumps({"model": "script", "prompt": "a", "stream": True, "max_tokens": 10**6})
    )
    with closing(connection.getresponse()) as answer:
        answer.read(200)
        assert model.open_sequences == 1
    connection.close()
    end_s = time.monotonic() + 20
    while model.open_sequences and time.monotonic() < end_s:
        time.sleep(0.02)
    assert model.open_sequences == 0
