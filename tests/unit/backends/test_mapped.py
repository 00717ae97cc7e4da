"""Pages of a mapped file that go back to the system."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from multiedge.backends.mapped import MAPS, read_pages_returned, return_pages
from multiedge.meters.memory import read_memory

SIZE = 32 << 20

pytestmark = pytest.mark.skipif(not MAPS.exists(), reason="this system lists no mappings")


def file_bytes() -> int:
    held = read_memory().file_bytes
    assert held is not None
    return held


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"\1" * SIZE)
    return path


def test_what_was_read_is_given_back_and_can_be_read_again(weights: Path) -> None:
    with weights.open("rb") as file, mmap.mmap(file.fileno(), SIZE, prot=mmap.PROT_READ) as mapped:
        before = file_bytes()
        with read_pages_returned(weights):
            assert sum(mapped[:: mmap.PAGESIZE]) == SIZE // mmap.PAGESIZE
        assert file_bytes() - before < SIZE // 4
        assert sum(mapped[:: mmap.PAGESIZE]) == SIZE // mmap.PAGESIZE
        assert file_bytes() - before > SIZE // 2


def test_pages_that_may_be_written_to_stay(weights: Path) -> None:
    with weights.open("rb") as file, mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_COPY) as mapped:
        mapped[0] = 7
        assert return_pages(weights) == 0
        assert mapped[0] == 7
