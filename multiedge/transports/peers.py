"""Where the endpoints of a run listen, in files of the run's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from multiedge.errors import PipelineError
from multiedge.files import replacing
from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Kind
from multiedge.formats.records import reader_of
from multiedge.network.identity import Identity
from multiedge.transports.rundir import file_of

_KIND = Kind("address", PipelineError)


@dataclass(frozen=True)
class PeerAddress:
    """Where an endpoint listens. Who connects begins with the `secret`, in hexadecimal digits; `identity` is the name in the
    endpoint's certificate, '' without TLS."""

    host: str
    port: int
    secret: str
    identity: str = ""


def write_address(directory: Path, name: str, address: PeerAddress) -> None:
    """Writes the address of the endpoint of this name atomically, readable by the owner alone."""
    with replacing(file_of(directory, "inbox", name), error=PipelineError, mode=0o600, sync=False) as file:
        file.write(json.dumps(asdict(address)).encode())


def read_address(directory: Path, name: str) -> PeerAddress | None:
    """The address of the endpoint of this name; None if it is not known yet. PipelineError if it is damaged."""
    path = file_of(directory, "inbox", name)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    address: PeerAddress = reader_of(PeerAddress)(parse_json(text, str(path), _KIND))
    return address


def set_place(directory: Path, name: str, host: str, identity: Identity | None) -> None:
    """Writes where the endpoint of this name listens, and the folder of its certificate, before the endpoint is made."""
    file_of(directory, "host", name).write_text(host, encoding="ascii")
    if identity is not None:
        file_of(directory, "identity", name).write_text(str(identity.folder.resolve()), encoding="utf-8")


def place_of(directory: Path, name: str, default: str) -> tuple[str, Identity | None]:
    """Where the endpoint of this name listens, and its certificate; `default` and none where nothing was written."""
    host, folder = file_of(directory, "host", name), file_of(directory, "identity", name)
    identity = Identity(Path(folder.read_text(encoding="utf-8"))) if folder.exists() else None
    return (host.read_text(encoding="ascii") if host.exists() else default), identity
