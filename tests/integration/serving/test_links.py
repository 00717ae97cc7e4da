"""Connections between nodes in network namespaces, which the kernel limits: what nodes measure is what they are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet, Link
from multiedge.serving.hub.authority import Authority
from multiedge.transports.namespaces import Network, require_tools

MBIT = 1e6 / 8
RATES = {"20": 20 * MBIT, "50": 50 * MBIT, "100": 100 * MBIT, "1000": 1000 * MBIT}
TOLERANCE = dict.fromkeys(RATES, 0.1) | {"1000": 0.3}
"""At the highest rate a measurement takes 17 ms: a few in which the host halts count."""

NODE = """
import json, sys
from pathlib import Path
from multiedge.network.identity import Identity
from multiedge.serving.node.neighbours import Neighbours
from multiedge.serving.node.probe import Probe, measure_link
from multiedge.serving.node.server import Door, NodeServer

host, folder, peers = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
identity = Identity(folder)
neighbours = Neighbours(lambda name, address: measure_link(name, address, identity), lambda: True, 0)
with_others = NodeServer(host, 8471, identity, {Probe.__name__: Door(neighbours.answer)})
with_others.start()
print("listens", flush=True)
neighbours.set_peers(peers)
while len(neighbours.links) < len(peers) and neighbours.step():
    pass
print(json.dumps([[link.peer, link.bytes_per_s, link.rtt_s] for link in neighbours.links]), flush=True)
sys.stdin.read()
with_others.close()
"""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Device 'a', and one for each rate, whose connection to it has the rate."""
    try:
        require_tools()
    except ConfigError as error:
        pytest.skip(str(error))
    fleet = Fleet(tuple(map(Device, ("a", *RATES))), {("a", name): Link(rate) for name, rate in RATES.items()})
    with closing(Network(fleet, "caller")) as made:
        yield made


@contextmanager
def node(network: Network, authority: Authority, name: str, peers: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process in the namespace of the device that measures its connections to the peers, and lets others measure theirs."""
    folder = authority.folder / name
    authority.issue(folder, f"node:{name}")
    addresses = {peer: f"{network.hosts[peer]}:8471" for peer in peers}
    command = [*network.command(name), sys.executable, "-c", NODE, network.hosts[name], str(folder), json.dumps(addresses)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        yield process
    finally:
        process.communicate(timeout=10)


@pytest.mark.timing
def test_what_a_node_measures_is_what_the_link_carries(network: Network, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    with ExitStack() as stack:
        for name in RATES:
            stack.enter_context(node(network, authority, name, []))
        process = stack.enter_context(node(network, authority, "a", list(RATES)))
        assert process.stdout is not None
        measured = {name: (rate, rtt_s) for name, rate, rtt_s in json.loads(process.stdout.readline())}
    print(measured)
    for name, rate in RATES.items():
        assert measured[name][0] == pytest.approx(rate, rel=TOLERANCE[name])
        assert 0 < measured[name][1] < 0.01
