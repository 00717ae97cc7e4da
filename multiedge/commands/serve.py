"""`multiedge serve`: host stages of a plan behind the Open Inference Protocol."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from functools import partial
from pathlib import Path

from multiedge.backends.contract import Session
from multiedge.backends.heap import memory_returned
from multiedge.backends.stages import open_on, require_backends, resolved
from multiedge.commands._serving import HTTP, message_bytes, read_address
from multiedge.errors import ConfigError, did_you_mean, require_port
from multiedge.fleet import Device, Fleet
from multiedge.network.identity import find_identity
from multiedge.onnx_io import read_runnable
from multiedge.plan import Manifest, Part
from multiedge.serving.server import StageServer
from multiedge.serving.signature import Signature


def run(args: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM, which both end it with status 0; the address is printed once the stages are loaded."""
    require_port("--port", args.port)
    most_bytes = message_bytes(args.max_message)
    identity = find_identity(args.identity) if args.identity else None
    http = read_address(args.serve_http, HTTP, identity)
    manifest = read_runnable(args.plan_dir)
    device = Device("server", threads=args.threads, backend=args.backend, precision=args.precision or "")
    require_backends(Fleet((device,), name="--backend"))
    parts = {f"stage_{part.stage + 1}": part for part in chosen(manifest, args.device)}
    openers = {name: partial(_open, device, Path(manifest.directory), part) for name, part in parts.items()}
    sessions = {name: opener() for name, opener in openers.items()}
    identities = {name: manifest.identity(part.stage) for name, part in parts.items()}
    signatures = {name: Signature.of_part(Path(manifest.directory) / part.file, sessions[name]) for name, part in parts.items()}
    server = StageServer(
        sessions,
        identities,
        host=args.host,
        port=args.port,
        http=http,
        identity=identity,
        signatures=signatures,
        openers=openers,
        platform=platform_of(resolved(device, manifest.part_files[0]).backend, next(iter(parts.values()))),
        max_message_bytes=most_bytes,
    )
    # The signal may come as soon as the first line is printed.
    with server, contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        for name, part in parts.items():
            print(f"{server.address} {name} {part.file} (planned for '{part.device}')", flush=True)
        if server.http_address:
            print(f"{server.http_address} HTTP", flush=True)
        print("stop with Ctrl-C", file=sys.stderr, flush=True)
        server.wait()
    if server.is_computing:  # its thread would keep the process until the computation ends
        sys.stdout.flush()
        os._exit(0)
    return 0


def _open(device: Device, folder: Path, part: Part) -> Session:
    """Opens a stage, at the start and when a client loads it again."""
    with memory_returned():
        return open_on(device, {}, folder, part).session


def platform_of(backend: str, part: Part) -> str:
    """The platform of a part as KServe and Triton write it: the runtime and the kind of file, such as 'onnxruntime_onnx'."""
    return f"{backend}_{Path(part.file).suffix.lstrip('.')}"


def chosen(manifest: Manifest, device: str | None) -> list[Part]:
    """The parts of `device`, or all; ConfigError if it has none."""
    parts = [part for part in manifest.parts if device in (None, *part.devices)]
    if not parts:
        names = {name for part in manifest.parts for name in part.devices}
        raise ConfigError(f"{manifest.directory}: no stage is on device '{device}'{did_you_mean(str(device), names)}")
    return parts
