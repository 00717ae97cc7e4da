import hashlib
from pathlib import Path

import pytest

from multiedge.errors import NetworkError
from multiedge.network.records import BlobState
from multiedge.serving.hub.pool import Pool

DATA = b"weights" * 100
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path, 10_000)


def _append(pool: Pool, offset: int, data: bytes) -> None:
    with pool.open_upload(DIGEST, offset, len(DATA)).open("ab") as file:
        file.write(data)


def test_a_file_is_there_once_all_of_it_is_verified(pool: Pool) -> None:
    _append(pool, 0, DATA[:300])
    assert pool.state(DIGEST) == BlobState(300, False)
    _append(pool, 300, DATA[300:])
    assert not pool.path(DIGEST).exists()
    pool.finish(DIGEST)
    assert pool.state(DIGEST) == BlobState(len(DATA), True)
    assert pool.path(DIGEST).read_bytes() == DATA
    assert pool.nbytes == len(DATA)


def test_an_upload_survives_a_restart_of_the_hub(pool: Pool, tmp_path: Path) -> None:
    _append(pool, 0, DATA[:300])
    assert Pool(tmp_path, 10_000).state(DIGEST) == BlobState(300, False)


def test_a_file_with_other_bytes_is_refused_and_removed(pool: Pool) -> None:
    _append(pool, 0, DATA[:-1] + b"!")
    with pytest.raises(NetworkError, match="upload: expected a file with SHA-256") as error:
        pool.finish(DIGEST)
    assert error.value.status == 422
    assert pool.state(DIGEST) == BlobState(0, False)


@pytest.mark.parametrize(
    ("offset", "size", "status", "reason"),
    [
        (5, 700, 409, "expected it to continue at 0, got 5"),
        (0, 10_001, 413, "expected at most"),
        (0, 10_001, 413, "run the hub with a larger --max-file"),
        (9, 5, 400, "expected an offset from 0 to the size"),
    ],
)
def test_an_upload_that_cannot_go_on_is_refused(pool: Pool, offset: int, size: int, status: int, reason: str) -> None:
    with pytest.raises(NetworkError, match=reason) as error:
        pool.open_upload(DIGEST, offset, size)
    assert error.value.status == status


def test_an_upload_that_does_not_fit_the_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="do not fit the hub's disk") as error:
        Pool(tmp_path, 1 << 62).open_upload(DIGEST, 0, 1 << 60)
    assert error.value.status == 507


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "a" * 63, f"{'a' * 62}/."])
def test_no_path_of_a_peer_is_used(pool: Pool, digest: str) -> None:
    with pytest.raises(NetworkError, match="expected 64 hexadecimal digits"):
        pool.state(digest)
