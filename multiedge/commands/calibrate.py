"""`multiedge calibrate`: what this machine sustains, as lines for devices.yaml."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from multiedge.calibration import NULL_DEVICES, renewed_pipeline_cost
from multiedge.commands._terminal import share_bar
from multiedge.errors import ConfigError, MissingDependencyError
from multiedge.executors import open_pipeline
from multiedge.executors.workers.options import Emulation
from multiedge.fleet import REFERENCE_BACKEND, Device, Fleet
from multiedge.onnx_io import read_graph, write_parts
from multiedge.run import plan_model, profile_model
from multiedge.serving.hub.authority import identities_of_one_run
from profilers.engine.calibration import chain_model, devices_yaml, measure
from profilers.engine.reference import keep

RUNTIME_ITEMS = 10
"""Items that the worker runs before its memory is read."""


def run(args: argparse.Namespace) -> int:
    if not 1 <= args.threads <= (os.cpu_count() or 1):
        raise ConfigError(f"--threads: expected 1 to {os.cpu_count()} (this machine's CPUs), got {args.threads}")
    with share_bar("calibrating") as progress:
        calibration, hop = measure(args.threads, args.backend, progress)
        runtime = runtime_bytes(args.threads, args.backend)
    if (args.threads, args.backend) == (1, REFERENCE_BACKEND):
        keep(calibration)
        renewed_pipeline_cost()
        renewed_pipeline_cost("tcp")
        try:
            with identities_of_one_run(NULL_DEVICES) as identities:
                renewed_pipeline_cost("tls", identities)
        except MissingDependencyError as error:
            print(f"messages over TLS were not measured: {error}", file=sys.stderr)
    if args.json:
        figures = {**asdict(calibration), "runtime_bytes": runtime, "hop": asdict(hop)}
        print(json.dumps({"name": args.name, **figures}, indent=1))
    else:
        print(devices_yaml(calibration, hop, args.name, runtime))
    return 0


def runtime_bytes(threads: int, backend: str) -> int | None:
    """The peak of a worker that runs a stage without weights; None where memory is not measured."""
    device = Device("host", speed=1.0, threads=threads, backend=backend)
    fleet = Fleet((device,))
    with TemporaryDirectory(prefix="multiedge-calibrate-") as folder:
        model = Path(folder) / "one_node.onnx"
        onnx.save(chain_model(1), model)
        graph = read_graph(model)
        plan = plan_model(profile_model(graph, fleet, reference="declared"), fleet, "single")
        manifest = write_parts(graph, plan, Path(folder) / "parts")
        item = {"x": np.ones(16, np.float32)}
        with open_pipeline(manifest, fleet, emulation=Emulation.none(), record_events=False) as pipeline:
            _, measurements = pipeline.map([item] * RUNTIME_ITEMS)
    return next((memory.peak_bytes for memory in measurements.memory), None)
