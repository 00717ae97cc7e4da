"""Where a server is, as a URL, and its answers to questions that are asked before a run."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from multiedge.errors import ConfigError, NetworkError, describe, lower_first, one_line, require_port
from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Field, Kind
from multiedge.load.contract import Channel
from multiedge.load.http_wire import client_context, reason_in
from multiedge.network.identity import join_address

ASK_S = 10.0
_PORTS = {"http": 80, "https": 443, "grpc": 8001, "grpcs": 8001}
KIND = Kind("answer", NetworkError)


@dataclass(frozen=True)
class Place:
    """A server.

    Attributes:
        scheme: 'http', 'https', 'grpc' or 'grpcs'.
        host: Name or address.
        port: Its port.
        path: What follows it in the URL, without a '/' at the end.
        identity: Folder of a certificate; '' for none.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    identity: str = ""

    @property
    def address(self) -> str:
        return join_address(self.host, self.port)

    @property
    def is_grpc(self) -> bool:
        return self.scheme.startswith("grpc")

    def channel(self, method: str = "") -> Channel:
        """The channel to it; the number of its connections is that of one sender's first request."""
        wire = "grpc" if self.is_grpc else "http"
        return Channel(wire, self.host, self.port, method, self.scheme.endswith("s"), self.identity)

    def ask(self, path: str, *fields: tuple[str, str]) -> Field:
        """The JSON at a path, over HTTP; NetworkError with the server's reason if there is none."""
        place = f"{'https' if self.scheme == 'https' else 'http'}://{self.address}{path}"
        asked = urllib.request.Request(f"{place.removesuffix(path)}{_quoted(path)}", headers=dict(fields))
        secured = urllib.request.HTTPSHandler(context=client_context(self.channel()))
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), secured)  # as the requests of the load go
        try:
            with direct.open(asked, timeout=ASK_S) as answer:
                return parse_json(answer.read(), place, KIND)
        except urllib.error.HTTPError as error:
            raise NetworkError(f"{place}: status {error.code}: {reason_in(error.read())}", status=error.code) from None
        except (OSError, http.client.HTTPException) as error:
            reason: Any = getattr(error, "reason", None) or error
            text = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
            raise NetworkError(f"{place}: cannot be reached: {lower_first(' '.join(str(text).split()))}") from None

    def post(self, path: str, body: bytes, *fields: tuple[str, str]) -> bytes:
        """The bytes of a request of HTTP with a body in JSON, or as the fields say."""
        named = {"Host": self.address, "Content-Type": "application/json", **dict(fields), "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        return f"POST {_quoted(path)} HTTP/1.1\r\n{head}\r\n".encode("ascii") + body


def parse_place(text: str, identity: str = "") -> Place:
    """The server of a URL such as 'http://127.0.0.1:8082/v2/models/net', 'grpc://host:8001/net' or 'host:8082/net'.

    Raises ConfigError for another text.
    """
    given = text if "://" in text else f"http://{text}"
    parts = urllib.parse.urlsplit(given)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in _PORTS or not parts.hostname or port == -1 or parts.query or parts.fragment or parts.username:
        raise ConfigError(
            f"expected a URL such as http://127.0.0.1:8082/v2/models/NAME or grpc://127.0.0.1:8081/NAME, got {describe(text)}"
        )
    if port is not None:
        require_port(text, port, least=1)
    scheme = {"http": "https", "grpc": "grpcs"}.get(parts.scheme, parts.scheme) if identity else parts.scheme
    return Place(scheme, parts.hostname, port or _PORTS[parts.scheme], parts.path.rstrip("/"), identity)


def _quoted(path: str) -> str:
    return urllib.parse.quote(path, safe="/%")


def protocol_of(place: Place) -> str:
    """The target for a URL that does not name one: OpenAI's protocol for paths below /v1, otherwise Open Inference."""
    if place.is_grpc:
        return "open-inference-grpc"
    return "openai" if place.path == "/v1" or place.path.startswith("/v1/") else "open-inference"


def split_answer(answer: bytes) -> tuple[dict[str, str], bytes]:
    """The fields of an answer's head, by name in small letters, and its body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in lines}, body


def text_of(error: BaseException) -> str:
    """Why something failed, as it stands inside a sentence."""
    return lower_first(one_line(error)) or type(error).__name__
