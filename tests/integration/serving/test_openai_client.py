"""OpenAI's own Python client against `multiedge serve` of a decoder: texts, streams, conversations and errors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders.decoders import random_decoder, small_decoder
from tests.builders.onnx_models import saved
from tests.builders.text_models import END, write_tokenizer

openai = pytest.importorskip("openai", reason="needs the extra [dev]")
pytest.importorskip("aiohttp", reason="needs the extra [fleet]")
pytest.importorskip("grpc", reason="needs the extra [remote]")

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("tiny")
    write_tokenizer(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END, "chat_template": TEMPLATE}))
    path = saved(random_decoder(small_decoder(layers=1, vocabulary=257)), folder / "tiny.onnx")
    words = ["serve", str(path), "--port", "0", "--serve-http", "127.0.0.1:0"]
    process = subprocess.Popen([sys.executable, "-m", "multiedge", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[2].endswith("/v1/completions and /v1/chat/completions for model 'tiny'\n"), lines
        with openai.OpenAI(base_url=f"http://{lines[2].split()[0]}/v1", api_key="none", max_retries=0) as made:
            yield made
    finally:
        process.terminate()
        process.stdout.close()
        assert process.wait(20) == 0


def test_a_completion_is_the_same_whole_and_streamed(client: Any) -> None:
    options = {"model": "tiny", "prompt": "hello", "max_tokens": 20, "temperature": 1.5, "seed": 3}
    whole = client.completions.create(**options)
    parts = list(client.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    assert "".join(part.choices[0].text for part in parts if part.choices) == whole.choices[0].text != ""
    assert whole.usage.completion_tokens == parts[-1].usage.completion_tokens
    assert whole.usage.prompt_tokens == 5


def test_a_conversation_is_streamed(client: Any) -> None:
    messages = [{"role": "user", "content": "hello"}]
    parts = list(client.chat.completions.create(model="tiny", messages=messages, max_tokens=12, seed=1, stream=True))
    assert parts[0].choices[0].delta.role == "assistant"
    assert parts[-1].choices[0].finish_reason in ("stop", "length")
    answer = client.chat.completions.create(model="tiny", messages=messages, max_tokens=12, seed=1)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == answer.choices[0].message.content


def test_models_are_listed(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_errors_have_their_classes(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="no language model 'tny' here; did you mean 'tiny'"):
        client.completions.create(model="tny", prompt="a")
    with pytest.raises(openai.BadRequestError, match="n: is not supported; leave it out"):
        client.completions.create(model="tiny", prompt="a", n=2)
