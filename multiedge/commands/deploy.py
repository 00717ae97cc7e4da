"""`multiedge deploy`: plan a model for the nodes of a hub, bring the parts there, and wait until they are loaded."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from multiedge.commands import _options
from multiedge.commands._terminal import new_console, print_line, share_bar
from multiedge.errors import ConfigError, NetworkError, PipelineError, PlanError
from multiedge.files import temporary_folder
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.formats.plan import plan_to_json
from multiedge.network.as_fleet import fleet_of
from multiedge.network.client import HubClient
from multiedge.network.encoding import require_name
from multiedge.network.records import Deployment, Expected, ModelRecord, NodeMemory, NodeState
from multiedge.onnx_io import read_runnable, write_parts
from multiedge.onnx_io.shipment import Shipment, shipment_of
from multiedge.plan import Manifest, Plan
from multiedge.quantity import human_bytes
from multiedge.run import choose_strategy, node_costs, plan_model

Progress = Callable[[str, float], None]

LOOK_S = 0.2
MEASURING_S = 30.0
"""How long to wait for nodes that have just begun and still measure their speed."""
FAILED_S = 3.0
"""How long a deployment must be failed before that counts: nodes try again."""
AWAY_S = 10.0
"""How long the hub may be away while the deployment is awaited."""
_PLANNING = ("devices", "profile", "reference", "strategy", "objective", "max_latency", "option", "shape", "measure_shapes")


@dataclass(frozen=True)
class Deployed:
    """What came of a deployment: bytes that were sent to the hub, and the seconds that each step took."""

    deployment: Deployment
    manifest: Manifest
    sent_bytes: int
    seconds: dict[str, float]


def run(args: argparse.Namespace) -> int:
    with _options.hub_client(args) as client:
        if args.remove:
            if args.model:
                raise ConfigError("--remove: expected no MODEL beside it; leave one out")
            client.undeploy(args.remove)
            print(f"deployment '{args.remove}' is removed", file=sys.stderr)
            return 0
        if not args.model:
            raise ConfigError("MODEL: expected an ONNX file or the folder of a plan, or --remove NAME")
        name = require_name("--name", args.name or Path(args.model).stem)
        with share_bar(f"deploying {name}") as progress, _parts(args, client, progress) as manifest:
            done = bring(client, manifest, name, args.timeout, progress)
    _show(args, done)
    return 0


def bring(client: HubClient, manifest: Manifest, name: str, timeout_s: float, progress: Progress) -> Deployed:
    """Uploads what the pool does not have of a plan, deploys it, and waits until all of its stages are loaded.

    Args:
        client: The hub.
        manifest: The plan.
        name: That of the deployment.
        timeout_s: How long to wait for the nodes.
        progress: Called with the step and the share of it that is done.

    Returns:
        What came of it.

    Raises:
        NetworkError: If the hub refuses.
        PipelineError: If a node fails, or the time is over; the deployment goes on.
    """
    start = time.monotonic()
    progress("computing digests", 0.0)
    shipment = shipment_of(manifest)
    sent = _upload(client, shipment, progress)
    uploaded = time.monotonic()
    model = Path(manifest.model).name
    client.put_model(_model(manifest, shipment))
    client.deploy(Deployment(name, shipment.record.digest, model, _expected(manifest.plan)))
    deployment = _await_ready(client, name, timeout_s, progress)
    seconds = {"upload_s": uploaded - start, "ready_s": time.monotonic() - uploaded}
    return Deployed(deployment, manifest, sent, seconds)


@contextmanager
def _parts(args: argparse.Namespace, client: HubClient, progress: Progress) -> Iterator[Manifest]:
    """The plan of a folder, or a new one for the nodes; its folder is removed in the end unless it is that of --output."""
    model = Path(args.model)
    if model.is_dir():
        given = [name for name in (*_PLANNING, "output") if vars(args)[name]]
        if given:
            raise ConfigError(f"--{given[0].replace('_', '-')}: has no effect on the plan in {model}; leave it out")
        manifest = read_runnable(model)
        _require_nodes(manifest, {node.name for node in client.nodes()}, client.address)
        yield manifest
    elif args.output:
        yield _plan(args, client, Path(args.output), progress)
    else:
        # Beside the model, since weights are linked within one file system.
        beside = model.resolve().parent
        with temporary_folder("deploy-", beside if os.access(beside, os.W_OK) else None) as folder:
            yield _plan(args, client, folder, progress)


def _plan(args: argparse.Namespace, client: HubClient, folder: Path, progress: Progress) -> Manifest:
    """The parts of a new plan for the nodes that are alive."""
    strategy, options = choose_strategy(
        args.strategy, args.objective, _options.with_own(_options.strategy_flags(args), args.option)
    )
    graph = _options.read_sized(args, args.profile)
    declared = read_fleet(args.devices) if args.devices else None
    fleet = fleet_of(measured_nodes(client, declared, progress), declared, f"fleet of hub {client.address}")
    progress("planning", 0.0)
    profile = node_costs(graph, fleet, args.profile, args.reference)
    plan = plan_model(profile, fleet, strategy, **options)
    for line in _options.warnings_of(profile):
        print(line, file=sys.stderr)
    return write_parts(graph, plan, folder, profile=profile)


def measured_nodes(client: HubClient, declared: Fleet | None, progress: Progress) -> tuple[NodeState, ...]:
    """The nodes that are alive, once each has measured its speed or a device states it; after MEASURING_S as they are."""
    deadline = time.monotonic() + MEASURING_S
    while True:
        nodes = client.nodes()
        silent = [node.name for node in nodes if node.flops_per_s is None and not _states_speed(declared, node.name)]
        if not silent or time.monotonic() > deadline:
            return nodes
        progress(f"node '{silent[0]}' measures its speed", 1 - len(silent) / len(nodes))
        time.sleep(LOOK_S)


def _states_speed(declared: Fleet | None, name: str) -> bool:
    device = declared.by_name.get(name) if declared else None
    return device is not None and (device.speed, device.flops_per_s, device.freq_hz) != (None, None, None)


def _require_nodes(manifest: Manifest, alive: set[str], hub: str) -> None:
    absent = {name for part in manifest.parts for name in part.devices} - alive
    if absent:
        names = ", ".join(sorted(alive)) or "none"
        raise PlanError(
            f"{manifest.directory}: device '{min(absent)}' is not among the nodes of hub {hub}, which are: {names};"
            " start that node, or deploy the model itself"
        )


def _upload(client: HubClient, shipment: Shipment, progress: Progress) -> int:
    total, sent = max(1, shipment.nbytes), 0

    def count(nbytes: int) -> None:
        nonlocal sent
        sent += nbytes
        progress("uploading", sent / total)

    return client.put_plan(shipment.record, shipment.files, count)


def _model(manifest: Manifest, shipment: Shipment) -> ModelRecord:
    """The model in the pool: the files of weights that its parts share."""
    files = {file.name: file.sha256 for part in shipment.record.parts for file in part.files if file.ranges}
    name = "".join(char if (char.isalnum() and char.isascii()) or char in "._-" else "_" for char in Path(manifest.model).stem)
    shapes = {name: list(shape) for name, shape in manifest.input_shapes.items()}
    metadata = {"inputs": list(manifest.inputs), "outputs": list(manifest.outputs), "input_shapes": shapes}
    return ModelRecord(name.strip("._-")[:63] or "model", manifest.model_hash, files, metadata)


def _expected(plan: Plan | None) -> Expected:
    if plan is None:
        return Expected()
    rate, memory = plan.estimate.fps_bound, plan.estimate.memory
    return Expected(
        rate if math.isfinite(rate) else None,
        plan.estimate.latency_s,
        tuple(NodeMemory(each.device, each.planned_bytes, each.limit_bytes) for each in memory),
    )


def _await_ready(client: HubClient, name: str, timeout_s: float, progress: Progress) -> Deployment:
    """The deployment once it is ready. A hub that begins anew in between does no harm."""
    deadline, failed_s, away_s, shown = time.monotonic() + timeout_s, math.inf, math.inf, ""
    while True:
        now = time.monotonic()
        try:
            deployment, away_s = client.deployment(name), math.inf
        except NetworkError as error:
            away_s = min(away_s, now)
            if error.status is not None or now - away_s > AWAY_S:
                raise
            time.sleep(LOOK_S)
            continue
        if deployment.phase == "ready":
            return deployment
        failed_s = min(failed_s, now) if deployment.phase == "failed" else math.inf
        if now - failed_s > FAILED_S or now > deadline:
            verb = "failed" if deployment.phase == "failed" else f"is not ready after {timeout_s:g} s"
            raise PipelineError(f"deployment '{name}' {verb}: {deployment.reason}; nodes go on trying, see: multiedge fleet")
        progress(f"{deployment.phase}: {deployment.reason}", _share(deployment))
        if deployment.phase != shown and not sys.stderr.isatty():
            print(f"{name}: {deployment.phase}: {deployment.reason}", file=sys.stderr, flush=True)
        shown = deployment.phase
        time.sleep(LOOK_S)


def _share(deployment: Deployment) -> float:
    """The share of all files that nodes have."""
    total = sum(place.held.total_bytes or 0 for place in deployment.places)
    return sum(place.held.done_bytes or 0 for place in deployment.places) / total if total else 0.0


def _show(args: argparse.Namespace, done: Deployed) -> None:
    plan, deployment = done.manifest.plan, done.deployment
    if args.json:
        data = {
            "deployment": asdict(deployment),
            "plan": plan_to_json(plan) if plan else None,
            "sent_bytes": done.sent_bytes,
            **done.seconds,
        }
        print(json.dumps(data, indent=1, allow_nan=False))
        return
    console = new_console()
    for line in summary(done):
        print_line(console, line)
    if args.output or Path(args.model).is_dir():
        print_line(console, f"run it: multiedge run {done.manifest.directory} --executor fleet --hub {args.hub} --random 100")


def summary(done: Deployed) -> list[str]:
    """What is deployed where, and what to expect of it."""
    deployment, expected = done.deployment, done.deployment.expected
    nodes = list(dict.fromkeys(place.node for place in deployment.places))
    seconds = f"{done.seconds['upload_s']:.1f} s, loaded in {done.seconds['ready_s']:.1f} s"
    lines = [
        f"{deployment.name} is ready: {len(done.manifest.parts)} stages on {', '.join(nodes)}",
        f"sent to the hub: {human_bytes(done.sent_bytes)} in {seconds}",
    ]
    if expected.items_per_s is not None:
        alone = "" if expected.latency_s is None else f"; {expected.latency_s * 1e3:.4g} ms for one alone"
        lines.append(f"expected: at most {expected.items_per_s:.4g} items/s{alone}")
    taken = {place.node: place.held.memory_bytes for place in deployment.places}
    for each in expected.memory:
        limit = "no limit" if each.limit_bytes is None else f"of {human_bytes(each.limit_bytes)}"
        now = taken.get(each.node)
        loaded = "" if now is None else f"; {human_bytes(now)} once loaded"
        lines.append(f"memory of {each.node}: {human_bytes(each.planned_bytes)} planned, {limit}{loaded}")
    return lines
