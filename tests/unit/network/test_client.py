"""Requests to a hub, without one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from multiedge.errors import ConfigError, NetworkError
from multiedge.network import client as module
from multiedge.network.client import HubClient
from multiedge.network.records import BlobState

DATA = b"0123456789"
DIGEST = hashlib.sha256(DATA).hexdigest()


class _Pool:
    """Takes a file in pieces of at most `step` bytes, and refuses by `errors` in order."""

    def __init__(self, step: int, *errors: NetworkError) -> None:
        self.step, self.errors, self.stored = step, list(errors), b""

    def blob(self, digest: str) -> BlobState:
        return BlobState(len(self.stored), self.stored == DATA)

    def put(self, digest: str, body, offset: int, size: int) -> None:
        assert offset == len(self.stored)
        self.stored += body.read(self.step)
        if self.errors:
            raise self.errors.pop(0)
        if self.stored != DATA:
            raise NetworkError("hub: the connection ended")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "UPLOAD_WAIT_S", 0.0)
    (tmp_path / "file").write_bytes(DATA)
    return tmp_path / "file"


def _client(pool: _Pool, monkeypatch: pytest.MonkeyPatch) -> HubClient:
    client = HubClient("127.0.0.1:9")
    monkeypatch.setattr(client, "blob", pool.blob)
    monkeypatch.setattr(client, "_put_bytes", pool.put)
    return client


def test_an_upload_goes_on_as_long_as_it_makes_progress(path, monkeypatch):
    counts: list[int] = []
    assert _client(_Pool(1), monkeypatch).put(path, progress=counts.append) == len(DATA)
    assert counts == [1] * len(DATA)


def test_an_upload_without_progress_ends(path, monkeypatch):
    with pytest.raises(NetworkError, match="the connection ended"):
        _client(_Pool(0), monkeypatch).put(path)


def test_an_upload_waits_for_another_one_of_the_same_file(path, monkeypatch):
    pool = _Pool(len(DATA), NetworkError("hub: another one of this file is going on", status=409))
    assert _client(pool, monkeypatch).put(path) == len(DATA)


def test_a_refused_upload_is_not_tried_again(path, monkeypatch):
    pool = _Pool(0, NetworkError("hub: too large", status=413))
    with pytest.raises(NetworkError, match="too large"):
        _client(pool, monkeypatch).put(path)
    assert not pool.errors


def test_a_hub_that_is_not_there_is_one_line_with_the_remedy():
    with pytest.raises(NetworkError, match=r"hub 127.0.0.1:9: cannot be reached: .*; start one with: multiedge hub run"):
        HubClient("127.0.0.1:9").nodes()


def test_a_hub_beyond_this_machine_needs_an_identity():
    with pytest.raises(ConfigError, match=r"--hub: 198.51.100.1 is not this machine alone, so TLS is needed"):
        HubClient("198.51.100.1:9")


def test_a_digest_is_checked_before_it_is_asked_for():
    with pytest.raises(NetworkError, match="expected 64 hexadecimal digits"):
        HubClient("127.0.0.1:9").has("../secret")
