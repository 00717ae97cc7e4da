"""`multiedge calibrate`: what this machine sustains, as lines for devices.yaml."""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict

from multiedge.commands import _options
from multiedge.commands._terminal import share_bar
from multiedge.errors import ConfigError
from profilers.engine.calibration import devices_yaml, measure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the runtime (default: 1)")
    _options.add_backend(parser, "the device")
    parser.add_argument("--name", default=platform.node() or "host", help="name of the device (default: this host's name)")
    _options.add_json(parser, "the figures")


def run(args: argparse.Namespace) -> int:
    if not 1 <= args.threads <= (os.cpu_count() or 1):
        raise ConfigError(f"--threads: expected 1 to {os.cpu_count()} (this machine's CPUs), got {args.threads}")
    with share_bar("calibrating") as progress:
        calibration, hop = measure(args.threads, args.backend, progress)
    if args.json:
        print(json.dumps({"name": args.name, **asdict(calibration), "hop": asdict(hop)}, indent=1))
    else:
        print(devices_yaml(calibration, hop, args.name))
    return 0
