"""Records as JSON, and names and digests that peers may give."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any, TypeVar

from multiedge.errors import ConfigError, NetworkError, describe
from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Field, Kind
from multiedge.formats.records import reader_of

T = TypeVar("T")

MESSAGE = Kind("message", NetworkError)
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def encode(record: Any) -> bytes:
    """A record, or a sequence of records, as JSON; equal records give equal bytes."""
    data = [asdict(each) for each in record] if isinstance(record, list | tuple) else asdict(record)
    return json.dumps(data, separators=(",", ":"), sort_keys=True).encode()


def decode(kind: type[T], text: bytes | str, sender: str) -> T:
    """The record in a JSON text. NetworkError that names `sender` and the field if it is none; a field with a default
    may be missing."""
    return read(kind, parse_json(text, sender, MESSAGE))


def decode_all(kind: type[T], text: bytes | str, sender: str) -> tuple[T, ...]:
    """The records in a JSON list."""
    return parse_json(text, sender, MESSAGE).list_of(lambda entry: read(kind, entry))


def read(kind: type[T], data: Field) -> T:
    """The record in a field."""
    hashable: Any = kind
    record: T = reader_of(hashable, uses_defaults=True)(data)
    return record


def require_name(place: str, name: str) -> str:
    """The name, which certificates, file names and URLs can hold; ConfigError for another one."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{place}: expected a name of up to 63 letters, digits, '.', '_' and '-', with a letter or a digit at both ends,"
            f" got {describe(name)}"
        )
    return name


def require_sha256(place: str, digest: str) -> str:
    """The digest in hexadecimal digits; NetworkError for what is none, since digests name files."""
    if not _SHA256.fullmatch(digest):
        raise NetworkError(f"{place}: expected 64 hexadecimal digits, got {describe(digest)}")
    return digest
