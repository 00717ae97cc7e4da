"""Who a process is towards hub, nodes and callers: a certificate that the hub's CA signed, checked in both directions.

A certificate names its holder as a URI, `multiedge:hub`, `multiedge:node:NAME` or `multiedge:client:NAME`; addresses do not
count, since devices move. `multiedge.serving.hub.authority` makes certificates.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

from multiedge.errors import MAX_PORT, ConfigError, NetworkError, describe
from multiedge.files import PathLike

HUB = "hub"
NODE = "node:"
CLIENT = "client:"
"""What a client's name begins with: it plans, deploys and runs."""
SCHEME = "multiedge:"
"""How the URI in a certificate begins, before the name."""

CA_FILE, CERTIFICATE_FILE, KEY_FILE = "ca.pem", "cert.pem", "key.pem"
ENVIRONMENT = "MULTIEDGE_IDENTITY"
"""The variable that names the folder of an identity, where no option does."""


@dataclass(frozen=True)
class Identity:
    """The folder with `ca.pem`, `cert.pem` and `key.pem` of one process.

    Raises:
        ConfigError: On first use of a context, if a file is missing or is not what its name says.
    """

    folder: Path

    @cached_property
    def _server(self) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    @cached_property
    def _client(self) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_CLIENT)
        # Names in certificates are those of devices; `require_peer` compares them.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def server_context(self) -> ssl.SSLContext:
        """TLS 1.3 for who listens: a peer without a certificate of this CA is refused in the handshake."""
        self._require_valid()
        return self._server

    def client_context(self) -> ssl.SSLContext:
        """TLS 1.3 for who connects: the peer must have a certificate of this CA. Compare its name with `require_peer`."""
        self._require_valid()
        return self._client

    def checking_context(self, peer: str, place: str) -> ssl.SSLContext:
        """A new context for who connects by a library: its handshake fails unless the other side is `peer`, such as 'hub'."""
        self._require_valid()
        context = self._context(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED

        class Checked(ssl.SSLObject):
            def do_handshake(self) -> None:
                super().do_handshake()
                try:
                    require_peer(self, peer, place)
                except NetworkError as error:  # of this kind the library expects one
                    raise ssl.SSLCertVerificationError(str(error)) from None

        context.sslobject_class = Checked
        return context

    def joining_context(self) -> ssl.SSLContext:
        """A new context for the hub alone: peers without a certificate complete the handshake too, so that they can join."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    @cached_property
    def expires_s(self) -> float:
        """Until when the certificate is valid, UNIX time."""
        try:
            text = (self.folder / CERTIFICATE_FILE).read_text(encoding="ascii")
            return _not_after(ssl.PEM_cert_to_DER_cert(text))
        except (OSError, ValueError, IndexError) as error:
            raise self._no_identity(error) from None

    def _require_valid(self) -> None:
        """ConfigError for an expired certificate: a peer would end the connection without a word."""
        if time.time() >= self.expires_s:
            date = datetime.fromtimestamp(self.expires_s, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
            raise ConfigError(
                f"{self.folder}: the certificate expired at {date}; remove the folder, and join again with a token of:"
                " multiedge hub token"
            )

    def _no_identity(self, error: Exception) -> ConfigError:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        return ConfigError(
            f"{self.folder}: expected {CA_FILE}, {CERTIFICATE_FILE} and {KEY_FILE} of an identity ({reason});"
            " join again with a token of: multiedge hub token"
        )

    def _context(self, protocol: ssl._SSLMethod) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(self.folder / CA_FILE)
            context.load_cert_chain(self.folder / CERTIFICATE_FILE, self.folder / KEY_FILE)
        except (OSError, ssl.SSLError) as error:
            raise self._no_identity(error) from None
        return context


def _not_after(der: bytes) -> float:
    """The end of the validity of a certificate in DER, UNIX time: RFC 5280, section 4.1."""
    certificate = _contents(der)[0]
    fields = _contents(_contents(certificate[1])[0][1])
    if fields[0][0] == 0xA0:  # the version, which certificates of version 1 leave out
        fields = fields[1:]
    tag, value = _contents(fields[3][1])[1]
    text = value.decode("ascii")
    # A year of two digits is from 1950 to 2049, as strptime does not read it.
    year = text if tag == 0x18 else ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(year, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()


def _contents(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and value of each element in a sequence of DER."""
    elements, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(der[at : at + count], "big"), at + count
        elements.append((tag, der[at : at + length]))
        at += length
    return elements


def find_identity(folder: PathLike | None = None) -> Identity | None:
    """The identity in a folder, by default in the one that the environment variable MULTIEDGE_IDENTITY names; None without one.

    Raises ConfigError if the folder has none.
    """
    chosen = folder or os.environ.get(ENVIRONMENT)
    if not chosen:
        return None
    identity = Identity(Path(chosen))
    absent = [name for name in (CA_FILE, CERTIFICATE_FILE, KEY_FILE) if not (identity.folder / name).is_file()]
    if absent:
        raise ConfigError(
            f"{chosen}: holds no {absent[0]}; expected the folder of an identity, which `multiedge hub init` or joining makes"
        )
    return identity


def peer_name(connection: ssl.SSLSocket | ssl.SSLObject) -> str:
    """'hub', 'node:NAME' or 'client:NAME' from the certificate of the other side, after the handshake; '' if it has none."""
    return name_in(connection.getpeercert() or {})


def name_in(certificate: object) -> str:
    """The name in a certificate, as `getpeercert` returns it; '' if it has none."""
    if not isinstance(certificate, dict):
        return ""
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "URI" and value.startswith(SCHEME):
            return str(value.removeprefix(SCHEME))
    return ""


def require_peer(connection: ssl.SSLSocket | ssl.SSLObject, expected: str, place: str) -> None:
    """NetworkError unless the other side is `expected`, such as 'hub' or 'node:phone'; `place` begins the error."""
    name = peer_name(connection)
    if name != expected:
        raise NetworkError(f"{place}: expected the certificate of '{expected}', got that of '{name or 'nobody'}'")


def parse_address(text: str, place: str = "address", default_port: int | None = None) -> tuple[str, int]:
    """Host and port of 'HOST:PORT', '[IPV6]:PORT' or, with a default, 'HOST'. ConfigError that begins with `place`."""
    host, separator, port = text.rpartition(":")
    if (not separator or (text.startswith("[") and text.endswith("]"))) and default_port is not None:
        host, port = text, str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdecimal() and int(port) <= MAX_PORT):
        raise ConfigError(f"{place}: expected HOST:PORT, got {describe(text)}")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """'HOST:PORT', with brackets around the address of IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether the host is this machine alone: 'localhost' or an address of the loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_unspecified(host: str) -> bool:
    """Whether the host stands for all addresses of a machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def host_refusal(host: str) -> str:
    """Why a request without TLS may not be answered that names this host; '' if it names this machine.

    The page of another site could otherwise have a browser on this machine make requests under a name that it lets point here.
    """
    try:
        name, _ = parse_address(host, default_port=80)
    except ConfigError:
        name = ""
    return "" if is_loopback(name) else f"expected a request to this machine, such as to 127.0.0.1, got one to {host[:80]!r}"


def require_tls(host: str, identity: Identity | None, place: str) -> None:
    """ConfigError for an address beyond loopback without an identity; `place` is what listens or connects there."""
    if identity is None and not is_loopback(host):
        raise ConfigError(
            f"{place}: {host} is not this machine alone, so TLS is needed; make certificates with `multiedge hub init` and give"
            " --identity FOLDER, or use 127.0.0.1"
        )
