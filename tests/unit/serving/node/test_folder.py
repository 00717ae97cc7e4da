"""Stages of plans on a node: exactly their bytes are fetched, once, verified, and opened by the worker's own check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multiedge.backends.automatic import installed_version, resolved
from multiedge.backends.choices import Choice, Choices, Outcome, path_of, save_choices
from multiedge.backends.stages import load_backend, open_stage
from multiedge.errors import ChangedError, ConfigError, NetworkError, PipelineError, PlanError
from multiedge.fleet import AUTO_BACKEND, Device
from multiedge.network.records import PlanFile, PlanRecord
from multiedge.plan import Manifest
from multiedge.serving.node import fetch
from multiedge.serving.node.folder import LocalStages, PlanFolders, local_name
from tests.builders.pool import FakePool, split_layers

LAYER_BYTES = 64 * 64 * 4
ROOM = 10 << 20


@pytest.fixture
def pool() -> FakePool:
    return FakePool()


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Two stages of three layers each."""
    return split_layers(tmp_path / "model", [3])


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "RETRY_S", 0.001)


class Node:
    """The folder of a node, which ends without a word when it is opened anew."""

    def __init__(self, folder: Path, pool: FakePool, limit_bytes: int = ROOM) -> None:
        self._folder, self._pool, self._limit_bytes = folder, pool, limit_bytes
        self.folders = PlanFolders(folder, limit_bytes, pool)

    def restart(self) -> None:
        self.folders.close()
        self.folders = PlanFolders(self._folder, self._limit_bytes, self._pool)

    def open(self, plan: str, *stages: int, **options: Any) -> LocalStages:
        return self.folders.open(plan, stages, **options)


@pytest.fixture
def node(tmp_path: Path, pool: FakePool) -> Iterator[Node]:
    made = Node(tmp_path / "node", pool)
    yield made
    made.folders.close()


def weights_sent(pool: FakePool, manifest: Manifest) -> int:
    """Bytes that the pool sent of the model's weights."""
    return sum(count for digest, count in pool.sent.items() if len(pool.files[digest]) >= 6 * LAYER_BYTES)


def answer(local: LocalStages, stage: int, x: Any) -> Any:
    session = open_stage(load_backend("onnxruntime"), local.directory, local.parts[stage])
    outputs = session.run({session.inputs[0]: x})
    session.close()
    return outputs[session.outputs[0]]


def test_a_stage_takes_its_own_bytes_alone_and_gives_the_same_answers(node: Node, pool: FakePool, manifest: Manifest) -> None:
    local = node.open(pool.put(manifest), 1)
    assert weights_sent(pool, manifest) == 3 * LAYER_BYTES
    x = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 64)
    theirs = open_stage(load_backend("onnxruntime"), Path(manifest.directory), manifest.parts[1])
    expected = theirs.run({theirs.inputs[0]: x})[theirs.outputs[0]]
    theirs.close()
    assert answer(local, 1, x).tobytes() == expected.tobytes()


def test_what_was_measured_of_a_part_counts_for_the_nodes_own_files_of_it(
    node: Node, pool: FakePool, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    device, local = Device("pi", backend=AUTO_BACKEND), node.open(pool.put(manifest), 1)
    row = Choice("synthetic", "float32", installed_version("synthetic"), Outcome.TIMED, 1.0)
    save_choices(Choices("m", 1, (row,)), path_of(manifest.part_files[1], device))
    assert resolved(device, local.directory / local.parts[1].file).backend == "synthetic"
    assert resolved(device, manifest.part_files[0]).backend == "onnxruntime"


def test_the_file_of_weights_takes_only_its_own_bytes_on_the_disk(node: Node, pool: FakePool, tmp_path: Path) -> None:
    large = split_layers(tmp_path / "large", [1], count=8, width=256)
    local = node.open(pool.put(large), 0)
    (name,) = [name for name in local.parts[0].files if name.endswith(".linked")]
    status = (local.directory / name).stat()
    assert status.st_size >= 8 * 256 * 256 * 4
    assert status.st_blocks * 512 < 2 * 256 * 256 * 4


def test_adjacent_ranges_are_one_request(node: Node, pool: FakePool, manifest: Manifest) -> None:
    node.open(pool.put(manifest), 0)
    assert sorted(length for _, length in pool.requests)[-1] == 3 * LAYER_BYTES
    assert len(pool.requests) == 2  # the part and its weights


def test_a_second_deployment_of_the_model_fetches_no_weight_again(
    node: Node, pool: FakePool, manifest: Manifest, tmp_path: Path
) -> None:
    first = node.open(pool.put(manifest), 0, 1)
    assert weights_sent(pool, manifest) == 6 * LAYER_BYTES
    other = node.open(pool.put(split_layers(tmp_path / "model", [2])), 0, 1)
    assert weights_sent(pool, manifest) == 6 * LAYER_BYTES
    x = np.ones((1, 64), np.float32)
    assert np.array_equal(answer(other, 1, answer(other, 0, x)), answer(first, 1, answer(first, 0, x)))


def test_a_stage_that_moves_here_fetches_what_is_new_to_the_node(
    node: Node, pool: FakePool, manifest: Manifest, tmp_path: Path
) -> None:
    node.open(pool.put(manifest), 0)
    node.open(pool.put(split_layers(tmp_path / "model", [5])), 0)
    assert weights_sent(pool, manifest) == 5 * LAYER_BYTES


def test_a_running_session_is_not_disturbed_by_another_fetch(
    node: Node, pool: FakePool, manifest: Manifest, tmp_path: Path
) -> None:
    local = node.open(pool.put(manifest), 0)
    session = open_stage(load_backend("onnxruntime"), local.directory, local.parts[0])
    node.open(pool.put(split_layers(tmp_path / "model", [5])), 0, 1)
    session.run({session.inputs[0]: np.ones((1, 64), np.float32)})  # ChangedError if a file that it maps was written to
    session.close()


def test_a_stage_has_the_same_names_each_time(node: Node, pool: FakePool, manifest: Manifest) -> None:
    plan = pool.put(manifest)
    first = node.open(plan, 0)
    second = node.open(plan, 0, 1)
    first.release()
    assert second.parts[0] == first.parts[0]
    assert node.open(plan, 0).parts[0] == first.parts[0]


def test_without_hard_links_what_is_needed_is_copied(
    node: Node, pool: FakePool, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    plan = pool.put(manifest)
    local = node.open(plan, 0, 1)
    assert answer(local, 0, np.ones((1, 64), np.float32)).shape == (1, 64)
    assert answer(node.open(plan, 0), 0, np.ones((1, 64), np.float32)).shape == (1, 64)


def test_copied_weights_travel_whole(node: Node, pool: FakePool, tmp_path: Path) -> None:
    copied = split_layers(tmp_path / "model", [3], copy_weights=True)
    local = node.open(pool.put(copied), 0, 1)
    assert answer(local, 0, np.ones((1, 64), np.float32)).shape == (1, 64)


def test_an_interrupted_fetch_is_resumed_after_a_kill(
    node: Node, pool: FakePool, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = pool.put(manifest)
    pool.most_bytes = 30_000
    with pytest.raises(NetworkError, match="the connection ended"):
        node.open(plan, 0)
    already = pool.sent.total()
    assert already > 25_000
    node.restart()
    pool.most_bytes = float("inf")
    node.open(plan, 0)
    record = pool.plans[plan]
    assert pool.sent.total() == sum(file.needed_bytes for file in record.parts[0].files)


def test_a_connection_that_ends_now_and_then_is_resumed_where_it_ended(node: Node, pool: FakePool, manifest: Manifest) -> None:
    plan = pool.put(manifest)
    read, calls = pool.read, []

    def unsteady(digest: str, offset: int, length: int) -> Iterator[bytes]:
        calls.append(offset)
        for number, piece in enumerate(read(digest, offset, length)):
            yield piece
            if number == 9:
                raise NetworkError("the connection ended")

    pool.read = unsteady  # type: ignore[method-assign]
    node.open(plan, 0)
    assert len(calls) > 5
    assert pool.sent.total() == sum(file.needed_bytes for file in pool.plans[plan].parts[0].files)


def test_changed_bytes_in_the_pool_are_refused_and_nothing_of_them_is_kept(
    node: Node, pool: FakePool, manifest: Manifest
) -> None:
    plan = pool.put(manifest)
    digest = max(pool.files, key=lambda each: len(pool.files[each]))
    good = pool.files[digest]
    pool.files[digest] = good[:100] + bytes([good[100] ^ 1]) + good[101:]
    with pytest.raises(ChangedError, match=r"'weights_1.linked': bytes 0 to 16384 in the pool are not those of the plan"):
        node.open(plan, 0)
    pool.files[digest] = good
    pool.sent.clear()
    node.open(plan, 0)
    assert weights_sent(pool, manifest) == LAYER_BYTES  # the other ranges were verified before


def test_a_file_that_changed_on_the_disk_is_fetched_again(node: Node, pool: FakePool, manifest: Manifest) -> None:
    plan = pool.put(manifest)
    local = node.open(plan, 0)
    (name,) = [name for name in local.parts[0].files if name.endswith(".linked")]
    with (local.directory / name).open("r+b") as file:
        file.write(b"changed")
    node.restart()
    pool.sent.clear()
    node.open(plan, 0)
    assert weights_sent(pool, manifest) == 3 * LAYER_BYTES


def test_a_file_without_an_index_is_removed_and_a_damaged_index_is_no_error(
    node: Node, pool: FakePool, manifest: Manifest, tmp_path: Path
) -> None:
    plan = pool.put(manifest)
    node.open(plan, 0)
    files = tmp_path / "node" / "files"
    (files / "stray").write_bytes(b"x")
    for index in files.glob("*.json"):
        index.write_text("{")
    node.restart()
    assert list(files.iterdir()) == []
    node.open(plan, 0)


def test_what_is_here_is_opened_while_the_pool_is_away(node: Node, pool: FakePool, manifest: Manifest) -> None:
    plan = pool.put(manifest)
    node.open(plan, 0, 1)
    node.restart()
    pool.plans.clear()
    pool.files.clear()
    assert answer(node.open(plan, 0), 0, np.ones((1, 64), np.float32)).shape == (1, 64)


def test_the_least_recently_used_goes_first_and_what_is_in_use_stays(tmp_path: Path, pool: FakePool) -> None:
    plans = [pool.put(split_layers(tmp_path / f"model{n}", [3], width=64 + n)) for n in range(3)]
    node = Node(tmp_path / "node", pool, limit_bytes=8 * LAYER_BYTES)
    kept = node.open(plans[0], 0)
    node.open(plans[1], 0).release()
    node.open(plans[2], 0).release()  # makes room by the second
    assert node.folders.used_bytes <= 8 * LAYER_BYTES
    assert answer(kept, 0, np.ones((1, 64), np.float32)).shape == (1, 64)
    pool.sent.clear()
    node.open(plans[2], 0)
    assert pool.sent.total() == 0
    with pytest.raises(ConfigError, match=r"cache: .* more do not fit: it holds at most 128.0 KiB"):
        node.open(plans[1], 0)
    node.folders.close()


def test_a_fetch_that_is_cancelled_ends_and_leaves_what_it_has(node: Node, pool: FakePool, manifest: Manifest) -> None:
    plan = pool.put(manifest)
    seen: list[tuple[int, int]] = []
    with pytest.raises(PipelineError, match="cancelled"):
        node.open(plan, 0, progress=lambda *each: seen.append(each), is_cancelled=lambda: seen[-1][0] > 20_000)
    before = pool.sent.total()
    assert 20_000 < before < 25_000
    node.open(plan, 0)
    assert pool.sent.total() == seen[-1][1]


def test_progress_ends_with_all_that_is_needed(node: Node, pool: FakePool, manifest: Manifest) -> None:
    seen: list[tuple[int, int]] = []
    node.open(pool.put(manifest), 0, progress=lambda *each: seen.append(each))
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] == pool.sent.total()


def test_one_node_has_a_folder(node: Node, tmp_path: Path, pool: FakePool) -> None:
    with pytest.raises(ConfigError, match="another node uses this folder"):
        PlanFolders(tmp_path / "node", ROOM, pool)


@pytest.mark.parametrize("name", ["../evil.onnx", "/etc/passwd", "sub_model_1.onnx/..", "weights_1.linked\0", "a", ".x.onnx"])
def test_no_text_of_a_peer_names_a_file(name: str, pool: FakePool, node: Node, manifest: Manifest) -> None:
    plan = pool.put(manifest)
    parts = pool.plans[plan].parts
    record = with_files(pool.plans[plan], (replace(parts[0].files[0], name=name), *parts[0].files[1:]))
    pool.plans[record.digest] = record
    with pytest.raises(ConfigError, match="expected the name of a file of a plan"):
        node.open(record.digest, 0)
    assert pool.sent.total() == 0


def with_files(record: PlanRecord, files: tuple[PlanFile, ...]) -> PlanRecord:
    return replace(record, parts=(replace(record.parts[0], files=files), *record.parts[1:]))


def test_a_part_that_reads_bytes_which_the_plan_does_not_list_is_refused(
    node: Node, pool: FakePool, manifest: Manifest
) -> None:
    plan = pool.put(manifest)
    part, weights = pool.plans[plan].parts[0].files
    record = with_files(pool.plans[plan], (part, replace(weights, ranges=weights.ranges[:2])))
    pool.plans[record.digest] = record
    with pytest.raises(PlanError, match=r"reads bytes 32768 to 49152 of 'weights_1.linked', which the plan does not list"):
        node.open(record.digest, 0)


def test_a_stage_that_the_plan_does_not_have_is_named(node: Node, pool: FakePool, manifest: Manifest) -> None:
    with pytest.raises(PlanError, match="has no stage 7; it has 2"):
        node.open(pool.put(manifest), 7)


def test_local_names_are_made_anew() -> None:
    assert local_name("sub_model_007.weights", "plan") == "sub_model_7.weights"
