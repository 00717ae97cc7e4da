"""`multiedge fleet`: the nodes, links and deployments of a hub."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from multiedge.commands import _options
from multiedge.commands._plans import show_rows
from multiedge.commands._terminal import Column, new_console, print_columns, print_line
from multiedge.defaults import DEFAULT_HUB_PORT
from multiedge.errors import MAX_PORT, ConfigError, describe
from multiedge.formats.documents import read_json
from multiedge.network.client import HubClient
from multiedge.network.encoding import require_name
from multiedge.network.identity import Identity, find_identity, join_address, parse_address
from multiedge.network.records import Deployment, HubState, ModelRecord, NodeState, ResultRecord, StagePlace
from multiedge.quantity import human_bytes, number_text

if TYPE_CHECKING:
    from rich.console import Console

MOST_LINKS, MOST_RESULTS = 20, 10
"""Links and results that are listed."""


@dataclass(frozen=True)
class State:
    """All that the command shows."""

    hub: HubState
    nodes: tuple[NodeState, ...]
    deployments: tuple[Deployment, ...]
    models: tuple[ModelRecord, ...] = ()
    results: tuple[ResultRecord, ...] = ()


def run(args: argparse.Namespace) -> int:
    _options.require_with(args, "name", "join")
    if args.join:
        _join(args)
    with _options.hub_client(args) as client:
        if args.remove_model:
            client.remove_model(*_version(args.remove_model))
        if args.keep:
            _keep(client, Path(args.keep))
        if args.live is not None:
            client.state()  # a hub that cannot be reached is an error now, not in the browser
            return _serve_live(args)
        fleet = State(client.state(), client.nodes(), client.deployments(), client.models(), client.results())
    if args.json:
        print(json.dumps(asdict(fleet), indent=1, allow_nan=False))
    else:
        show(fleet, new_console())
    return 0


def _serve_live(args: argparse.Namespace) -> int:
    """Serves the live page until SIGINT or SIGTERM."""
    if not 0 <= args.live <= MAX_PORT:
        raise ConfigError(f"--live: expected a port from 0 to {MAX_PORT}, got {args.live}")
    hub = join_address(*parse_address(args.hub, "--hub", DEFAULT_HUB_PORT))
    asyncio.run(_live(hub, find_identity(args.identity), args.live))
    return 0


async def _live(hub: str, identity: Identity | None, port: int) -> None:
    from multiedge.serving.seeing.proxy import live_page

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with live_page(hub, identity, port) as address:
        print(f"live page of hub {hub}: {address}", flush=True)
        print("stop with Ctrl-C", file=sys.stderr, flush=True)
        await ended.wait()


def _version(text: str) -> tuple[str, int]:
    """Name and number of 'NAME:VERSION'."""
    name, _, version = text.rpartition(":")
    if not name or not version.isdecimal():
        raise ConfigError(f"--remove-model: expected NAME:VERSION such as vit:1, got {describe(text)}")
    return name, int(version)


def _keep(client: HubClient, path: Path) -> None:
    """Adds a file of results to those of the hub."""
    name = require_name("--keep", path.stem)
    read_json(path)
    client.put_result(ResultRecord(name, client.put_bytes(path.read_bytes())))


def _join(args: argparse.Namespace) -> None:
    from multiedge.network.identity import CLIENT
    from multiedge.serving.hub.joining import join

    if not args.identity or not args.name:
        raise ConfigError("--join: expected --identity DIR, where the identity is written, and --name NAME, that of the token")
    if (Path(args.identity) / "cert.pem").exists():
        raise ConfigError(f"--join: {args.identity} holds an identity already; leave --join out, or choose another folder")
    join(args.hub, args.join, f"{CLIENT}{args.name}", Path(args.identity))


def show(fleet: State, console: Console) -> None:
    """Prints the hub in one line, then a table each of the nodes, their links, the deployments, models and results."""
    hub, nodes, deployments = fleet.hub, fleet.nodes, fleet.deployments
    memory = "" if hub.resident_bytes is None else f", {human_bytes(hub.resident_bytes)}"
    busy = f"{hub.cpu_s / hub.uptime_s:.1%} of a core{memory}" if hub.uptime_s > 0 else "just started"
    print_line(console, f"hub {hub.version}: {len(nodes)} nodes, pool {human_bytes(hub.pool_bytes)}, {busy}")
    if nodes:
        print_columns(console, "nodes", _node_columns(nodes))
    else:
        print_line(console, "no node is alive; start one with: multiedge node --hub HOST:PORT --join TOKEN")
    _show_links(nodes, console)
    if deployments:
        print_columns(console, "deployments", _deployment_columns(deployments))
    for each in deployments:
        if len(each.rows) > 1:
            show_rows(f"plans of {each.name}", each.rows, console)
        elif each.reason:
            print_line(console, f"{each.name}: {each.reason}")
    if fleet.models:
        print_columns(console, "models", _model_columns(fleet.models))
    if fleet.results:
        print_columns(console, "results", _result_columns(fleet.results))


def _node_columns(nodes: Sequence[NodeState]) -> list[Column]:
    return [
        Column("node", [node.name for node in nodes], is_number=False),
        Column("address", [node.address for node in nodes], leaves=3, is_number=False),
        Column("free", [_bytes(node.free_bytes) for node in nodes]),
        Column("of", [_bytes(node.memory_bytes) for node in nodes], leaves=1),
        Column("threads", [str(node.threads) for node in nodes], leaves=2),
        Column("GFLOP/s", [_number(node.flops_per_s, 1e9) for node in nodes]),
        Column("load", [_share(node.load) for node in nodes], leaves=4),
        Column("battery", ["-" if node.battery is None else _share(node.battery) for node in nodes], leaves=4),
        Column("holds", [_held(node) for node in nodes], is_number=False),
    ]


def _held(node: NodeState) -> str:
    """Deployments with their stages, counted from 1, or the number of their plans: 'vit 1, 3; net: 4 plans'."""
    stages: dict[str, dict[str, list[str]]] = {}
    for held in node.stages:
        stages.setdefault(held.deployment, {}).setdefault(held.plan, []).append(str(held.stage + 1))
    texts = [
        f"{name}: {len(plans)} plans" if len(plans) > 1 else f"{name} {', '.join(*plans.values())}"
        for name, plans in stages.items()
    ]
    return "; ".join(texts) or "nothing"


def _show_links(nodes: Sequence[NodeState], console: Console) -> None:
    names = {node.name for node in nodes}
    links = [(node.name, link) for node in nodes for link in node.links if link.peer in names]
    if not links:
        return
    columns = [
        Column("from", [name for name, _ in links[:MOST_LINKS]], is_number=False),
        Column("to", [link.peer for _, link in links[:MOST_LINKS]], is_number=False),
        Column("Mbit/s", [_number(link.bytes_per_s, 1e6 / 8) for _, link in links[:MOST_LINKS]]),
        Column("round trip\nms", [_number(link.rtt_s, 1e-3) for _, link in links[:MOST_LINKS]]),
    ]
    print_columns(console, "links as measured", columns)
    if len(links) > MOST_LINKS:
        print_line(console, f"and {len(links) - MOST_LINKS} more links; --json has all")


def _deployment_columns(deployments: Sequence[Deployment]) -> list[Column]:
    return [
        Column("deployment", [each.name for each in deployments], is_number=False),
        Column("phase", [each.phase for each in deployments], is_number=False),
        Column("plans", [str(max(1, len(each.rows))) for each in deployments]),
        Column("stages", [str(len({place.held.stage for place in _first_places(each)})) for each in deployments]),
        Column("nodes", [str(len({place.node for place in each.places})) for each in deployments]),
        Column("expected\nitems/s", [_number(each.expected.items_per_s, 1.0) for each in deployments]),
        Column("latency\nms", [_number(each.expected.latency_s, 1e-3) for each in deployments]),
        Column("plan", [each.plan[:12] for each in deployments], leaves=1, is_number=False),
    ]


def _first_places(deployment: Deployment) -> tuple[StagePlace, ...]:
    """The stages of its first plan; of a hub that knows no others, all."""
    return deployment.places_of(deployment.rows[0]) if deployment.rows else deployment.places


def _model_columns(models: Sequence[ModelRecord]) -> list[Column]:
    return [
        Column("model", [each.name for each in models], is_number=False),
        Column("version", [str(each.version) for each in models]),
        Column("since", [_date(each.created_s) for each in models], is_number=False),
        Column("model hash", [each.model_hash[:12] for each in models], leaves=1, is_number=False),
    ]


def _result_columns(results: Sequence[ResultRecord]) -> list[Column]:
    shown = results[:MOST_RESULTS]
    return [
        Column("latest results", [each.name for each in shown], is_number=False),
        Column("since", [_date(each.created_s) for each in shown], is_number=False),
        Column("SHA-256", [each.sha256[:12] for each in shown], is_number=False),
    ]


def _date(unix_s: float | None) -> str:
    return "not known" if unix_s is None else datetime.fromtimestamp(unix_s).strftime("%Y-%m-%d %H:%M")


def _bytes(nbytes: int | None) -> str:
    return "not known" if nbytes is None else human_bytes(nbytes)


def _number(value: float | None, unit: float) -> str:
    return "not known" if value is None else number_text(value / unit)


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.0%}"
