"""OpenAI's own Python client streams texts from the front end of a hub, whose nodes compute a decoder in stages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("openai", reason="needs the extra [dev]")
pytest.importorskip("aiohttp", reason="needs the extra [fleet]")
pytest.importorskip("cryptography", reason="needs the extra [fleet]")

import openai

from multiedge.cli import main
from multiedge.decoding import Limits, Sampling, open_text_model
from multiedge.network.identity import ENVIRONMENT, Identity
from multiedge.serving.front.front import FrontOptions
from multiedge.serving.front.mounted import MountedFront
from multiedge.serving.front.openers import HubAccess
from multiedge.serving.inference.server import ServerOptions
from tests.builders.agents import running_agent, without_calibration
from tests.builders.decoders import random_decoder, small_decoder
from tests.builders.front import wait_until
from tests.builders.hubs import TestHub, running_hub
from tests.builders.onnx_models import saved
from tests.builders.sequences import even_parts
from tests.builders.text_models import END, write_tokenizer

START_S, TOKENS = 20.0, 60
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
NODES = ("d0", "d1", "d2")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder of bytes with its tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    write_tokenizer(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END, "chat_template": TEMPLATE}))
    return saved(random_decoder(small_decoder(layers=4, vocabulary=257)), folder / "tiny.onnx")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestHub]:
    without_calibration(monkeypatch)
    with running_hub(tmp_path / "hub") as running:
        monkeypatch.setenv(ENVIRONMENT, str(running.folder / "client"))
        yield running


@pytest.fixture
def client(hub: TestHub, model: Path, tmp_path: Path) -> Iterator[Any]:
    """A client of the hub's front end; the decoder is in three stages on three nodes."""
    even_parts(model, tmp_path / "parts", len(NODES), sequences=2)
    access = HubAccess(hub.address, Identity(hub.folder / "client"))
    with ExitStack() as stack:
        for name in NODES:
            stack.enter_context(running_agent(hub, name, tmp_path / "nodes"))
        wait_until(lambda: len(hub.client().nodes()) == len(NODES), START_S)
        assert main(["deploy", str(tmp_path / "parts"), "--hub", hub.address, "--name", "tiny"]) == 0
        mounted = MountedFront(ServerOptions(http=("127.0.0.1", 0)), FrontOptions(tmp_path / "front"), access)
        stack.callback(mounted.close)
        wait_until(lambda: all(each.is_ready for each in mounted.front.models) and "tiny" in mounted.front.texts, START_S)
        base_url = f"http://{mounted.server.http_address}/v1"
        yield stack.enter_context(openai.OpenAI(base_url=base_url, api_key="none", max_retries=0))


def expected(model: Path, prompt: str, tokens: int) -> str:
    """What the whole model makes."""
    with open_text_model(model) as text:
        return text.complete(prompt, Sampling(), Limits(tokens)).text


def streamed(client: Any, prompt: str, **options: Any) -> Iterator[str]:
    request = {"model": "tiny", "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, **options}
    for part in client.completions.create(**request, stream=True):
        yield part.choices[0].text


@pytest.mark.slow
def test_a_text_is_that_of_the_whole_model_although_a_worker_is_killed_on_the_way(client: Any, model: Path) -> None:
    assert [each.id for each in client.models.list()] == ["tiny"]
    pieces, whole = [], expected(model, "hello", TOKENS)
    assert len(whole) > 20
    for number, piece in enumerate(streamed(client, "hello")):
        if number == 10:
            workers = psutil.Process().children(recursive=True)
            workers[len(workers) // 2].kill()
        pieces.append(piece)
    assert "".join(pieces) == whole
    messages = [{"role": "user", "content": "hello"}]
    answer = client.chat.completions.create(model="tiny", messages=messages, max_tokens=8, temperature=0)
    assert answer.choices[0].message.content == expected(model, "user: hello\nassistant:", 8)
