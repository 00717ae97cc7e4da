"""gRPC: requests as bytes of messages, any number at the same time over each connection."""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

from multiedge.errors import NetworkError, lower_first, one_line
from multiedge.load.contract import Channel, Record
from multiedge.network.identity import CA_FILE, CERTIFICATE_FILE, KEY_FILE, Identity, join_address
from multiedge.transports.open_inference import UNLIMITED_MESSAGES, grpc_module

CONNECT_S = 10.0


class GrpcWire:
    """Requests over some channels in turn. Answers come in threads of gRPC, which record them."""

    def __init__(self, channel: Channel, record: Record) -> None:
        self._channel, self._record = channel, record
        self._channels: list[Any] = []
        self._calls: list[Any] = []
        self._sent = 0
        self._done: deque[int] = deque()

    @property
    def unanswered(self) -> int:
        return self._sent - len(self._done)

    def open(self) -> None:
        self._channels = [open_channel(self._channel) for _ in range(self._channel.connections)]
        self._calls = [each.unary_unary(self._channel.method, _same, _same) for each in self._channels]

    def close(self) -> None:
        for each in self._channels:
            each.close()

    def send(self, number: int, request: bytes) -> None:
        self._record.issued_s[number] = time.monotonic()
        self._sent += 1
        call = self._calls[number % len(self._calls)].future(request, timeout=self._channel.timeout_s)
        call.add_done_callback(partial(self._answered, number))

    def wait(self, until_s: float) -> None:
        time.sleep(max(0.0, min(until_s - time.monotonic(), 0.05)))

    def _answered(self, number: int, call: Any) -> None:
        self._record.done_s[number] = time.monotonic()
        if call.code().value[0]:
            self._record.fail(number, f"{call.code().name}: {call.details() or ''}")
        elif self._record.keeps_answers:
            self._record.answers[number] = call.result()
        self._done.append(number)


def _same(message: bytes) -> bytes:
    return message


def open_channel(channel: Channel) -> Any:
    """A connected channel of gRPC; NetworkError if the server cannot be reached."""
    grpc = grpc_module()
    place = join_address(channel.host, channel.port)
    # Channels to one address would share a connection.
    options: list[tuple[str, Any]] = [*UNLIMITED_MESSAGES, ("grpc.use_local_subchannel_pool", 1)]
    if channel.identity:
        options.append(("grpc.ssl_target_name_override", _name_of(channel)))
    if channel.tls:
        opened = grpc.secure_channel(place, _credentials(channel), options)
    else:
        opened = grpc.insecure_channel(place, options)
    try:
        grpc.channel_ready_future(opened).result(CONNECT_S)
    except grpc.FutureTimeoutError:
        opened.close()
        raise NetworkError(f"{place}: cannot be reached over gRPC in {CONNECT_S:g} s") from None
    return opened


def _credentials(channel: Channel) -> Any:
    if not channel.identity:
        return grpc_module().ssl_channel_credentials()
    ca, key, certificate = ((Path(channel.identity) / name).read_bytes() for name in (CA_FILE, KEY_FILE, CERTIFICATE_FILE))
    return grpc_module().ssl_channel_credentials(ca, key, certificate)


def _name_of(channel: Channel) -> str:
    """The name in the certificate of a server of the fleet: gRPC compares names, and devices have others than their hosts."""
    context = Identity(Path(channel.identity)).client_context()
    place = join_address(channel.host, channel.port)
    try:
        with (
            socket.create_connection((channel.host, channel.port), CONNECT_S) as plain,
            context.wrap_socket(plain) as secured,
        ):
            certificate = secured.getpeercert() or {}
    except (OSError, ssl.SSLError) as error:
        raise NetworkError(f"{place}: cannot be reached: {lower_first(one_line(error))}") from None
    names = [str(name[1]) for name in certificate.get("subjectAltName", ()) if name[0] == "DNS"]
    return names[0] if names else channel.host
