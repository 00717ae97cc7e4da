"""A hub over loopback, with TLS."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("cryptography")

from multiedge.errors import ConfigError, NetworkError
from multiedge.network.client import HubClient
from multiedge.network.identity import Identity, parse_address
from multiedge.network.records import (
    Assignment,
    BlobState,
    ByteRange,
    Deployment,
    HeldStage,
    ModelRecord,
    NodeState,
    PlanFile,
    PlanPart,
    PlanRecord,
    ResultRecord,
)
from multiedge.serving.hub.authority import Authority
from multiedge.serving.hub.joining import join
from multiedge.serving.hub.listener import Limits
from multiedge.serving.hub.server import HubOptions, HubServer
from tests.builders.hubs import TestHub, running_hub

WEIGHTS = os.urandom(3 << 20)
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestHub]:
    with running_hub(tmp_path_factory.mktemp("hub"), limits=Limits(handshake_s=1.5, first_request_s=1.5, pending=50)) as hub:
        yield hub


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(WEIGHTS)
    return tmp_path / "weights"


def _connect(hub: TestHub) -> socket.socket:
    return socket.create_connection(parse_address(hub.address), timeout=5)


def _is_logged(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    """Whether the hub's thread logs the text within a second."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        if any(text in record.message for record in caplog.records):
            return True
        time.sleep(0.01)
    return False


# -- who joins


def test_a_node_joins_with_a_token_and_reports_its_state(hub: TestHub) -> None:
    node = hub.node("phone")
    assert node.heartbeat(NodeState("phone", "0.0.0.0:8471")).assignments == ()
    assert [(state.name, state.address) for state in hub.client().nodes()] == [("phone", "127.0.0.1:8471")]


def test_a_token_is_good_for_one_time(hub: TestHub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    token = hub.token()
    join(hub.address, token, "node:first", tmp_path / "first")
    with pytest.raises(NetworkError, match=r"token: was used at .*; make another with: multiedge hub token"):
        join(hub.address, token, "node:second", tmp_path / "second")
    assert not (tmp_path / "second").exists()
    assert _is_logged(caplog, "POST /v1/join: refused: token: was used")


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (lambda hub: hub.token(valid_s=-1.0), "token: expired at"),
        (lambda hub: f"{'0' * 16}-{'0' * 32}-{Authority(hub.folder).fingerprint}", "token: is not one of this hub"),
        (lambda hub: hub.token("node:other"), "token: admits 'node:other', not 'node:tablet'"),
    ],
)
def test_a_token_that_is_not_good_is_refused_in_one_line(hub: TestHub, tmp_path: Path, token, reason: str) -> None:
    with pytest.raises(NetworkError, match=reason):
        join(hub.address, token(hub), "node:tablet", tmp_path / "tablet")


def test_a_secret_is_not_sent_to_another_hub(hub: TestHub, tmp_path: Path) -> None:
    with running_hub(tmp_path / "other") as other, pytest.raises(ConfigError, match=r"is not the hub of this token"):
        join(other.address, hub.token(), "node:tablet", tmp_path / "tablet")


def test_a_name_that_has_joined_is_not_given_away(hub: TestHub, tmp_path: Path) -> None:
    hub.node("taken")
    with pytest.raises(NetworkError, match=r"a node 'taken' has joined already; .*--name taken"):
        join(hub.address, hub.token(), "node:taken", tmp_path / "taken")
    join(hub.address, hub.token("node:taken"), "node:taken", tmp_path / "taken")


# -- who may do what


def test_an_expired_certificate_is_refused_and_logged(hub: TestHub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Authority(hub.folder).issue(tmp_path / "old", "client:old", days=-0.5)
    with pytest.raises(ConfigError, match=r"the certificate expired at .*; remove the folder, and join again with a token of"):
        hub.client_of(Identity(tmp_path / "old"))
    context = ssl.create_default_context(cafile=str(hub.folder / "ca.pem"))
    context.check_hostname = False
    context.load_cert_chain(tmp_path / "old" / "cert.pem", tmp_path / "old" / "key.pem")
    with context.wrap_socket(_connect(hub)) as connection, suppress(ConnectionError):
        connection.sendall(b"GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100) == b""
    assert _is_logged(caplog, "refused: its certificate is not accepted: certificate has expired")


def test_the_identity_of_another_hub_is_refused(hub: TestHub, tmp_path: Path) -> None:
    Authority.create(tmp_path)
    with pytest.raises(NetworkError, match=r"TLS: its certificate is not accepted: .*; give the identity of this hub"):
        hub.client_of(Identity(tmp_path / "client")).nodes()


def test_a_node_cannot_act_as_a_hub(hub: TestHub, tmp_path: Path) -> None:
    Authority(hub.folder).issue(tmp_path / "hub", "node:evil")
    context = Identity(tmp_path / "hub").server_context()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        client = HubClient(f"127.0.0.1:{listening.getsockname()[1]}", Identity(hub.folder / "client"))
        with pytest.raises(NetworkError, match=r"expected the certificate of 'hub', got that of 'node:evil'"):
            client.nodes()
        client.close()
        thread.join(5)


def test_a_node_reports_no_other_node_and_changes_nothing(hub: TestHub) -> None:
    node = hub.node("phone")
    with pytest.raises(NetworkError, match=r"heartbeat: 'node:phone' is not node 'pc'"):
        node.heartbeat(NodeState("pc", "a:1"))
    with pytest.raises(NetworkError, match=r"'node:phone' may not make this request; use the identity of a client"):
        node.put_bytes(b"x")


def test_without_a_certificate_one_may_join_and_nothing_else(hub: TestHub) -> None:
    context = ssl.create_default_context(cafile=str(hub.folder / "ca.pem"))
    context.check_hostname = False
    with context.wrap_socket(_connect(hub)) as connection:
        connection.sendall(b"GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_who_may_join_cannot_make_the_hub_keep_a_long_body(hub: TestHub) -> None:
    context = ssl.create_default_context(cafile=str(hub.folder / "ca.pem"))
    context.check_hostname = False
    with context.wrap_socket(_connect(hub)) as connection:
        connection.sendall(b"POST /v1/join HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n" + b"x" * 100_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_beyond_loopback_a_hub_without_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hub: 0.0.0.0 is not this machine alone, so TLS is needed; make certificates with"):
        HubServer(HubOptions(tmp_path, host="0.0.0.0", port=0))


def test_on_loopback_a_hub_needs_no_tls(tmp_path: Path) -> None:
    with running_hub(tmp_path, tls=False) as hub:
        client = hub.client_of(None)
        client.heartbeat(NodeState("pc", "127.0.0.1:1"))
        assert [state.name for state in client.nodes()] == ["pc"]


# -- who disturbs


def test_idle_connections_and_garbage_do_not_disturb_a_hub(hub: TestHub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    idle = [_connect(hub) for _ in range(200)]
    garbage = _connect(hub)
    garbage.sendall(os.urandom(500))
    start, client = time.perf_counter(), hub.client()
    client.state()
    assert time.perf_counter() - start < 3.0
    deadline = time.monotonic() + 5
    while client.state().connections > 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.state().connections <= 20
    lines = [record.message for record in caplog.records]
    assert any("refused: no handshake of TLS" in line for line in lines)
    assert len(lines) < 20
    for connection in (*idle, garbage):
        connection.close()


def test_who_makes_no_permitted_request_is_cut_off(hub: TestHub) -> None:
    context = ssl.create_default_context(cafile=str(hub.folder / "ca.pem"))
    context.check_hostname = False
    with context.wrap_socket(_connect(hub)) as connection:
        connection.settimeout(5)
        assert connection.recv(1) == b""


def test_garbage_on_a_hub_without_tls_is_refused_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running_hub(tmp_path, tls=False) as hub, _connect(hub) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01 nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.0 400")
        hub.client_of(None).state()
    assert _is_logged(caplog, "refused: no request of HTTP")


# -- pool


def test_a_file_is_uploaded_once_and_any_range_of_it_is_read(hub: TestHub, weights: Path) -> None:
    client = hub.client()
    counts: list[int] = []
    assert client.put(weights, progress=counts.append) == sum(counts) == len(WEIGHTS)
    assert client.put(weights) == 0
    node = hub.node("phone")
    assert b"".join(node.read(SHA256, 1000, 2 << 20)) == WEIGHTS[1000 : 1000 + (2 << 20)]
    assert b"".join(node.read(SHA256, len(WEIGHTS) - 1, 1)) == WEIGHTS[-1:]
    assert b"".join(node.read(SHA256, 0, 0)) == b""


def test_a_range_beyond_the_file_is_refused(hub: TestHub) -> None:
    digest = hub.client().put_bytes(b"short")
    with pytest.raises(NetworkError, match=r"pool: the file has 5 bytes, none of them in the range"):
        list(hub.client().read(digest, 100, 5))
    with pytest.raises(NetworkError):
        list(hub.client().read(digest, 0, 50))
    with pytest.raises(NetworkError, match=r"pool: has no file aaaaaaaaaaaa"):
        list(hub.client().read("a" * 64, 0, 5))


def test_a_reader_may_stop_in_the_middle(hub: TestHub, weights: Path) -> None:
    client = hub.client()
    client.put(weights)
    pieces = client.read(SHA256, 0, len(WEIGHTS))
    next(pieces)
    pieces.close()
    assert client.has(SHA256)
    assert client.state().connections < 20


def test_an_upload_is_resumed_where_it_ended(tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    (tmp_path / "file").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    with running_hub(tmp_path / "hub") as hub:
        with pytest.raises(NetworkError):
            # The connection ends after the first part.
            hub.client()._http.call("PUT", f"/v1/blobs/{digest}?offset=0&size={len(data)}", data[:300_000])
        assert hub.client().blob(digest) == BlobState(300_000, False)
    with running_hub(tmp_path / "hub") as hub:
        assert hub.client().put(tmp_path / "file") == len(data) - 300_000
        assert b"".join(hub.client().read(digest, 0, len(data))) == data


def test_bytes_with_another_digest_are_refused(hub: TestHub) -> None:
    with pytest.raises(NetworkError, match=r"upload: expected a file with SHA-256"):
        hub.client()._http.call("PUT", f"/v1/blobs/{'b' * 64}?offset=0&size=3", b"abc")
    assert not hub.client().has("b" * 64)


# -- plans and deployments


def _plan(digest: str, *nodes: str) -> PlanRecord:
    file = PlanFile("weights_1.linked", len(WEIGHTS), digest, (ByteRange(0, 10, "c" * 64),))
    return PlanRecord("{}", tuple(PlanPart(number, (name,), (file,)) for number, name in enumerate(nodes)))


def test_nodes_are_told_what_to_hold_until_the_deployment_is_ready(hub: TestHub, weights: Path) -> None:
    client, node = hub.client(), hub.node("phone")
    plan = _plan(SHA256, "phone")
    with pytest.raises(NetworkError, match=r"is not in the pool"):
        client.deploy(Deployment("vit", plan.digest))
    client.put_plan(plan, {SHA256: weights})
    assert node.plan(plan.digest) == plan
    node.heartbeat(NodeState("phone", "127.0.0.1:1"))
    assert client.deploy(Deployment("vit", plan.digest, "ViT")).phase == "distributing"
    reply = node.heartbeat(NodeState("phone", "127.0.0.1:1"))
    assert reply.assignments == (Assignment("vit", plan.digest, (0,)),)
    node.heartbeat(NodeState("phone", "127.0.0.1:1", stages=(HeldStage("vit", 0, plan.digest),)))
    assert client.deployment("vit").phase == "ready"
    assert [(each.name, each.phase) for each in client.deployments()] == [("vit", "ready")]
    client.undeploy("vit")
    assert node.heartbeat(NodeState("phone", "127.0.0.1:1")).assignments == ()
    with pytest.raises(NetworkError, match=r"deployment 'vit' does not exist; there are: none"):
        client.undeploy("vit")


def test_a_plan_whose_files_are_absent_is_refused(hub: TestHub) -> None:
    with pytest.raises(NetworkError, match=r"file 'weights_1.linked' is not in the pool; upload it first"):
        hub.client().put_plan(_plan("d" * 64, "phone"), {})


def test_a_hub_goes_on_where_it_was(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        client, node = hub.client(), hub.node("phone")
        client.put_bytes(WEIGHTS)
        plan = _plan(SHA256, "phone")
        client.put_plan(plan, {})
        client.deploy(Deployment("vit", plan.digest))
        client.put_model(ModelRecord("vit", "h", {"vit.onnx": SHA256}, {"task": "classify"}))
        client.put_result(ResultRecord("run", SHA256))
        node.heartbeat(NodeState("phone", "127.0.0.1:1", stages=(HeldStage("vit", 0, plan.digest),)))
        assert client.deployment("vit").phase == "ready"
        port = parse_address(hub.address)[1]
    with client, node, running_hub(tmp_path, port=port):
        assert client.deployment("vit").phase == "pending"
        assert node.heartbeat(NodeState("phone", "127.0.0.1:1")).assignments[0].deployment == "vit"
        assert client.deployment("vit").phase == "distributing"
        assert [(model.name, model.version) for model in client.models()] == [("vit", 1)]
        assert [result.name for result in client.results()] == ["run"]


def test_a_node_that_is_silent_is_lost_and_blocks_no_plan(tmp_path: Path) -> None:
    with running_hub(tmp_path, tls=False) as hub:
        client = hub.client_of(None)
        client.heartbeat(NodeState("gone", "127.0.0.1:1"))
        deadline = time.monotonic() + 2.5
        while client.nodes() and time.monotonic() < deadline:
            client.heartbeat(NodeState("pc", "127.0.0.1:2", flops_per_s=1e9))
            if client.fleet().names == ("pc",):
                break
            time.sleep(0.1)
        assert client.fleet().names == ("pc",)
