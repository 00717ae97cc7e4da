"""`multiedge run`: a plan as a running pipeline, measured."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from multiedge.backends import BACKENDS
from multiedge.backends.stages import BackendOptions
from multiedge.commands.plan import parse_options
from multiedge.errors import ConfigError, PlanError, did_you_mean
from multiedge.executors import EXECUTORS
from multiedge.executors.flow.contract import Result, Tensors
from multiedge.executors.flow.drive import Progress as Tell
from multiedge.executors.flow.pipeline import bare_fleet
from multiedge.executors.flow.scenarios import SCENARIOS, scenario
from multiedge.executors.workers.options import Emulation
from multiedge.files import write_text
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.formats.trace import read_trace
from multiedge.graph import Tensor
from multiedge.metrics.percentiles import percentile
from multiedge.onnx_io import read_manifest
from multiedge.options import build_options, option_names, require_options, with_option
from multiedge.plan import Manifest
from multiedge.replanning.replanner import Replanner
from multiedge.report.encode import plain_data
from multiedge.report.results import RunResult, to_json
from multiedge.report.units import human
from multiedge.run import run_plan

DISTINCT = 16
"""Random items that are made; longer runs repeat them, so that making them costs no time of the run."""
PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
FAILED = 1
FLAGS = {
    "depth": "depth",
    "micro_batch": "micro_batch",
    "transport": "transport",
    "seed": "seed",
    "warmup": "warmup_items",
    "emulate": "emulation",
    "namespaces": "emulation",
    "endpoint": "endpoints",
    "trace": "trace",
    "replan": "replan",
    "keep_prepacked": "backends",
}
"""Which option of an executor each flag gives."""
PREPACKED = ".prepacked"
"""Where packed weights are kept in the plan's folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan_dir", metavar="PLAN_DIR", help="folder that `multiedge split` or `plan -o` wrote")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--inputs", nargs="+", metavar="FILE", help=".npz files, one item each, or folders of them")
    source.add_argument("--random", type=int, metavar="N", help="N items of seeded random numbers")
    parser.add_argument("--devices", metavar="FILE", help="devices.yaml; default: every device is this machine, links are free")
    parser.add_argument("--scenario", default="offline", help=f"{', '.join(SCENARIOS)} (default: offline)")
    parser.add_argument("--rate", type=float, metavar="PER_S", help="items per second, for --scenario server")
    parser.add_argument(
        "--latency-bound", type=float, metavar="S", help="with --scenario server: what 99 %% of latencies must stay within"
    )
    parser.add_argument("--executor", default="processes", help="processes, inline, ray or remote (default: processes)")
    parser.add_argument(
        "--endpoint", action="append", metavar="DEVICE=HOST:PORT[/MODEL]", help="for --executor remote; repeatable"
    )
    parser.add_argument("--transport", help="auto, shared-memory, pipe or tcp (default: auto)")
    parser.add_argument("--depth", type=int, metavar="N", help="items under way at once (default: enough for every stage)")
    parser.add_argument("--micro-batch", type=int, metavar="N", help="join up to N waiting items (default: 1)")
    parser.add_argument("--warmup", type=int, metavar="N", help="items before the clock starts (default: 2)")
    parser.add_argument(
        "--emulate",
        action=argparse.BooleanOptionalAction,
        help="slow down to the devices and links of the fleet (default)",
    )
    parser.add_argument(
        "--namespaces",
        action="store_true",
        default=None,
        help="links by the kernel: TCP between network namespaces; as root, with iproute2",
    )
    parser.add_argument("--trace", metavar="FILE", help="what happens to the fleet while it runs, yaml or JSON")
    parser.add_argument(
        "--replan",
        action=argparse.BooleanOptionalAction,
        help="plan anew when the fleet of --devices changes (default: if the executor can, and the model is there)",
    )
    parser.add_argument(
        "--keep-prepacked",
        action="store_true",
        default=None,
        help="keep packed weights in the plan's folder: less anonymous memory",
    )
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="another option of the executor")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of inputs, arrivals and links (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, not as a table")
    parser.add_argument("-o", "--output", metavar="FILE", help="write results and raw events for `multiedge report`, JSON")


def run(args: argparse.Namespace) -> int:
    """Exit status 0 if every item was answered well, else 1."""
    EXECUTORS.load(args.executor)
    manifest = read_manifest(args.plan_dir)
    fleet = read_fleet(args.devices) if args.devices else bare_fleet(manifest)
    scenario(args.scenario, rate_per_s=args.rate, latency_bound_s=args.latency_bound)  # refused before anything is read
    options = run_options(args, fleet)
    chosen = build_options(EXECUTORS, args.executor, options)
    items, count = read_items(args, manifest)
    with replanner(args, manifest, fleet) as replan, progress_bar(count) as tell:
        answers, result = run_plan(
            manifest,
            fleet,
            items,
            executor=args.executor,
            scenario=args.scenario,
            rate_per_s=args.rate,
            latency_bound_s=args.latency_bound,
            name=Path(args.plan_dir).name,
            configuration=configuration(args),
            progress=tell,
            options=chosen,
            **({"replan": replan} if replan else {}),
        )
    found = summary(answers, result)
    found["trace"] = options["trace"].story(found["wall_s"]) if "trace" in options else []
    if args.output:
        write_text(args.output, json.dumps({**found, **to_json(result)}, allow_nan=False) + "\n")
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        print_summary(found)
    return FAILED if found["failed"] or found["lost"] else 0


def configuration(args: argparse.Namespace) -> dict[str, Any]:
    """What the run was asked for, as a report shows it."""
    return {
        name: value for name, value in vars(args).items() if name not in ("command", "json", "output") and value is not None
    }


@contextmanager
def replanner(args: argparse.Namespace, manifest: Manifest, fleet: Fleet) -> Iterator[Replanner | None]:
    """What plans anew, where it is wanted, the executor can use it and the model to cut is there."""
    can = "replan" in option_names(EXECUTORS, args.executor) and args.devices and Path(manifest.model).is_file()
    if args.replan is False or (args.replan is None and not can):
        yield None
        return
    if not args.devices:
        raise ConfigError("--replan: expected --devices with it, the fleet that changes; give it, or leave --replan out")
    with Replanner(manifest, fleet) as replan:
        yield replan


def run_options(args: argparse.Namespace, fleet: Fleet) -> dict[str, Any]:
    """The executor's options that were given, `replan` aside; ConfigError for one that it does not have."""
    own, given = parse_options(args.option), {flag: option for flag, option in FLAGS.items() if vars(args)[flag] is not None}
    for option in own:
        if option in given.values():
            raise ConfigError(f"--option {option}: another flag gives it, too; leave one of them out")
    require_options(EXECUTORS, args.executor, [*given.values(), *own])
    values = {option: vars(args)[flag] for flag, option in given.items() if flag != "replan"} | own
    if "emulation" in given.values():
        base = Emulation.none() if args.emulate is False else Emulation()
        values["emulation"] = replace(base, namespaces=bool(args.namespaces))
    if args.trace:
        values["trace"] = read_trace(args.trace, fleet)
    if args.endpoint:
        values["endpoints"] = parse_endpoints(args.endpoint)
    if args.keep_prepacked:
        values["backends"] = prepacked(fleet, Path(args.plan_dir) / PREPACKED)
    return values


def prepacked(fleet: Fleet, folder: Path) -> BackendOptions:
    """Options that keep packed weights in the folder, for each backend of the fleet that can."""
    able = with_option(BACKENDS, "prepacked")
    options = {device.backend: {"prepacked": str(folder)} for device in fleet.devices if device.backend in able}
    if not options:
        raise ConfigError(f"--keep-prepacked: no device of {fleet.name} has a backend that can; these can: {', '.join(able)}")
    return options


def parse_endpoints(texts: Iterable[str]) -> dict[str, list[str]]:
    """Endpoints by device, in the order given, from 'device=host:port' texts."""
    found: dict[str, list[str]] = {}
    for text in texts:
        device, _, address = text.partition("=")
        if not device or ":" not in address:
            raise ConfigError(f"--endpoint: expected DEVICE=HOST:PORT, got '{text}'")
        found.setdefault(device, []).append(address)
    return found


def read_items(args: argparse.Namespace, manifest: Manifest) -> tuple[Iterable[Tensors], int]:
    """The items to run and how many they are."""
    if args.random is not None:
        if args.random < 1:
            raise ConfigError(f"--random: expected 1 or more, got {args.random}")
        made = random_items(manifest, min(args.random, DISTINCT), args.seed or 0)
        return (made[number % len(made)] for number in range(args.random)), args.random
    paths = [path for given in args.inputs for path in npz_files(Path(given))]
    wanted = input_tensors(manifest)
    read_npz(paths[0], wanted)  # refused before anything is started
    return (read_npz(path, wanted) for path in paths), len(paths)


def input_tensors(manifest: Manifest) -> dict[str, Tensor]:
    """The model's inputs, as the parts that read them declare them."""
    from multiedge.onnx_io import read_graph

    found: dict[str, Tensor] = {}
    for part in manifest.parts:
        if not found.keys() >= set(part.inputs) & set(manifest.inputs):
            graph = read_graph(Path(manifest.directory) / part.file)
            found.update({name: graph.tensors[name] for name in graph.inputs if name in manifest.inputs})
    return found


def random_items(manifest: Manifest, count: int, seed: int) -> list[Mapping[str, Any]]:
    """Seeded inputs that fit the whole model's signature."""
    from multiedge.onnx_io import random_inputs, read_graph

    model = Path(manifest.model)
    path = model if model.is_file() else Path(manifest.directory) / manifest.model
    if not path.is_file():
        raise PlanError(
            f"{manifest.directory}: the model '{manifest.model}' is not there, and --random needs its inputs;"
            " give --inputs instead"
        )
    graph = read_graph(path)
    return [random_inputs(graph, seed=seed + number) for number in range(count)]


def npz_files(path: Path) -> list[Path]:
    """The file itself, or the .npz files of a folder by name."""
    if path.is_dir():
        found = sorted(path.glob("*.npz"))
        if not found:
            raise ConfigError(f"{path}: no .npz file in this folder")
        return found
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected an .npz with one array per input of the model")
    return [path]


def read_npz(path: Path, inputs: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arrays of the file, one for each of `inputs`, of its type and shape; ConfigError that names what differs."""
    expected = "expected an .npz with one array per input of the model"
    try:
        with np.load(path, allow_pickle=False) as data:
            found = {name: data[name] for name in data.files}
    except (TypeError, AttributeError, OSError, ValueError, BadZipFile, EOFError):  # a lone array is no context
        raise ConfigError(f"{path}: {expected}, as numpy.savez(path, {next(iter(inputs), 'name')}=array) writes it") from None
    for name in found:
        if name not in inputs:
            raise ConfigError(f"{path}: '{name}' is no input of the model{did_you_mean(name, inputs)}")
    for name, tensor in inputs.items():
        if name not in found:
            raise ConfigError(f"{path}: the model's input '{name}' is not in there{did_you_mean(name, found)}")
        array, shape = found[name], tensor.shape
        fits = shape is None or (
            len(shape) == array.ndim
            and all(isinstance(want, str) or want == size for want, size in zip(shape, array.shape, strict=True))
        )
        if not fits or tensor.dtype not in (None, "object", array.dtype.name):
            sizes = "of any shape" if shape is None else list(shape)
            raise ConfigError(
                f"{path}: input '{name}': expected {tensor.dtype} {sizes}, got {array.dtype} {list(array.shape)};"
                " convert it before it is saved"
            )
    return found


def summary(answers: list[Result], result: RunResult) -> dict[str, Any]:
    """The run in numbers, as JSON data; what was not measured is null."""
    figures, measurements = result.results, result.measurements
    assert measurements is not None
    count = {name: int(figures[name].value or 0) for name in ("items", "completed", "failed", "lost", "duplicated")}
    latencies = sorted(item.latency_s for item in measurements.items if not item.error)
    latency_s: dict[str, float | None] = {
        name: percentile(latencies, p) if latencies else None for name, p in PERCENTILES.items()
    }
    latency_s["mean"] = sum(latencies) / len(latencies) if latencies else None
    latency_s["max"] = latencies[-1] if latencies else None
    recoveries = [
        {
            "kind": fault.kind,
            "device": fault.device,
            "detected_s": fault.detected_s,
            "recovery_s": None if fault.recovered_s is None else fault.recovered_s - fault.detected_s,
            "detail": fault.detail,
        }
        for fault in measurements.faults
    ]
    errors = [{"item": answer.item, "error": answer.error} for answer in answers if answer.error]
    data = {
        **count,
        "fps": figures["fps"].value,
        "latency_s": latency_s,
        "recoveries": recoveries,
        "errors": errors[:20],
        "wall_s": measurements.wall_s,
        "warmup_items": measurements.warmup_items,
        "validity": str(result.validity),
        "metrics": {
            name: {"value": figure.value, "unit": figure.unit, "direction": figure.direction, "note": figure.note}
            for name, figure in figures.items()
        },
        "memory": [vars(memory) for memory in measurements.memory],
        "settings": measurements.settings,
    }
    return dict(plain_data(data))


def print_summary(found: Mapping[str, Any]) -> None:
    console = Console()
    table = Table(title=f"{found['settings']['scenario']}, {found['settings']['executor']}", title_justify="left")
    for name in ("figure", "value", "note"):
        table.add_column(name, justify="right" if name == "value" else "left", overflow="fold")
    for name, figure in found["metrics"].items():
        table.add_row(name, human(figure["value"], figure["unit"]), figure["note"])
    console.print(table)
    console.print(f"{found['validity']} ({found['warmup_items']} warm-up items left out)", highlight=False)
    for line in found["trace"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for fault in found["recoveries"]:
        took = "not recovered" if fault["recovery_s"] is None else f"recovered in {fault['recovery_s']:.3f} s"
        console.print(f"{fault['detected_s']:8.3f} s  {fault['kind']}: {fault['detail']}; {took}", highlight=False)
    for failed in found["errors"]:
        console.print(f"item {failed['item']}: {failed['error']}", highlight=False, style="red")


@contextmanager
def progress_bar(total: int) -> Iterator[Tell]:
    """A bar on stderr, if that is a terminal."""
    columns = (TextColumn("running"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("running", total=total)
        yield lambda count: bar.advance(task, count)
