"""Servers of other makers that host a stage: MLServer and the KServe SDK, started as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc

from multiedge.transports.open_inference import SERVICE, messages
from tests.builders.stage_hosts import ended, free_port

MLSERVER = Path(sys.executable).with_name("mlserver")
KSERVE_PYTHON = "MULTIEDGE_KSERVE_PYTHON"
"""The variable that names a Python with kserve and onnxruntime, in an environment of its own: requirements differ."""
STARTS_WITHIN_S = 120.0
MLSERVER_RUNTIME = """
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
KSERVE_RUNTIME = """
import sys

import onnxruntime
from kserve import InferOutput, InferResponse, Model, ModelServer
from kserve.utils.numpy_codec import from_np_dtype


class StageModel(Model):
    def __init__(self, name, path):
        super().__init__(name)
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        given = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        outputs = []
        for output, array in zip(self.session.get_outputs(), self.session.run(None, given)):
            made = InferOutput(output.name, list(array.shape), from_np_dtype(array.dtype))
            made.set_data_from_numpy(array, binary_data=True)
            outputs.append(made)
        return InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=outputs)


path, http_port, grpc_port = sys.argv[1:]
sys.argv[1:] = []
server = ModelServer(http_port=int(http_port), grpc_port=int(grpc_port), enable_docs_url=False)
server.start([StageModel("cls", path)])
"""


def write_repository(folder: Path, part: Path, host: str = "127.0.0.1") -> str:
    """MLServer's settings and a runtime that opens the part; the address at which it will listen for gRPC."""
    folder.mkdir()
    (folder / "stage_runtime.py").write_text(MLSERVER_RUNTIME)
    ports = {name: free_port() for name in ("http_port", "grpc_port", "metrics_port")}
    settings = {"host": host, **ports, "parallel_workers": 0, "debug": False, "metrics_endpoint": None}
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "cls", "implementation": "stage_runtime.StageRuntime", "parameters": {"uri": str(part)}}
    (folder / "model-settings.json").write_text(json.dumps(model))
    return f"{host}:{ports['grpc_port']}"


@contextmanager
def mlserver(folder: Path, address: str, inside: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """MLServer on a folder of `write_repository`, started by a command that begins with `inside`; it has the model `cls`."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}
    with _started([*inside, str(MLSERVER), "start", "."], folder, environment, address) as process:
        yield process


@contextmanager
def kserve(folder: Path, part: Path, host: str, inside: Sequence[str] = ()) -> Iterator[str]:
    """A model server of the KServe SDK with the part as model `cls`: its address."""
    folder.mkdir()
    (folder / "stage_model.py").write_text(KSERVE_RUNTIME)
    ports = [str(free_port()) for _ in range(2)]
    address = f"{host}:{ports[1]}"
    command = [*inside, os.environ[KSERVE_PYTHON], "stage_model.py", str(part), *ports]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with _started(command, folder, environment, address):
        yield address


@contextmanager
def _started(
    command: Sequence[str], folder: Path, environment: dict[str, str], address: str
) -> Iterator[subprocess.Popen[str]]:
    log = folder / "log"
    with log.open("a") as file, ended(command, cwd=folder, env=environment, stdout=file, stderr=file) as process:
        _wait_ready(process, address, log)
        yield process


def _wait_ready(process: subprocess.Popen[str], address: str, log: Path) -> None:
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
    raise AssertionError(f"{address} has no model that is ready: {log.read_text()[-2000:]}")
