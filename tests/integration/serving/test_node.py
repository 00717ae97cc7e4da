"""Agents of nodes at a hub over loopback with TLS: they join, hold deployments, come back, and refuse strangers."""

from __future__ import annotations

import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("cryptography")
pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from multiedge.errors import NetworkError
from multiedge.executors import open_pipeline
from multiedge.network.client import HubClient
from multiedge.network.http import HubConnection
from multiedge.network.identity import CERTIFICATE_FILE, KEY_FILE, Identity, parse_address
from multiedge.network.records import Deployment, HeartbeatReply, NodeState
from multiedge.onnx_io.items import random_items
from multiedge.onnx_io.shipment import Shipment, shipment_of
from multiedge.serving.hub.authority import Authority
from multiedge.serving.hub.joining import join
from multiedge.serving.node.folder import PlanFolders
from tests.builders.agents import LIMITS, without_calibration
from tests.builders.agents import running_agent as running_node
from tests.builders.hubs import TestHub, running_hub
from tests.builders.pool import split_layers

WIDTH = 64
LAYER_BYTES = WIDTH * WIDTH * 4


@pytest.fixture(autouse=True)
def known_speed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Neither calibrates nor loads: other tests do."""
    without_calibration(monkeypatch)
    caplog.set_level(logging.INFO)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[TestHub]:
    with running_hub(tmp_path / "hub") as running:
        yield running


def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def deploy(client: HubClient, name: str, shipment: Shipment) -> Deployment:
    """The deployment once it is ready or has failed."""
    client.put_plan(shipment.record, shipment.files)
    client.deploy(Deployment(name, shipment.record.digest))
    until(lambda: client.deployment(name).phase in ("ready", "failed"))
    return client.deployment(name)


def names(states: tuple[NodeState, ...]) -> list[str]:
    return [state.name for state in states]


def test_nodes_join_and_tell_what_they_have_and_measured(hub: TestHub, tmp_path: Path) -> None:
    client = hub.client()
    with running_node(hub, "a", tmp_path, 1 << 20), running_node(hub, "b", tmp_path, 1 << 20):
        until(lambda: names(client.nodes()) == ["a", "b"] and all(state.links for state in client.nodes()))
        a, b = client.nodes()
        assert (a.flops_per_s, a.memory_bytes, a.threads) == (5e9, 1 << 30, 1)
        assert "onnxruntime" in a.backends
        assert a.links[0].peer == "b"
        assert (b.links[0].bytes_per_s or 0) > 1e6
        assert next(link.latency_s for link in client.fleet().links.values()) < 0.1
    until(lambda: client.nodes() == ())


def test_a_second_deployment_of_a_model_sends_no_weight_again(
    hub: TestHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: Counter[str] = Counter()
    read = HubClient.read

    def counted(self: HubClient, sha256: str, offset: int, length: int) -> Iterator[bytes]:
        for piece in read(self, sha256, offset, length):
            sent[sha256] += len(piece)
            yield piece

    monkeypatch.setattr(HubClient, "read", counted)
    client = hub.client()
    first = shipment_of(split_layers(tmp_path / "model", [3], width=WIDTH))
    (weights,) = {file.sha256 for part in first.record.parts for file in part.files if file.ranges}
    with ExitStack() as stack:
        for name in ("device_0", "device_1"):
            stack.enter_context(running_node(hub, name, tmp_path))
        ready = deploy(client, "first", first)
        assert (ready.phase, ready.reason) == ("ready", "")
        assert all(place.held.memory_bytes for place in ready.places)
        assert sent[weights] == 6 * LAYER_BYTES  # each node its own half
        same = shipment_of(split_layers(tmp_path / "other", [3], width=WIDTH))
        assert deploy(client, "second", same).phase == "ready"
        assert sent[weights] == 6 * LAYER_BYTES
        moved = shipment_of(split_layers(tmp_path / "model", [4], width=WIDTH))
        assert deploy(client, "third", moved).phase == "ready"
        assert sent[weights] == 7 * LAYER_BYTES  # the layer that moved


def test_nodes_outlive_the_hub_and_deployments_go_on_when_it_is_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shipment = shipment_of(split_layers(tmp_path / "model", [3]))
    with ExitStack() as nodes:
        with running_hub(tmp_path / "hub") as hub:
            for name in ("device_0", "device_1"):
                nodes.enter_context(running_node(hub, name, tmp_path))
            assert deploy(hub.client(), "net", shipment).phase == "ready"
        time.sleep(1.2)
        with running_hub(tmp_path / "hub", port=parse_address(hub.address)[1]) as again:
            client = again.client()
            until(lambda: names(client.nodes()) == ["device_0", "device_1"])
            assert client.deployment("net").phase == "ready"
    assert len([message for message in caplog.messages if "the hub answers again after" in message]) == 2
    assert len([message for message in caplog.messages if " ready" in message]) == 2  # loaded once


def test_a_hub_that_asks_by_itself_gets_states_and_assigns_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipment = shipment_of(split_layers(tmp_path / "model", [3]))
    with running_hub(tmp_path / "hub", pulls=True) as hub, ExitStack() as nodes:
        agents = [nodes.enter_context(running_node(hub, name, tmp_path)) for name in ("device_0", "device_1")]
        until(lambda: all(agent._server.open_connections("GetState") for agent in agents))
        monkeypatch.setattr(HubClient, "heartbeat", unreachable)  # from now on nothing is reported
        assert deploy(hub.client(), "net", shipment).phase == "ready"
        assert names(hub.client().nodes()) == ["device_0", "device_1"]


def unreachable(client: HubClient, state: NodeState) -> HeartbeatReply:
    raise NetworkError("the hub cannot be reached")


def test_changed_bytes_in_the_pool_are_refused_in_one_line(
    hub: TestHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shipment = shipment_of(split_layers(tmp_path / "model", [3]))
    weights = max(shipment.files, key=lambda digest: shipment.files[digest].stat().st_size)
    client = hub.client()
    client.put_plan(shipment.record, shipment.files)
    (stored,) = [path for path in (hub.folder).rglob(f"*{weights}*") if path.is_file()]
    data = bytearray(stored.read_bytes())
    data[5] ^= 1
    os.chmod(stored, 0o600)
    stored.write_bytes(data)
    with running_node(hub, "device_0", tmp_path), running_node(hub, "device_1", tmp_path):
        client.deploy(Deployment("net", shipment.record.digest))
        until(lambda: client.deployment("net").phase == "failed")
        assert "in the pool are not those of the plan" in client.deployment("net").reason
        time.sleep(1.5)  # it is tried again meanwhile
    assert len([message for message in caplog.messages if "are not those of the plan" in message]) == 1


@pytest.mark.parametrize("peer", ["nobody", "another fleet", "expired", "garbage", "plain"])
def test_who_is_not_of_the_fleet_is_refused_in_one_line(
    hub: TestHub, tmp_path: Path, caplog: pytest.LogCaptureFixture, peer: str
) -> None:
    with running_node(hub, "a", tmp_path) as agent:
        until(lambda: names(hub.client().nodes()) == ["a"])
        caplog.clear()
        with socket.create_connection(parse_address(agent.address), timeout=5) as connection:
            context = context_of(peer, hub, tmp_path)
            try:
                if context is None:
                    connection.sendall(b"GET / HTTP/1.1\r\n\r\n" if peer == "plain" else bytes(range(256)) * 10)
                    while connection.recv(1000):
                        pass  # TLS tells why, before the node closes; one that stays open ends in a TimeoutError
                else:
                    with context.wrap_socket(connection) as secured:
                        secured.sendall(b'{"type":"GetState","assignments":[]}\n')
                        assert secured.recv(1000) == b""
            except (ConnectionError, ssl.SSLError):
                pass  # the refusal, as TLS tells it
        until(lambda: any("refused" in message for message in caplog.messages))
        (line,) = [message for message in caplog.messages if "refused" in message]
        assert REASONS[peer] in line
        assert names(hub.client().nodes()) == ["a"]


REASONS = {
    "nobody": "peer did not return a certificate",
    "another fleet": "certificate signature failure",
    "expired": "certificate has expired",
    "garbage": "no TLS handshake",
    "plain": "no TLS handshake: http request",
}


def context_of(peer: str, hub: TestHub, folder: Path) -> ssl.SSLContext | None:
    """How the peer connects; None is without TLS."""
    if peer in ("garbage", "plain"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if peer != "nobody":
        authority = Authority.create(folder / "ca") if peer == "another fleet" else Authority(hub.folder)
        issued = authority.issue(folder / "peer", "client:eve", -0.5 if peer == "expired" else 1).folder
        context.load_cert_chain(issued / CERTIFICATE_FILE, issued / KEY_FILE)
    return context


def test_a_used_token_is_refused(hub: TestHub, tmp_path: Path) -> None:
    token = hub.token()
    join(hub.address, token, "node:a", tmp_path / "a")
    with pytest.raises(NetworkError, match=r"token: was used at .* make another with: multiedge hub token"):
        join(hub.address, token, "node:b", tmp_path / "b")


def test_the_command_runs_until_it_is_ended_and_leaves_nothing(hub: TestHub, tmp_path: Path) -> None:
    client = hub.client()
    command = [sys.executable, "-m", "multiedge", "node", "--hub", hub.address, "--name", "a", "--data", str(tmp_path / "a")]
    limits = ["--listen", "127.0.0.1:0", "--threads", "1", "--memory", "500MB", "--cpu-share", "0.5"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    node = subprocess.Popen(
        [*command, *limits, "--join", hub.token()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert node.stdout is not None
        assert node.stdout.readline().startswith("node 'a' on 127.0.0.1:")
        until(lambda: names(client.nodes()) == ["a"])
        (state,) = client.nodes()
        assert (state.memory_bytes, state.threads, state.cpu_share) == (500_000_000, 1, 0.5)
        children = [child.pid for child in psutil.Process(node.pid).children()]
    finally:
        node.send_signal(signal.SIGTERM)
        _, errors = node.communicate(timeout=20)
    assert node.returncode == 0
    assert "Traceback" not in errors
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_without_a_certificate_the_command_says_how_to_get_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from multiedge.cli import main

    assert main(["node", "--hub", "10.9.9.9", "--name", "a", "--data", str(tmp_path)]) == 1
    assert "get a token with `multiedge hub token`, give --join TOKEN" in capsys.readouterr().err


def test_a_node_that_was_killed_in_the_midst_of_a_fetch_resumes_it(hub: TestHub, tmp_path: Path) -> None:
    shipment = shipment_of(split_layers(tmp_path / "model", [1], count=2, width=2300))
    client, data = hub.client(), tmp_path / "device_0"
    client.put_plan(shipment.record, shipment.files)
    join(hub.address, hub.token(), "node:device_0", data / "identity")
    needed = sum(file.needed_bytes for file in shipment.record.parts[0].files)
    script = FETCH.format(hub=hub.address, data=str(data), plan=shipment.record.digest)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) > needed // 2:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    with PlanFolders(data, 1 << 30, hub.client) as folders:
        seen: list[int] = []
        folders.open(shipment.record.digest, [0], lambda done, total: seen.append(done)).release()
    assert needed // 4 < seen[0] < needed
    assert seen[-1] == needed


FETCH = """
import time
from pathlib import Path
from multiedge.network.client import HubClient
from multiedge.network.identity import Identity
from multiedge.serving.node.folder import PlanFolders

data = Path("{data}")

def progress(done, needed):
    print(done, flush=True)
    time.sleep(0.005)

PlanFolders(data, 1 << 30, lambda: HubClient("{hub}", Identity(data / "identity"))).open("{plan}", [0], progress)
"""


# -- what is seen of nodes and runs


def test_a_client_scrapes_a_node_and_another_node_may_not(
    hub: TestHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_node(hub, "phone", tmp_path) as agent:
        host, port = parse_address(agent.address)

        def scrape(identity: Identity) -> str:
            connection = HubConnection(host, port, "node", identity.client_context(), 5.0, "node:phone")
            try:
                return connection.call("GET", "/metrics").decode()
            finally:
                connection.close()

        families = {family.name: family for family in text_string_to_metric_families(scrape(Identity(hub.folder / "client")))}
        assert families["multiedge_node_memory_limit_bytes"].samples[0].value == LIMITS.memory_bytes
        join(hub.address, hub.token(), "node:tablet", tmp_path / "tablet")
        with pytest.raises(NetworkError):
            scrape(Identity(tmp_path / "tablet"))
        until(lambda: any("GET /metrics is for client:" in message for message in caplog.messages))


def test_a_run_tells_the_hub_how_it_goes_and_makes_spans(hub: TestHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: provider)
    manifest = split_layers(tmp_path / "model", [3])
    options = {"hub": hub.address, "identity": str(hub.folder / "client"), "otel": True, "warmup_items": 0}
    with running_node(hub, "device_0", tmp_path), running_node(hub, "device_1", tmp_path):
        until(lambda: len(hub.client().nodes()) == 2)
        with open_pipeline(manifest, hub.client().fleet(), "fleet", **options) as pipeline:
            pipeline.map(random_items(manifest, 20))
        totals = _metrics(hub)
    assert totals["multiedge_run_items_total", ("model", "answered")] == 20
    assert totals["multiedge_run_sent_bytes_total", ("device_0", "device_1")] == 20 * WIDTH * 4
    assert totals["multiedge_run_device_busy_seconds_total", ("device_1",)] > 0
    assert totals["multiedge_hub_runs", ()] == 0  # it has ended
    names = Counter(span.name for span in exporter.get_finished_spans())
    assert names == {"item": 20, "stage 1": 20, "stage 2": 20, "transfer": 60}


def _metrics(hub: TestHub) -> dict[tuple[str, tuple[str, ...]], float]:
    """The hub's samples by name and values of labels."""
    text = hub.client()._http.call("GET", "/metrics").decode()
    families = text_string_to_metric_families(text)
    return {(sample.name, tuple(sample.labels.values())): sample.value for family in families for sample in family.samples}
