"""The controller's HTTP endpoint: the messages of workers, and whether the controller is alive."""

from __future__ import annotations

from multiedge.errors import NetworkError
from multiedge.serving.aio import web
from multiedge.serving.kubernetes.controller import Controller, Refusal
from multiedge.serving.kubernetes.message import decode_message
from multiedge.serving.kubernetes.names import info_path

MOST_BYTES = 64 << 10
"""How large a message may be."""
BEARER = "Bearer "


def application(controller: Controller) -> web.Application:
    """What answers `POST /sedna/workers/NAME/info` and `GET /healthz`."""

    async def receive(request: web.Request) -> web.Response:
        try:
            message = decode_message(await request.read())
            if message.name != request.match_info["worker"]:
                raise Refusal(400, f"name: expected {request.match_info['worker']!r}, got {message.name!r}")
            controller.receive(message, request.headers.get("Authorization", "").removeprefix(BEARER))
        except NetworkError as error:
            return web.json_response({"error": str(error)}, status=400)
        except Refusal as refusal:
            return web.json_response({"error": refusal.reason}, status=refusal.status)
        return web.json_response({})

    async def is_alive(request: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application(client_max_size=MOST_BYTES)
    app.router.add_post(info_path("{worker}"), receive)
    app.router.add_get("/healthz", is_alive)
    return app
