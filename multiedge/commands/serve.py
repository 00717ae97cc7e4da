"""`multiedge serve`: host stages of a plan behind the Open Inference Protocol."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path

from multiedge.backends.heap import memory_returned
from multiedge.backends.stages import load_backend, open_stage
from multiedge.errors import ConfigError, describe, did_you_mean, require_port
from multiedge.fleet import Device
from multiedge.onnx_io import read_runnable
from multiedge.plan import Manifest, Part
from multiedge.quantity import BYTES, parse
from multiedge.serving.server import LARGEST_MESSAGE_BYTES, StageServer
from multiedge.serving.signature import Signature


def run(args: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM, which both end it with status 0; the address is printed once the stages are loaded."""
    require_port("--port", args.port)
    most_bytes = message_bytes(args.max_message)
    manifest = read_runnable(args.plan_dir)
    backend, device = load_backend(args.backend), Device("server", threads=args.threads, backend=args.backend)
    parts = {f"stage_{part.stage + 1}": part for part in chosen(manifest, args.device)}
    with memory_returned():
        sessions = {name: open_stage(backend, Path(manifest.directory), part, device) for name, part in parts.items()}
    identities = {name: manifest.identity(part.stage) for name, part in parts.items()}
    signatures = {name: Signature.of_part(Path(manifest.directory) / part.file, sessions[name]) for name, part in parts.items()}
    server = StageServer(
        sessions,
        identities,
        host=args.host,
        port=args.port,
        signatures=signatures,
        max_message_bytes=most_bytes,
    )
    # The signal may come as soon as the first line is printed.
    with server, contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        for name, part in parts.items():
            print(f"{server.address} {name} {part.file} (planned for '{part.device}')", flush=True)
        print("stop with Ctrl-C", file=sys.stderr, flush=True)
        server.wait()
    if server.is_computing:  # its thread would keep the process until the computation ends
        sys.stdout.flush()
        os._exit(0)
    return 0


def message_bytes(text: str) -> int:
    """Bytes of a --max-message; ConfigError for one that is no size, or that gRPC cannot limit to."""
    try:
        nbytes = int(parse(text, BYTES))
    except ValueError as error:
        raise ConfigError(f"--max-message: {error}") from None
    if not 0 < nbytes <= LARGEST_MESSAGE_BYTES:
        raise ConfigError(f"--max-message: expected more than 0 and less than 2GiB, got {describe(text)}")
    return nbytes


def chosen(manifest: Manifest, device: str | None) -> list[Part]:
    """The parts of `device`, or all; ConfigError if it has none."""
    parts = [part for part in manifest.parts if device in (None, *part.devices)]
    if not parts:
        names = {name for part in manifest.parts for name in part.devices}
        raise ConfigError(f"{manifest.directory}: no stage is on device '{device}'{did_you_mean(str(device), names)}")
    return parts
