"""Stages as actors of a two-node Ray cluster on this machine: placement, and what happens when an actor is killed."""

import os
import signal
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # read at import: Ray listens on loopback only

pytest.importorskip("ray", reason="the extra `ray` is not installed", exc_type=ImportError)

import ray
from ray.cluster_utils import Cluster

from multiedge.errors import ConfigError, MissingDependencyError, PipelineError
from multiedge.executors import open_pipeline
from multiedge.executors.flow.sequences import Sequences
from multiedge.fleet import Device, Fleet
from tests.builders.composed import CASCADE_OF_ALL, cascade_items, composed
from tests.builders.parts import split_at
from tests.builders.pipelines import item, small_plan, synthetic_chain, synthetic_fleet, vectors
from tests.builders.sequences import decoded, even_parts, save_model
from tests.builders.stage_hosts import listens_beyond_loopback

pytestmark = [
    # Ray leaves the log files and handles of the processes that it starts to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning:ray"),
]
LOOPBACK = "127.0.0.1"
STORE_BYTES = 80 * 2**20


@pytest.fixture(scope="module")
def cluster():
    def node(device):
        resources = {f"multiedge_{device}": 1}
        return {"num_cpus": 1, "resources": resources, "object_store_memory": STORE_BYTES, "node_ip_address": LOOPBACK}

    running = Cluster(initialize_head=True, head_node_args={**node("d0"), "include_dashboard": False})
    try:
        running.add_node(**node("d1"))
        ray.init(address=running.address, _node_ip_address=LOOPBACK, log_to_driver=False, logging_level="ERROR")
        yield running
    finally:
        ray.shutdown()
        running.shutdown()


def pid_of(pipeline, device):
    return ray.get(pipeline.executor._actors[device].pid.remote(), timeout=30)


def test_the_cluster_is_on_loopback_and_has_two_nodes(cluster):
    assert [node["NodeManagerAddress"] for node in ray.nodes()] == [LOOPBACK] * 2
    assert listens_beyond_loopback(os.getpid()) == []


def test_outputs_equal_the_inline_ones_and_each_device_is_its_own_node(cluster, tmp_path):
    manifest, fleet = small_plan(tmp_path, devices=2)
    items = vectors(30)
    with open_pipeline(manifest, fleet, "inline") as pipeline:
        expected, _ = pipeline.map(items)
    with open_pipeline(manifest, fleet, "ray") as pipeline:
        results, measured = pipeline.map(items)
        nodes = {device: ray.get(actor.node_id.remote(), timeout=30) for device, actor in pipeline.executor._actors.items()}
    assert [result.item for result in results] == list(range(30))
    assert all(np.array_equal(a.require()["y"], b.require()["y"]) for a, b in zip(results, expected, strict=True))
    resources = {node["NodeID"]: node["Resources"] for node in ray.nodes()}
    assert all(f"multiedge_{device}" in resources[node] for device, node in nodes.items())
    assert len(set(nodes.values())) == 2
    assert measured.settings["ray"]["pinned"]
    assert {entry.method for entry in measured.memory} == {"VmHWM"}
    assert all(entry.peak_bytes > 0 for entry in measured.memory)


@pytest.mark.slow
def test_a_decoder_keeps_its_states_in_its_actors_and_replays_them_after_one_was_killed(cluster, tmp_path):
    manifest, fleet = even_parts(save_model(tmp_path, "optimum"), tmp_path / "parts", 2)
    with open_pipeline(manifest, fleet, "inline", warmup_items=0) as pipeline:
        expected = decoded(Sequences(pipeline.executor).open(), manifest, 12)
    with open_pipeline(manifest, fleet, "ray", warmup_items=0) as pipeline:
        sequence = Sequences(pipeline.executor).open()
        tokens = decoded(sequence, manifest, 6)
        os.kill(pid_of(pipeline, "d1"), signal.SIGKILL)
        tokens += decoded(sequence, manifest, 6, tokens[-1])
        assert sequence.replays >= 1
    assert tokens == expected


def test_actors_run_a_cascade_and_skip_what_an_item_does_not_have(cluster, tmp_path):
    path, items = composed(tmp_path, CASCADE_OF_ALL), cascade_items(12)
    manifest = split_at(path, [5], tmp_path / "parts")
    manifest = replace(manifest, parts=tuple(replace(part, device=f"d{part.stage}") for part in manifest.parts))
    fleet = Fleet((Device("d0"), Device("d1")))
    with open_pipeline(manifest, fleet, "inline") as pipeline:
        expected, _ = pipeline.map(items)
    with open_pipeline(manifest, fleet, "ray") as pipeline:
        results, _ = pipeline.map(items)
    assert len({len(result.require()) for result in results}) == 2
    for result, wanted in zip(results, expected, strict=True):
        assert result.require().keys() == wanted.require().keys()
        assert all(np.array_equal(array, wanted.require()[name]) for name, array in result.require().items())


@pytest.mark.slow
def test_a_killed_actor_is_restarted_and_loses_nothing(cluster, tmp_path):
    manifest = synthetic_chain(tmp_path, stages=2, seconds=0.005)
    enough = threading.Event()
    answered = []

    def tell(count):
        answered.append(count)
        if sum(answered) >= 30:
            enough.set()

    with open_pipeline(manifest, synthetic_fleet(2), "ray") as pipeline:
        before = pid_of(pipeline, "d1")

        def kill():
            assert enough.wait(30)
            os.kill(before, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        results, measured = pipeline.map([item(n) for n in range(300)], progress=tell)
        killer.join(timeout=30)
        assert pid_of(pipeline, "d1") != before
    assert [result.item for result in results] == list(range(300))
    assert [float(result.require()["t2"][0]) for result in results] == [n + 2.0 for n in range(300)]
    assert [(fault.kind, fault.device) for fault in measured.faults] == [("restart", "d1")]
    assert measured.faults[0].recovered_s > measured.faults[0].detected_s
    print(f"recovered in {measured.faults[0].recovered_s - measured.faults[0].detected_s:.2f} s")


def test_a_bad_item_fails_alone_with_the_stage_s_own_words(cluster, tmp_path):
    manifest = synthetic_chain(tmp_path, stages=2, inputs=["t0"], outputs={"t1": "absent"})
    with open_pipeline(manifest, synthetic_fleet(2), "ray", warmup_items=0) as pipeline:
        results, _ = pipeline.map([item(1), item(2)])
    assert [result.error for result in results] == ["stage 0 on 'd0' failed: KeyError: 'absent'"] * 2


def test_a_device_that_no_node_declares_is_named(cluster, tmp_path):
    with pytest.raises(
        PipelineError, match="device 'd2' is on no node of the Ray cluster; expected the resource 'multiedge_d2'"
    ):
        open_pipeline(synthetic_chain(tmp_path, stages=3), synthetic_fleet(3), "ray")


def test_a_stage_that_cannot_load_fails_the_start(cluster, tmp_path):
    manifest = synthetic_chain(tmp_path, stages=2)
    (tmp_path / "stage_1.json").unlink()
    with pytest.raises(PipelineError, match=r"the actor of device 'd1' could not start: .*stage_1\.json"):
        open_pipeline(manifest, synthetic_fleet(2), "ray")


@pytest.mark.slow
def test_nothing_of_a_closed_pipeline_is_left_on_the_cluster(cluster, tmp_path):
    with open_pipeline(synthetic_chain(tmp_path, stages=2), synthetic_fleet(2), "ray") as pipeline:
        pids = [pid_of(pipeline, device) for device in ("d0", "d1")]
    for pid in pids:
        assert wait_until_gone(pid)


def wait_until_gone(pid, patience_s=10.0):
    import psutil

    gone, _ = psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=patience_s)
    return not psutil.pid_exists(pid) or bool(gone) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_ray_that_would_listen_beyond_loopback_is_not_started(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.5")
    monkeypatch.setattr(ray, "init", lambda **options: pytest.fail("Ray was started"))
    with pytest.raises(PipelineError, match="set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 first"):
        open_pipeline(synthetic_chain(tmp_path, stages=2), synthetic_fleet(2), "ray")


def test_fallbacks_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="'ray' has no option 'fallbacks'; executors that have it: fleet, processes, remote"):
        open_pipeline(synthetic_chain(tmp_path, stages=2), synthetic_fleet(2), "ray", fallbacks={0: ("d1",)})


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'multi-edge-bench\[ray\]'"):
        open_pipeline(synthetic_chain(tmp_path, stages=2), synthetic_fleet(2), "ray")


@pytest.mark.slow
def test_tensors_between_stages_do_not_come_to_the_caller(cluster, tmp_path, monkeypatch):
    manifest = synthetic_chain(tmp_path, stages=2)
    big = {"t0": np.ones(1 << 18, np.float32)}
    came = []
    get = ray.get

    def counted(handles, **options):
        answer = get(handles, **options)
        came.extend(each.nbytes for each in (answer if isinstance(answer, list) else []) if isinstance(each, np.ndarray))
        return answer

    monkeypatch.setattr(ray, "get", counted)
    with open_pipeline(manifest, synthetic_fleet(2), "ray", warmup_items=0) as pipeline:
        results, measured = pipeline.map([big] * 5)
    assert all(np.array_equal(result.require()["t2"], big["t0"] + 2) for result in results)
    assert came == [1 << 20] * 5  # the results; each item has as many bytes between its two stages
    assert measured.by_caller == ()
