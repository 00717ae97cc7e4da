"""What browsers and Prometheus get from a hub over TLS, and from the loopback port of a client."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.client import HTTPConnection, HTTPMessage, HTTPResponse
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("cryptography")

from prometheus_client.parser import text_string_to_metric_families

from multiedge.errors import NetworkError
from multiedge.network.http import HubConnection
from multiedge.network.identity import Identity, parse_address
from multiedge.network.records import NodeState
from tests.builders.hubs import TestHub, proxied, running_hub
from tests.builders.reports_of_runs import report


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[TestHub]:
    with running_hub(tmp_path / "hub") as hub:
        yield hub


@contextmanager
def _asked(address: tuple[str, int], path: str, method: str = "GET", **headers: str) -> Iterator[HTTPResponse]:
    with closing(HTTPConnection(*address, timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        with connection.getresponse() as answer:
            yield answer


def _get(address: tuple[str, int], path: str, method: str = "GET", **headers: str) -> tuple[int, str, HTTPMessage]:
    """Status, body and fields of an answer."""
    with _asked(address, path, method, **headers) as answer:
        return answer.status, answer.read().decode(), answer.headers


def _event(stream: HTTPResponse) -> tuple[str, dict]:
    """The next event of a stream, and its data."""
    lines = []
    while line := stream.readline().decode().strip():
        lines.append(line.partition(": "))
    fields = {name: value for name, _, value in lines}
    return fields["event"], json.loads(fields["data"])["data"]


def _until(stream: HTTPResponse, is_it: Callable[[dict], bool], within_s: float = 5.0) -> float:
    """How long it took until an event that `is_it`."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < within_s:
        if is_it(_event(stream)[1]):
            return time.monotonic() - began_s
    raise AssertionError("no such event came")


def test_a_browser_gets_a_snapshot_and_then_what_changes(hub: TestHub) -> None:
    node = hub.node("phone")
    node.heartbeat(NodeState("phone", "127.0.0.1:1"))
    with proxied(hub) as address, _asked(address, "/live/events") as stream:
        kind, data = _event(stream)
        assert (kind, list(data["nodes"]), data["runs"]) == ("snapshot", ["phone"], {})
        hub.client().report(report(1.0, 10))
        _until(stream, lambda changes: changes.get("runs", {}).get("r1", {}).get("caller") == "client:admin")


@pytest.mark.timing
def test_a_node_that_sends_nothing_is_shown_as_lost_within_two_seconds(hub: TestHub) -> None:
    hub.node("phone").heartbeat(NodeState("phone", "127.0.0.1:1"))
    with proxied(hub) as address, _asked(address, "/live/events") as stream:
        assert _event(stream)[1]["nodes"]["phone"]["status"] in ("alive", "late")
        took_s = _until(stream, lambda changes: changes.get("nodes", {}).get("phone", {}).get("status") == "lost")
        assert took_s < 3.0  # 1.75 s and a tick, on a machine that runs other tests meanwhile


def test_only_the_page_and_metrics_are_passed_on_and_nothing_can_be_changed(hub: TestHub) -> None:
    with proxied(hub) as address:
        status, _, headers = _get(address, "/live")
        assert (status, "default-src 'none'" in headers["Content-Security-Policy"]) == (200, True)
        assert _get(address, "/live/live.js")[2]["Content-Type"].startswith("text/javascript")
        assert _get(address, "/metrics")[0] == 200
        for path in ("/live/nothing.js", "/v1/nodes", "/v1/join", "/live/../v1/nodes"):
            assert _get(address, path)[0] == 404
        assert _get(address, "/live", "DELETE")[0] == 405


def test_a_page_of_another_site_gets_nothing_by_a_name_that_it_lets_point_here(hub: TestHub) -> None:
    with proxied(hub) as address:
        status, text, _ = _get(address, "/live/events", Host="evil.example")
        assert (status, "expected a request to this machine" in text) == (403, True)
        assert _get(address, "/live", Host=f"localhost:{address[1]}")[0] == 200


def test_a_hub_without_tls_answers_to_the_names_of_this_machine_alone(tmp_path: Path) -> None:
    with running_hub(tmp_path, tls=False) as hub:
        address = parse_address(hub.address)
        assert _get(address, "/live")[0] == 200
        assert _get(address, "/v1/nodes", Host="evil.example")[0] == 403


def test_who_pretends_to_be_the_hub_is_not_believed(hub: TestHub) -> None:
    """A node of the fleet listens where the hub is expected."""
    hub.node("phone")
    as_node = Identity(hub.folder / "test-nodes" / "phone")
    with _listening(as_node) as address, proxied(replace(hub, address=address)) as local:
        status, text, _ = _get(local, "/live")
        assert (status, "expected the certificate of 'hub'" in text) == (502, True)


@contextmanager
def _listening(identity: Identity) -> Iterator[str]:
    from multiedge.serving.node.server import NodeServer

    server = NodeServer("127.0.0.1", 0, identity, {})
    server.start()
    try:
        yield server.address
    finally:
        server.close()


def test_a_client_scrapes_the_hub_and_who_has_no_certificate_does_not(hub: TestHub) -> None:
    hub.node("phone").heartbeat(NodeState("phone", "127.0.0.1:1"))
    host, port = parse_address(hub.address)
    connection = HubConnection(host, port, "hub", Identity(hub.folder / "client").client_context(), 5.0)
    families = {family.name: family for family in text_string_to_metric_families(connection.call("GET", "/metrics").decode())}
    assert [sample.labels for sample in families["multiedge_hub_node_up"].samples] == [{"node": "phone"}]
    connection.close()
    nobody = ssl.create_default_context(cafile=str(hub.folder / "ca.pem"))
    nobody.check_hostname = False
    with pytest.raises(NetworkError, match="expected a client with a certificate"):
        HubConnection(host, port, "hub", nobody, 5.0).call("GET", "/metrics")
    with pytest.raises(NetworkError, match="a browser has no certificate"):
        HubConnection(host, port, "hub", nobody, 5.0).call("GET", "/live")
