"""A stage hosted by MLServer, a server that knows nothing of this project: outputs equal, a killed server recovered."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")

import grpc

from multiedge.executors import open_pipeline
from multiedge.transports.open_inference import SERVICE, messages
from tests.builders.pipelines import small_plan, vectors
from tests.builders.stage_hosts import ended, free_port, listens_beyond_loopback, serve

MLSERVER = Path(sys.executable).with_name("mlserver")
STARTS_WITHIN_S = 120.0
RUNTIME = """
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class StageRuntime(MLModel):
    async def load(self):
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload):
        given = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        names = [output.name for output in self.session.get_outputs()]
        made = self.session.run(names, given)
        outputs = [NumpyCodec.encode_output(name, array) for name, array in zip(names, made)]
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=outputs)
"""


def write_repository(folder, part_file):
    """MLServer's settings and a runtime that opens the part; everything bound to loopback."""
    folder.mkdir()
    (folder / "stage_runtime.py").write_text(RUNTIME)
    ports = {name: free_port() for name in ("http_port", "grpc_port", "metrics_port")}
    settings = {"host": "127.0.0.1", **ports, "parallel_workers": 0, "debug": False, "metrics_endpoint": None}
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "cls", "implementation": "stage_runtime.StageRuntime", "parameters": {"uri": str(part_file)}}
    (folder / "model-settings.json").write_text(json.dumps(model))
    return f"127.0.0.1:{ports['grpc_port']}"


@contextmanager
def mlserver(folder, address):
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}
    with (
        (folder / "log").open("a") as log,
        ended([MLSERVER, "start", "."], cwd=folder, env=environment, stdout=log, stderr=log) as p,
    ):
        wait_ready(p, address, folder / "log")
        yield p


def wait_ready(process, address, log):
    kinds = messages()
    request = kinds["ModelReadyRequest"](name="cls")
    until = time.monotonic() + STARTS_WITHIN_S
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(
            f"/{SERVICE}/ModelReady", kinds["ModelReadyRequest"].SerializeToString, kinds["ModelReadyResponse"].FromString
        )
        while time.monotonic() < until:
            assert process.poll() is None, log.read_text()[-2000:]
            try:
                if ask(request, timeout=1.0, wait_for_ready=True).ready:
                    return
            except grpc.RpcError:
                time.sleep(0.1)
    raise AssertionError(f"MLServer did not start: {log.read_text()[-2000:]}")


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
