"""`multiedge deploy`: plan a model for the nodes of a hub, bring the parts there, and wait until they are loaded.

With a table several plans are brought there, of which each request takes one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from multiedge.calibration import known_pipeline_cost
from multiedge.commands import _options
from multiedge.commands._bringing import Deployed, Progress, RowParts, bring
from multiedge.commands._deployable import require_free, require_installed, require_nodes, require_runtimes
from multiedge.commands._plans import absent_lines, request_lines, show_rows, show_table, table_json, text_lines
from multiedge.commands._terminal import new_console, print_line, share_bar
from multiedge.decoding.tokenizer import TOKENIZER_FILE, text_files
from multiedge.defaults import DEFAULT_ROW_KINDS
from multiedge.errors import ConfigError, describe
from multiedge.files import temporary_folder
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.formats.plan import plan_to_json
from multiedge.graph import Graph
from multiedge.network.as_fleet import fleet_of
from multiedge.network.client import HubClient
from multiedge.network.encoding import require_name
from multiedge.network.records import ONLY_ROW, Expected, NodeState
from multiedge.onnx_io import read_graph, read_runnable, write_parts
from multiedge.plan import Manifest, Plan
from multiedge.profile import Profile
from multiedge.quantity import human_bytes
from multiedge.run import choose_strategy, graph_of, node_costs, plan_model
from multiedge.table import Accuracy, Table, draw_table, expected_of, plan_table

LOOK_S = 0.2
MEASURING_S = 30.0
"""How long to wait for nodes that have just begun and still measure their speed."""
_CHOICE = ("strategy", "objective", "max_latency", "first_on", "last_on", "option")
"""Options that choose a plan; in a table, the first one."""
_SIZES = ("shape", "measure_shapes", "state", "context", "tokens", "sequences")
_PLANNING = (*_CHOICE, "devices", "profile", "reference", "source", *_SIZES, "table", "rows", "show_plans")


@dataclass(frozen=True)
class Planned:
    """The costs of a model, and of its variants by name, on the nodes."""

    profile: Profile
    fleet: Fleet
    variants: Mapping[str, Profile]

    @property
    def graph(self) -> Graph:
        """The model."""
        return self.profile.graph

    def of(self, variant: str) -> Profile:
        """The costs of a variant, '' for the model."""
        return self.variants[variant] if variant else self.profile


def run(args: argparse.Namespace) -> int:
    with _options.hub_client(args) as client:
        if args.remove:
            if args.model:
                raise ConfigError("--remove: expected no MODEL beside it; leave one out")
            client.undeploy(args.remove)
            print(f"deployment '{args.remove}' is removed", file=sys.stderr)
            return 0
        if not args.model:
            raise ConfigError("MODEL: expected an ONNX file, a workflow.yaml or the folder of a plan, or --remove NAME")
        for option in ("accuracy", "variant"):
            _options.require_with(args, option, "table", "rows", "show_plans")
        if args.show_plans and not Path(args.model).is_dir():
            return _show_plans(args, client)
        name = require_name("--name", args.name or _options.model_file(args.model).stem)
        with share_bar(f"deploying {name}") as progress, _rows(args, client, progress) as rows:
            done = bring(client, rows, name, args.timeout, progress, _text(args, rows[0].manifest))
    _show(args, done)
    return 0


def _text(args: argparse.Namespace, manifest: Manifest) -> Mapping[str, Path]:
    """The files of the model's tokenizer, by name; none for what is no language model, which a line says of one that may be."""
    model = Path(manifest.model)
    if not manifest.state_pairs:
        if args.tokenizer:
            raise ConfigError(f"--tokenizer: has no effect for {model.name}, which has no states; leave it out")
        return {}
    files = text_files(model, Path(args.tokenizer) if args.tokenizer else None)
    if not files:
        print(
            f"{model.parent}: has no {TOKENIZER_FILE}: the front end answers no clients of OpenAI's protocol for {model.name};"
            " name one with --tokenizer",
            file=sys.stderr,
        )
    return files


@contextmanager
def _rows(args: argparse.Namespace, client: HubClient, progress: Progress) -> Iterator[tuple[RowParts, ...]]:
    """The plan of a folder, or new ones for the nodes; their folder is removed in the end unless it is that of --output."""
    model = Path(args.model)
    if model.is_dir():
        given = [name for name in (*_PLANNING, "output") if vars(args)[name]]
        if given:
            raise ConfigError(f"--{given[0].replace('_', '-')}: has no effect on the plan in {model}; leave it out")
        manifest = read_runnable(model)
        manifest.require_uncalibrated("they are not sent to nodes; plan without --max-accuracy-loss")
        nodes = {node.name: node for node in client.nodes()}
        require_nodes(manifest, nodes, client.address)
        if manifest.plan:
            require_runtimes(manifest.plan, nodes, manifest.directory)
        graph = graph_of(manifest)
        if graph:
            require_installed(graph)
        yield (RowParts(ONLY_ROW, ONLY_ROW, expected_of(manifest.plan) if manifest.plan else Expected(), manifest),)
    elif args.output:
        yield _written(args, client, Path(args.output), progress)
    else:
        # Beside the model, since weights are linked within one file system.
        beside = model.resolve().parent
        with temporary_folder("deploy-", beside if os.access(beside, os.W_OK) else None) as folder:
            yield _written(args, client, folder, progress)


def _written(args: argparse.Namespace, client: HubClient, folder: Path, progress: Progress) -> tuple[RowParts, ...]:
    """The parts of one new plan in the folder, or those of each row of a table in a folder of its name."""
    planned = _planned(args, client, progress)
    if not _is_table(args):
        plan = _plan(args, planned)
        manifest = write_parts(planned.graph, plan, folder, profile=planned.profile)
        return (RowParts(ONLY_ROW, ONLY_ROW, expected_of(plan, planned.fleet), manifest),)
    table = _table(args, planned, progress)
    for line in absent_lines(table.absent):
        print(line, file=sys.stderr)
    if args.output:
        _draw(table, folder)
    rows: list[RowParts] = []
    for row in table.rows:
        progress(f"writing parts of '{row.name}'", len(rows) / len(table.rows))
        costs = planned.of(row.variant)
        manifest = write_parts(costs.graph, row.plan, folder / row.name, profile=costs)
        rows.append(RowParts(row.name, row.kind, row.expected, manifest, row.is_approximate))
    return tuple(rows)


def _planned(args: argparse.Namespace, client: HubClient, progress: Progress) -> Planned:
    """The model and what it costs on the nodes that are alive."""
    graph = _options.read_sized(args, args.profile)
    require_installed(graph)
    declared = read_fleet(args.devices) if args.devices else None
    nodes = measured_nodes(client, declared, progress)
    if declared:
        require_free(declared, nodes)
    fleet = fleet_of(nodes, declared, f"fleet of hub {client.address}")
    if args.source:
        fleet.device(args.source)
        fleet = replace(fleet, source=args.source)
    progress("planning", 0.0)
    sequences = _options.read_sequences(args, graph)
    profile = _over_tls(node_costs(graph, fleet, args.profile, args.reference, sequences))
    for line in _options.warnings_of(profile):
        print(line, file=sys.stderr)
    graphs = _variants(args, graph)
    variants = {name: _over_tls(node_costs(each, fleet, None, args.reference, sequences)) for name, each in graphs.items()}
    return Planned(profile, fleet, variants)


def _over_tls(profile: Profile) -> Profile:
    """A measured profile with what messages between nodes take, if `multiedge calibrate` has measured that."""
    pipeline = known_pipeline_cost("tls") if profile.pipeline else None
    return replace(profile, pipeline=pipeline) if pipeline else profile


def _variants(args: argparse.Namespace, graph: Graph) -> dict[str, Graph]:
    """The graphs of --variant by name; ConfigError for one that does not take and give what the model does."""
    variants: dict[str, Graph] = {}
    for text in args.variant:
        name, path = _options.parse_pair(text, "--variant", "NAME=FILE")
        declared = read_graph(path)
        ends, its = (*graph.inputs, *graph.outputs), (*declared.inputs, *declared.outputs)
        if its != ends:
            raise ConfigError(f"--variant {name}: expected the inputs and outputs {', '.join(ends)}, got {', '.join(its)}")
        variant = variants[require_name("--variant", name)] = read_graph(path, graph.input_shapes)
        for tensor in ends:
            if _tensor(variant, tensor) != _tensor(graph, tensor):
                raise ConfigError(
                    f"--variant {name}: expected '{tensor}' to have the type and size that it has in {graph.name}"
                )
    return variants


def _tensor(graph: Graph, name: str) -> tuple[str | None, int | None]:
    """Type and size of a tensor, None where they are not known."""
    tensor = graph.tensors.get(name)
    return (tensor.dtype, tensor.nbytes) if tensor else (None, None)


def _plan(args: argparse.Namespace, planned: Planned) -> Plan:
    """The plan that the options choose."""
    own = _options.with_own(_options.strategy_flags(args), args.option)
    strategy, options = choose_strategy(args.strategy, args.objective, own)
    return plan_model(planned.profile, planned.fleet, strategy, **_options.pins(args), **options)


def _is_table(args: argparse.Namespace) -> bool:
    return bool(args.table or args.rows or args.show_plans)


def _table(args: argparse.Namespace, planned: Planned, progress: Progress) -> Table:
    """The rows that the options ask for; first the plan that they choose, if they choose one."""
    kinds = tuple(kind.strip() for kind in args.rows.split(",")) if args.rows else DEFAULT_ROW_KINDS
    chosen = _plan(args, planned) if any(vars(args)[name] for name in _CHOICE) else None
    accuracy = parse_accuracy(args.accuracy)
    return plan_table(
        planned.profile,
        planned.fleet,
        kinds,
        chosen=chosen,
        variants=planned.variants,
        accuracy=accuracy,
        progress=progress,
    )


def parse_accuracy(texts: Sequence[str]) -> Accuracy:
    """Accuracies from 'SHARE' and 'ROW=SHARE' texts."""
    exact: float | None = None
    of_rows: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            raise ConfigError(f"--accuracy: expected a share from 0 to 1 such as 0.91 or float16=0.9, got {describe(text)}")
        if name:
            of_rows[name] = share
        else:
            exact = share
    return Accuracy(exact, of_rows)


def _show_plans(args: argparse.Namespace, client: HubClient) -> int:
    """Prints the table, and deploys nothing."""
    if args.tokenizer:
        raise ConfigError("--tokenizer: has no effect with --show-plans, which deploys nothing; leave it out")
    with share_bar(f"planning {Path(args.model).name}") as progress:
        planned = _planned(args, client, progress)
        table = _table(args, planned, progress)
    if args.output:
        _draw(table, Path(args.output))
    if args.json:
        print(json.dumps({"model": planned.graph.name, **table_json(table)}, indent=1, allow_nan=False))
    else:
        show_table(f"plans of {planned.graph.name}", table, new_console())
    return 0


def _draw(table: Table, folder: Path) -> None:
    for path in draw_table(table, folder):
        print(f"drawn: {path}", file=sys.stderr)


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


def _show(args: argparse.Namespace, done: Deployed) -> None:
    first, deployment = done.rows[0].manifest, done.deployment
    if args.json:
        data = {
            "deployment": asdict(deployment),
            "plan": plan_to_json(first.plan) if first.plan else None,
            "sent_bytes": done.sent_bytes,
            **done.seconds,
        }
        print(json.dumps(data, indent=1, allow_nan=False))
        return
    console = new_console()
    for line in summary(done):
        print_line(console, line)
    if len(done.rows) > 1:
        show_rows(f"plans of {deployment.name}", deployment.rows, console)
        for line in request_lines(deployment.name):
            print_line(console, line)
    for line in text_lines(deployment.name) if deployment.text else ():
        print_line(console, line)
    if args.output or Path(args.model).is_dir():
        print_line(console, f"run it: multiedge run {first.directory} --executor fleet --hub {args.hub} --random 100")


def summary(done: Deployed) -> list[str]:
    """What is deployed where, and what to expect of it."""
    deployment, expected = done.deployment, done.deployment.expected
    places = deployment.places_of(deployment.rows[0])
    nodes = list(dict.fromkeys(place.node for place in places))
    plans = f"{len(done.rows)} plans, the first with " if len(done.rows) > 1 else ""
    seconds = f"{done.seconds['upload_s']:.1f} s, loaded in {done.seconds['ready_s']:.1f} s"
    lines = [
        f"{deployment.name} is ready: {plans}{len(done.rows[0].manifest.parts)} stages on {', '.join(nodes)}",
        f"sent to the hub: {human_bytes(done.sent_bytes)} in {seconds}",
    ]
    if expected.items_per_s is not None:
        alone = "" if expected.latency_s is None else f"; {expected.latency_s * 1e3:.4g} ms for one alone"
        lines.append(f"expected: at most {expected.items_per_s:.4g} items/s{alone}")
    taken = {place.node: place.held.memory_bytes for place in places}
    for each in expected.memory:
        limit = "no limit" if each.limit_bytes is None else f"of {human_bytes(each.limit_bytes)}"
        now = taken.get(each.node)
        loaded = "" if now is None else f"; {human_bytes(now)} once loaded"
        lines.append(f"memory of {each.node}: {human_bytes(each.planned_bytes)} planned, {limit}{loaded}")
    return lines
