"""How a node or a client gets an identity: it makes a key, checks that the hub is that of its token, and gets a certificate."""

from __future__ import annotations

import ssl
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from multiedge.defaults import DEFAULT_HUB_PORT
from multiedge.errors import ConfigError
from multiedge.network.encoding import decode, encode
from multiedge.network.http import HubConnection
from multiedge.network.identity import HUB, Identity, join_address, parse_address
from multiedge.serving.hub.authority import Token, fingerprint_of, new_request, require_holder, write_identity

PATH = "/v1/join"


@dataclass(frozen=True)
class JoinRequest:
    """Who wants a certificate, with a token, and the signing request as PEM."""

    token: str
    holder: str
    request: str


@dataclass(frozen=True)
class JoinReply:
    """The certificate as PEM."""

    certificate: str


def join(hub: str, token: str, holder: str, folder: Path, *, timeout_s: float = 5.0) -> Identity:
    """An identity at a hub, in `folder`.

    The token's secret is sent only once the hub has shown a certificate of the CA whose fingerprint is in the token.

    Args:
        hub: 'HOST:PORT'.
        token: What `multiedge hub token` printed.
        holder: 'node:NAME' or 'client:NAME'.
        folder: Where the identity is written.
        timeout_s: How long to wait for the hub at each step.

    Returns:
        The Identity.

    Raises:
        ConfigError: If the token or the name is none, or the hub is another one.
        NetworkError: If the hub cannot be reached or refuses the token.
    """
    parsed = Token.parse(token)
    require_holder(holder)
    host, port = parse_address(hub, "--hub", DEFAULT_HUB_PORT)
    place = f"hub {join_address(host, port)}"
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    with closing(HubConnection(host, port, place, unverified, timeout_s, peer="")) as connection:
        ca = connection.call("GET", PATH)
    if fingerprint_of(ca) != parsed.fingerprint:
        raise ConfigError(f"{place}: is not the hub of this token: its CA has another fingerprint; nothing was sent to it")
    key, request = new_request(holder)
    with closing(HubConnection(host, port, place, _trusting(ca), timeout_s, HUB)) as connection:
        reply = connection.call("POST", PATH, encode(JoinRequest(token.strip(), holder, request.decode())))
    return write_identity(folder, ca, decode(JoinReply, reply, place).certificate.encode(), key)


def _trusting(ca: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=ca.decode())
    return context
