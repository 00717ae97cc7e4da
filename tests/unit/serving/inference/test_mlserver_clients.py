"""MLServer's own messages, stubs and records against this server: every method is answered, over gRPC and HTTP."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from tests.builders.inference import Doubler, serving
from tests.builders.stage_hosts import ROOT

pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")
ANSWER = ["17", "m", [[2.0, 4.0, 6.0]]]


@pytest.fixture(scope="module")
def answers():
    if importlib.util.find_spec("mlserver") is None:
        pytest.skip("mlserver is not installed")
    with serving(Doubler(), loaders={"m": Doubler}) as server:
        command = [sys.executable, "-m", "tests.builders.mlserver_client", server.grpc_address, server.http_address]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_its_stub_of_the_protocol_is_answered_raw_and_typed(answers):
    assert answers["grpc"] == {
        "ServerLive": True,
        "ServerReady": True,
        "ServerMetadata": "multiedge",
        "ModelReady": True,
        "ModelMetadata": ["x", "s"],
        "ModelInfer raw": ANSWER,
        "ModelInfer typed": ANSWER,
        "ModelStreamInfer ends": True,
    }


def test_both_its_stubs_of_the_repository_load_and_unload(answers):
    assert answers["repository"] == [["READY"], [], ["READY"], []]


def test_its_records_are_answered_over_http(answers):
    assert answers["http"] == {"infer": ANSWER, "metadata": "onnxruntime_onnx", "index": "m"}
