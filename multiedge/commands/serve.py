"""`multiedge serve`: host stages of a plan behind the Open Inference Protocol."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path

from multiedge.backends.stages import load_backend, open_stage
from multiedge.commands import _options
from multiedge.errors import ConfigError, did_you_mean
from multiedge.fleet import Device
from multiedge.onnx_io import read_runnable
from multiedge.plan import Manifest, Part
from multiedge.serving.server import LOOPBACK, StageServer

DEFAULT_PORT = 8081


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan_dir", metavar="PLAN_DIR", help="folder that `multiedge split` or `plan -o` wrote")
    parser.add_argument("--device", metavar="NAME", help="only the stages that the plan gives to this device (default: all)")
    parser.add_argument("--host", default=LOOPBACK, help=f"address to listen on (default: {LOOPBACK}, this machine only)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"port, 0 for a free one (default: {DEFAULT_PORT})")
    _options.add_backend(parser, "all stages")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each stage (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM, which both end it with status 0; the address is printed once the stages are loaded."""
    manifest = read_runnable(args.plan_dir)
    backend, device = load_backend(args.backend), Device("server", threads=args.threads, backend=args.backend)
    parts = {f"stage_{part.stage + 1}": part for part in chosen(manifest, args.device)}
    sessions = {name: open_stage(backend, Path(manifest.directory), part, device) for name, part in parts.items()}
    identities = {name: manifest.identity(part.stage) for name, part in parts.items()}
    # The signal may come as soon as the first line is printed.
    with StageServer(sessions, identities, host=args.host, port=args.port) as server, contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        for name, part in parts.items():
            print(f"{server.address} {name} {part.file} (planned for '{part.device}')", flush=True)
        print("stop with Ctrl-C", file=sys.stderr, flush=True)
        server.wait()
    return 0


def chosen(manifest: Manifest, device: str | None) -> list[Part]:
    """The parts of `device`, or all; ConfigError if it has none."""
    parts = [part for part in manifest.parts if device in (None, *part.devices)]
    if not parts:
        names = {name for part in manifest.parts for name in part.devices}
        raise ConfigError(f"{manifest.directory}: no stage is on device '{device}'{did_you_mean(str(device), names)}")
    return parts
