"""OpenAI's routes of an aiohttp application: `/v1/models`, `/v1/completions` and `/v1/chat/completions`."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any

from multiedge.decoding.generation import Generation, Piece
from multiedge.errors import did_you_mean, one_line
from multiedge.serving.aio import web
from multiedge.serving.inference.contract import NotFound, status_of
from multiedge.serving.text.replies import Json, ReplyWriter, failure
from multiedge.serving.text.requests import TextRequest, read_chat, read_completion
from multiedge.serving.text.served import Pieces, ServedText

SEED_BITS = 32
Answer = Callable[[Any], Awaitable[Any]]
Read = Callable[[bytes, int], TextRequest]


class TextService:
    """Answers clients of OpenAI's protocol for some models, which compute in threads of `pool`."""

    def __init__(self, models: Callable[[], Mapping[str, ServedText]], pool: Executor) -> None:
        self._models, self._pool = models, pool

    def add_routes(self, app: web.Application) -> None:
        """Adds the routes to an application."""
        app.router.add_get("/v1/models", _guarded(self._list))
        app.router.add_get("/v1/models/{model}", _guarded(self._describe))
        app.router.add_post("/v1/completions", _guarded(self._answer(read_completion)))
        app.router.add_post("/v1/chat/completions", _guarded(self._answer(read_chat)))

    async def _list(self, request: Any) -> Any:
        return web.json_response({"object": "list", "data": [_described(served) for served in self._models().values()]})

    async def _describe(self, request: Any) -> Any:
        return web.json_response(_described(self._named(request.match_info["model"])))

    def _answer(self, read: Read) -> Answer:
        async def answer(request: Any) -> Any:
            asked = read(await request.read(), secrets.randbits(SEED_BITS))
            served = self._named(asked.model)
            writer = ReplyWriter(asked, uuid.uuid4().hex, int(time.time()))
            gone = threading.Event()
            try:
                prompt, pieces = served.pieces(asked, lambda: not gone.is_set() and request.transport is not None)
                async with aclosing(_in_thread(pieces, self._pool)) as coming:
                    if asked.streams:
                        return await _stream(request, writer, prompt.size, coming)
                    return web.json_response(writer.whole(Generation.of(prompt.size, [piece async for piece in coming])))
            finally:
                gone.set()

        return answer

    def _named(self, name: str) -> ServedText:
        models = self._models()
        if name not in models:
            raise NotFound(f"no language model '{name}' here{did_you_mean(name, models)}")
        return models[name]


def text_routes(models: Callable[[], Mapping[str, ServedText]]) -> Callable[[web.Application, Executor], None]:
    """What adds the routes to an application, for the models that are served at the time of a request."""

    def add(app: web.Application, pool: Executor) -> None:
        TextService(models, pool).add_routes(app)

    return add


async def _stream(request: Any, writer: ReplyWriter, prompt_tokens: int, pieces: AsyncGenerator[Piece, None]) -> Any:
    """Sends a text piece by piece, as server-sent events. What fails before the first piece is an error with its status."""
    got = [await anext(pieces)]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    begin = writer.begin()
    if begin is not None:
        await response.write(_event(begin))
    await _send(response, writer, got[0])
    try:
        async for piece in pieces:
            got.append(piece)
            await _send(response, writer, piece)
    except ConnectionError:  # the caller has gone
        return response
    except Exception as error:  # the status has been sent: what fails now can only be told in the stream
        await response.write(_event(failure(one_line(error), status_of(error).value)))
        return response
    if writer.request.counts:
        await response.write(_event(writer.counts(Generation.of(prompt_tokens, got))))
    await response.write(b"data: [DONE]\n\n")
    return response


async def _send(response: Any, writer: ReplyWriter, piece: Piece) -> None:
    if piece.text or piece.finish:
        await response.write(_event(writer.piece(piece.text, piece.finish)))


async def _in_thread(pieces: Pieces, pool: Executor) -> AsyncGenerator[Piece, None]:
    """What an iterator gives, each piece computed in a thread; it is closed there when nobody wants more."""
    loop = asyncio.get_running_loop()
    try:
        while (piece := await loop.run_in_executor(pool, lambda: next(pieces, None))) is not None:
            yield piece
    finally:
        await loop.run_in_executor(pool, pieces.close)


def _guarded(answer: Answer) -> Answer:
    """Answers every error in the form that OpenAI's clients read."""

    async def guarded(request: Any) -> Any:
        try:
            return await answer(request)
        except web.HTTPException:
            raise
        except (ConnectionError, asyncio.CancelledError):  # the caller has gone
            raise
        except Exception as error:  # whatever a model raises is this request's failure, not the server's
            status = status_of(error).value
            return web.json_response(failure(one_line(error), status), status=status)

    return guarded


def _event(value: Json) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _described(served: ServedText) -> Json:
    return {"id": served.name, "object": "model", "created": served.created_s, "owned_by": "multiedge"}
