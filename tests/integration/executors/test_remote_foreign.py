"""A chain of three makers: stages on `multiedge serve`, MLServer and the KServe SDK, each in a network namespace of its own."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")

from multiedge.errors import MultiedgeError
from multiedge.executors import open_pipeline
from multiedge.fleet import CALLER_NAME, Device, Fleet
from multiedge.transports.namespaces import Network
from tests.builders.foreign_hosts import KSERVE_PYTHON, MLSERVER, kserve, mlserver, write_repository
from tests.builders.pipelines import small_plan, vectors
from tests.builders.stage_hosts import serve

ITEMS = 40


@pytest.fixture
def network():
    if not MLSERVER.exists():
        pytest.skip("mlserver is not installed; run: pip install mlserver 'uvloop<0.22'")
    if not Path(os.environ.get(KSERVE_PYTHON, "nowhere")).exists():
        pytest.skip(f"{KSERVE_PYTHON} names no Python with kserve and onnxruntime")
    devices = tuple(Device(name) for name in ("d0", "d1", "d2"))
    try:
        made = Network(Fleet(devices, name="makers"), CALLER_NAME)
    except MultiedgeError as error:
        pytest.skip(f"no network namespaces here: {error}")
    with closing(made):
        yield made


@pytest.mark.slow
def test_a_chain_over_servers_of_three_makers_gives_the_right_outputs(tmp_path, network):
    manifest, fleet = small_plan(tmp_path, devices=3)
    parts = shutil.copytree(tmp_path / "parts", tmp_path / "copy")
    items = vectors(ITEMS)
    with open_pipeline(manifest, fleet, "inline") as pipeline:
        expected, _ = pipeline.map(items)
    hosts = network.hosts
    second, third = (parts / part.file for part in manifest.parts[1:])
    address = write_repository(tmp_path / "mlserver", second, hosts["d1"])
    with ExitStack() as running:
        own = running.enter_context(
            serve(manifest.directory, "--device", "d0", "--host", hosts["d0"], inside=network.command("d0"))
        )
        running.enter_context(mlserver(tmp_path / "mlserver", address, network.command("d1")))
        other = running.enter_context(kserve(tmp_path / "kserve", third, hosts["d2"], network.command("d2")))
        endpoints = {"d0": own[1][0].split()[0], "d1": f"{address}/cls", "d2": f"{other}/cls"}
        pipeline = running.enter_context(open_pipeline(manifest, fleet, "remote", endpoints=endpoints, depth=4))
        results, measured = pipeline.map(items)
    assert [result.item for result in results] == list(range(ITEMS))
    for result, same in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result.require()["y"], same.require()["y"])
    assert measured.faults == ()
    assert measured.by_caller == ((0, 1), (0, 2), (1, 2))
