"""A stage hosted by MLServer, a server that knows nothing of this project: outputs equal, a killed server recovered."""

import shutil
import signal
import threading
from contextlib import ExitStack

import numpy as np
import pytest

pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")

from multiedge.executors import open_pipeline
from tests.builders.foreign_hosts import MLSERVER, STARTS_WITHIN_S, mlserver, write_repository
from tests.builders.pipelines import small_plan, vectors
from tests.builders.stage_hosts import listens_beyond_loopback, serve


@pytest.fixture
def hosted(tmp_path):
    if not MLSERVER.exists():
        pytest.skip("mlserver is not installed; run: pip install mlserver 'uvloop<0.22'")
    manifest, fleet = small_plan(tmp_path, devices=2)
    part = shutil.copytree(tmp_path / "parts", tmp_path / "copy") / manifest.parts[0].file
    folder = tmp_path / "mlserver"
    return manifest, fleet, folder, write_repository(folder, part)


@pytest.mark.slow
def test_mlserver_hosts_a_stage_and_may_be_killed(hosted):
    manifest, fleet, folder, address = hosted
    items = vectors(150)
    with open_pipeline(manifest, fleet, "inline") as pipeline:
        expected, _ = pipeline.map(items)
    enough, answered = threading.Event(), []

    def tell(count):
        answered.append(count)
        if sum(answered) >= 40:
            enough.set()

    with ExitStack() as running:
        first = running.enter_context(mlserver(folder, address))
        assert listens_beyond_loopback(first.pid) == []
        _, lines = running.enter_context(serve(manifest.directory, "--device", "d1"))
        options = {"endpoints": {"d0": f"{address}/cls", "1": lines[0].split()[0]}, "patience_s": STARTS_WITHIN_S}
        pipeline = running.enter_context(open_pipeline(manifest, fleet, "remote", **options, depth=4))

        def restart():
            assert enough.wait(60)
            first.send_signal(signal.SIGKILL)
            first.wait(timeout=10)
            running.enter_context(mlserver(folder, address))

        killer = threading.Thread(target=restart)
        killer.start()
        results, measured = pipeline.map(items, progress=tell)
        killer.join(timeout=STARTS_WITHIN_S)
    assert [result.item for result in results] == list(range(150))
    assert all(np.array_equal(a.require()["y"], b.require()["y"]) for a, b in zip(results, expected, strict=True))
    assert {(fault.kind, fault.device) for fault in measured.faults} == {("server", "d0")}
    assert all(fault.recovered_s is not None for fault in measured.faults)
    print(f"recovered in {max(f.recovered_s - f.detected_s for f in measured.faults):.2f} s")
