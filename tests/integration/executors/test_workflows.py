"""Workflows on every executor: each item has what the models alone answer, whatever is cut where and whatever fails."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multiedge.backends.stages import load_backend, open_part
from multiedge.composed import is_void
from multiedge.errors import ConfigError, PipelineError
from multiedge.executors import open_pipeline
from multiedge.fleet import Device, Fleet
from tests.builders.composed import BATCHED, BOTH, CASCADE_OF_ALL, cascade_items, composed
from tests.builders.parts import split_at
from tests.builders.workflows import ENSEMBLE, VIDEO, frame

FLEET = Fleet(tuple(Device(f"device_{number}", speed=1.0) for number in range(4)))
BEFORE_LARGE, BEHIND_LARGE = 2, 7
"""Cuts of the cascade before the condition of its large step, and behind that step."""


def answers(path: Path, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the whole file answers, without what an item does not have."""
    session = open_part(load_backend("onnxruntime"), path)
    outputs = [session.run(item) for item in items]
    return [{name: array for name, array in made.items() if not is_void(array)} for made in outputs]


def require_equal(results: list[Any], wanted: list[dict[str, Any]]) -> None:
    for result, expected in zip(results, wanted, strict=True):
        tensors = result.require()
        assert tensors.keys() == expected.keys()
        for name, array in expected.items():
            assert np.allclose(tensors[name], array, atol=1e-6), name


@pytest.mark.parametrize("cuts", [(), (BEFORE_LARGE, BEHIND_LARGE), (3,), (1, 5), (5, 6, 7)], ids=str)
def test_a_cascade_answers_alike_wherever_it_is_cut(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    path, items = composed(tmp_path, CASCADE_OF_ALL), cascade_items(12)
    with open_pipeline(split_at(path, cuts, tmp_path / "parts"), FLEET, "inline") as pipeline:
        results, _ = pipeline.map(items)
    require_equal(results, answers(path, items))
    assert len({len(result.require()) for result in results}) == 2


@pytest.mark.parametrize("cuts", [(), (6,), (7,), (8,), (6, 7, 8)], ids=str)
def test_a_step_that_reads_what_only_some_items_have_answers_alike_wherever_it_is_cut(
    tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    path, items = composed(tmp_path, BOTH), cascade_items(8)
    with open_pipeline(split_at(path, cuts, tmp_path / "parts"), FLEET, "inline") as pipeline:
        require_equal(pipeline.map(items)[0], answers(path, items))


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_rows_cross_a_cut_and_may_be_none(tmp_path: Path, executor: str) -> None:
    path = composed(tmp_path, VIDEO)
    items = [frame((0, 1), (2, 2)), frame(), frame((1, 1), (3, 0), (0, 0)), frame((3, 3))]
    with open_pipeline(split_at(path, [2], tmp_path / "parts"), FLEET, executor) as pipeline:
        results, _ = pipeline.map(items)
    require_equal(results, answers(path, items))
    assert [len(result.require()["scores"]) for result in results] == [2, 0, 3, 1]


@pytest.mark.parametrize(("executor", "further"), [("inline", ()), ("processes", (BEHIND_LARGE,))])
def test_a_stage_whose_step_is_not_computed_is_skipped_and_the_record_says_so(
    tmp_path: Path, executor: str, further: tuple[int, ...]
) -> None:
    path, items = composed(tmp_path, BATCHED.replace("timeout_ms: 5", "timeout_ms: 300")), cascade_items(40)
    manifest = split_at(path, [BEFORE_LARGE + 1, *further], tmp_path / "parts")
    with open_pipeline(manifest, FLEET, executor) as pipeline:
        results, measurements = pipeline.map(items)
    wanted = answers(path, items)
    require_equal(results, wanted)
    skipped = {event.item for event in measurements.events if (event.kind, event.stage) == ("skip", 1)}
    computed = {event.item for event in measurements.events if (event.kind, event.stage) == ("compute", 1)}
    assert skipped == {item for item, expected in enumerate(wanted) if "large" not in expected}
    assert computed == set(range(len(items))) - skipped
    if executor == "processes":  # `inline` has one item at a time
        runs = {event.start_s for event in measurements.events if (event.kind, event.stage) == ("compute", 1)}
        assert len(runs) < len(computed)


def test_micro_batches_are_refused_since_steps_say_what_they_take(tmp_path: Path) -> None:
    manifest = split_at(composed(tmp_path), [], tmp_path / "parts")
    with pytest.raises(ConfigError, match="micro_batch: has no effect on a workflow; give its steps a `batch`"):
        open_pipeline(manifest, FLEET, "processes", micro_batch=4)


@pytest.mark.slow
def test_a_worker_that_is_killed_during_a_cascade_loses_no_item(tmp_path: Path) -> None:
    path, items, device = composed(tmp_path, BATCHED), cascade_items(100), "device_1"
    manifest = split_at(path, [BEFORE_LARGE, BEHIND_LARGE], tmp_path / "parts")
    with open_pipeline(manifest, FLEET, "processes") as pipeline:
        executor: Any = pipeline.executor

        def source() -> Any:
            for number, item in enumerate(items):
                if number == len(items) // 2:
                    os.kill(executor.pool.workers[device].pid, signal.SIGKILL)
                yield item

        results, measurements = pipeline.map(source())
    require_equal(results, answers(path, items))
    assert [result.item for result in results] == list(range(len(items)))
    assert device in [fault.device for fault in measurements.failures]
    assert all(fault.recovered_s is not None for fault in measurements.failures)


@pytest.mark.parametrize("direct", [True, False], ids=["directly", "by the caller"])
def test_servers_of_stages_tell_each_other_what_an_item_does_not_have(tmp_path: Path, direct: bool) -> None:
    pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")
    from multiedge.serving.server import StageServer
    from multiedge.serving.signature import Signature

    path, items = composed(tmp_path, CASCADE_OF_ALL), cascade_items(20)
    manifest = split_at(path, [BEFORE_LARGE + 1, BEHIND_LARGE], tmp_path / "parts")
    files = {f"stage_{part.stage + 1}": tmp_path / "parts" / part.file for part in manifest.parts}
    sessions = {name: open_part(load_backend("onnxruntime"), file) for name, file in files.items()}
    signatures = {name: Signature.of_part(file, sessions[name]) for name, file in files.items()}
    with StageServer(sessions, signatures=signatures) as server:
        endpoints = dict.fromkeys([part.device for part in manifest.parts], server.address)
        with open_pipeline(manifest, FLEET, "remote", endpoints=endpoints, direct=direct) as pipeline:
            results, measurements = pipeline.map(items)
    require_equal(results, answers(path, items))
    if not direct:  # otherwise the caller does not see what goes from server to server
        assert {event.kind for event in measurements.events if event.stage == 1} >= {"skip", "compute"}


@pytest.mark.slow
def test_nodes_run_a_cascade_and_call_no_function_that_nobody_registered(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="the extra `fleet` is not installed")
    from tests.builders.nodes import running_nodes

    path, items = composed(tmp_path / "cascade", CASCADE_OF_ALL), cascade_items(20)
    manifest = split_at(path, [BEFORE_LARGE + 1], tmp_path / "cascade" / "parts")
    foreign = split_at(composed(tmp_path / "ensemble", ENSEMBLE), [], tmp_path / "ensemble" / "parts")
    folders = [Path(each.directory) for each in (manifest, foreign)]
    with running_nodes(["device_0", "device_1"], folders) as nodes:
        addresses = {name: node.address for name, node in nodes.items()}
        with open_pipeline(manifest, FLEET, "fleet", nodes=addresses) as pipeline:
            results, _ = pipeline.map(items)
        require_equal(results, answers(path, items))
        with pytest.raises(PipelineError, match="'mean' is not called here: no installed package registers it"):
            open_pipeline(foreign, FLEET, "fleet", nodes=addresses)
