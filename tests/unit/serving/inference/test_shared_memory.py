"""Regions of shared memory: who may register what, and that neither a name nor a size of a client leads anywhere else."""

from __future__ import annotations

import os

import numpy as np
import pytest

from multiedge.errors import MultiedgeError
from multiedge.serving.inference.contract import Invalid, NotFound, Unsupported
from multiedge.serving.inference.shared_memory import BYTE_SIZE, OFFSET, Region, SystemSharedMemory
from multiedge.serving.inference.wire import REGION, Call, GivenTensor, WantedOutput

HERE = Call(lambda: True, None, lambda: True)
ELSEWHERE = Call(lambda: True, None, lambda: False)
VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "object").write_bytes(b"head" + VALUES.tobytes() + bytes(24))
    return tmp_path


@pytest.fixture
def memory(folder):
    memory = SystemSharedMemory(folder)
    memory.register(Region("r", "/object", 4, 48), True)
    return memory


def tensor(size, offset=None, shape=(2, 3), region="r"):
    return GivenTensor("x", "FP32", shape, None, where(size, offset, region))


def where(size, offset=None, region="r"):
    return {REGION: region, BYTE_SIZE: size} | ({} if offset is None else {OFFSET: offset})


def test_an_input_is_read_and_an_output_written_at_their_places_in_the_region(memory, folder):
    read = memory.read([tensor(24)], HERE)["x"]
    np.testing.assert_array_equal(read, VALUES)
    told = memory.write(WantedOutput("y", where(24, 24)), read * 2, HERE)
    assert told == where(24, 24)
    assert (folder / "object").read_bytes() == b"head" + VALUES.tobytes() + (VALUES * 2).tobytes()


def test_regions_are_listed_until_they_are_unregistered(memory):
    assert memory.status("r") == memory.status() == (Region("r", "/object", 4, 48),)
    memory.unregister("unknown", True)
    memory.unregister("r", True)
    assert memory.status() == ()
    with pytest.raises(NotFound, match="no region 'r'; registered: none"):
        memory.status("r")


def test_all_are_unregistered_without_a_name(memory):
    memory.register(Region("other", "object", 0, 4), True)
    memory.unregister("", True)
    assert memory.status() == ()


@pytest.mark.parametrize(
    "key", ["", "/", "..", "/..", "../object", "a/b", "/a/b", "/etc/passwd", "object\0", ".hidden", "a" * 300, "obj ect"]
)
def test_a_key_that_is_no_name_of_shared_memory_is_refused(memory, key):
    with pytest.raises(Invalid, match="expected the key of a shared memory object"):
        memory.register(Region("k", key, 0, 4), True)


@pytest.mark.parametrize(
    ("region", "line"),
    [
        (Region("r", "object", 0, 4), "region 'r' is registered already; unregister it first"),
        (Region("", "object", 0, 4), "region: expected a name of 1 to 255 characters, got ''"),
        (Region("n", "none", 0, 4), "region 'n': shared memory 'none': no such file or directory"),
        (Region("n", "object", 4, 49), "region 'n': 'object' has 52 bytes, fewer than offset and size"),
        (Region("n", "object", 2**64 - 1, 1), "region 'n': 'object' has 52 bytes, fewer than offset and size"),
        (Region("n", "object", 0, 0), "region 'n': expected an offset from 0 and at least 1 byte"),
        (Region("n", "folder", 0, 4), "region 'n': shared memory 'folder': is a directory"),
        (Region("n", "link", 0, 4), "region 'n': shared memory 'link': too many levels of symbolic links"),
        (Region("n", "pipe", 0, 4), "region 'n': 'pipe' is not shared memory of the server's own user"),
    ],
)
def test_a_region_that_cannot_be_used_is_one_line(memory, folder, region, line):
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(folder / "object")
    os.mkfifo(folder / "pipe")
    with pytest.raises(Invalid) as caught:
        memory.register(region, True)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (tensor(24, 40), "input 'x': bytes 40 to 64 are not in 'r' of 48 bytes"),
        (tensor(-1), "input 'x': shared_memory_byte_size: expected a whole number from 0, got -1"),
        (tensor(True), "input 'x': shared_memory_byte_size: expected a whole number from 0, got true"),
        (tensor(24, "4"), "input 'x': shared_memory_offset: expected a whole number from 0, got '4'"),
        (tensor(20), "tensor 'x': 20 bytes do not fill FP32 (2, 3)"),
        (tensor(24, region="q"), "no region 'q'; registered: r"),
    ],
)
def test_an_input_that_is_not_there_is_one_line(memory, given, line):
    with pytest.raises(MultiedgeError) as caught:
        memory.read([given], HERE)
    assert str(caught.value) == line


def test_an_output_that_does_not_fit_is_refused_and_writes_nothing(memory, folder):
    before = (folder / "object").read_bytes()
    with pytest.raises(Invalid, match="output 'y': 24 bytes do not fit in 20 of 'r'"):
        memory.write(WantedOutput("y", where(20)), VALUES, HERE)
    assert (folder / "object").read_bytes() == before


def test_a_region_that_its_owner_made_smaller_ends_no_server(memory, folder):
    os.truncate(folder / "object", 10)
    with pytest.raises(Invalid, match="input 'x': region 'r' ends after 6 bytes"):
        memory.read([tensor(24)], HERE)
    with pytest.raises(Invalid, match="output 'y': region 'r' has become smaller"):
        memory.write(WantedOutput("y", where(24)), VALUES, HERE)


def test_clients_on_other_machines_have_no_shared_memory(memory):
    uses = [
        lambda: memory.register(Region("n", "object", 0, 4), False),
        lambda: memory.unregister("r", False),
        lambda: memory.read([tensor(24)], ELSEWHERE),
        lambda: memory.write(WantedOutput("y", where(24)), VALUES, ELSEWHERE),
    ]
    for use in uses:
        with pytest.raises(Unsupported, match="shared memory is for clients on this machine"):
            use()
