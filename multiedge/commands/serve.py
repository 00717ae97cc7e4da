"""`multiedge serve`: host stages of a plan, or a whole model, behind the Open Inference Protocol."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from multiedge.backends.contract import Session
from multiedge.backends.hardware import require_type
from multiedge.backends.heap import memory_returned
from multiedge.backends.stages import (
    BackendOptions,
    device_backend,
    open_on,
    open_part,
    require_backend_options,
    require_backends,
    resolved,
)
from multiedge.commands import _options
from multiedge.commands._serving import HTTP, message_bytes, read_address
from multiedge.errors import ConfigError, ModelError, did_you_mean, require_port
from multiedge.fleet import AUTO_BACKEND, CPU, Device, Fleet
from multiedge.network.identity import find_identity
from multiedge.onnx_io import read_runnable
from multiedge.plan import Manifest, Part
from multiedge.serving.server import StageServer
from multiedge.serving.signature import Signature

if TYPE_CHECKING:
    from multiedge.serving.text.served import ServedText


@dataclass(frozen=True)
class Served:
    """What is served under a name: what its line says of it, its file, what opens it, and its identity, '' for none."""

    name: str
    about: str
    path: Path
    open: Callable[[], Session]
    identity: str = ""


def run(args: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM, which both end it with status 0; the address is printed once the stages are loaded."""
    require_port("--port", args.port)
    most_bytes = message_bytes(args.max_message)
    identity = find_identity(args.identity) if args.identity else None
    http = read_address(args.serve_http, HTTP, identity)
    device = this_device(args)
    require_backends(Fleet((device,), name="--backend"))
    options = _backend_options(args, Fleet((device,), name="--backend"))
    is_model = Path(args.plan).is_file()
    served = _model(args, device, options) if is_model else _stages(args, device, options)
    require_provider(device, options, served[0].path)
    sessions = {each.name: each.open() for each in served}
    texts = language_models(served, sessions) if is_model and http else {}
    signature_of = Signature.of_model if is_model else Signature.of_part
    server = StageServer(
        sessions,
        {each.name: each.identity for each in served},
        host=args.host,
        port=args.port,
        http=http,
        identity=identity,
        signatures={each.name: signature_of(each.path, sessions[each.name]) for each in served},
        openers={each.name: each.open for each in served if each.name not in texts},  # texts use the session, too
        platform=platform_of(resolved(device, served[0].path).backend, served[0].path),
        max_message_bytes=most_bytes,
        texts=texts,
    )
    # The signal may come as soon as the first line is printed.
    with server, contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        for each in served:
            print(f"{server.address} {each.name} {each.about}", flush=True)
        if server.http_address:
            print(f"{server.http_address} HTTP", flush=True)
        for name in texts:
            print(f"{server.http_address} /v1/completions and /v1/chat/completions for model '{name}'", flush=True)
        print("stop with Ctrl-C", file=sys.stderr, flush=True)
        server.wait()
    if server.is_computing:  # its thread would keep the process until the computation ends
        sys.stdout.flush()
        os._exit(0)
    return 0


def this_device(args: argparse.Namespace) -> Device:
    """The device that the options describe."""
    if args.type:
        require_type("--type", args.type)
    return Device("server", args.type or CPU, threads=args.threads, backend=args.backend, precision=args.precision or "")


def require_provider(device: Device, options: BackendOptions, path: Path) -> None:
    """ConfigError for a GPU that the backend does not compute on here: the CPU would take its place."""
    used = resolved(device, path)
    provider = device_backend(used, options).provider(used)
    if device.gpu is not None and provider.processor == CPU:
        raise ConfigError(
            f"--type {device.type}: {used.backend} has none to use here, and would compute with {provider.name}; install its"
            " package for that GPU, or leave --type out"
        )


def _backend_options(args: argparse.Namespace, fleet: Fleet) -> BackendOptions:
    """The options of --option, by the backend that they are for."""
    own = _options.with_own({}, args.option)
    if own and args.backend == AUTO_BACKEND:
        raise ConfigError("--option: is of one backend; name it with --backend")
    options = {args.backend: own} if own else {}
    require_backend_options(fleet, options)
    return options


def _stages(args: argparse.Namespace, device: Device, options: BackendOptions) -> list[Served]:
    """The stages of a plan, or those of one of its devices."""
    manifest = read_runnable(args.plan)
    manifest.require_uncalibrated("a server does not use them; run the plan here, or plan without --max-accuracy-loss")
    folder = Path(manifest.directory)
    return [
        Served(
            f"stage_{part.stage + 1}",
            f"{part.file} (planned for '{part.device}')",
            folder / part.file,
            partial(_open_stage, device, options, folder, part),
            manifest.identity(part.stage),
        )
        for part in chosen(manifest, args.device)
    ]


def _model(args: argparse.Namespace, device: Device, options: BackendOptions) -> list[Served]:
    """A whole model, under the name of its file."""
    if args.device is not None:
        raise ConfigError(f"--device: names a device of a plan, and {args.plan} is a model; leave it out")
    path = _options.model_file(args.plan)
    return [Served(path.stem, path.name, path, partial(_open_model, device, options, path))]


def language_models(served: Sequence[Served], sessions: Mapping[str, Session]) -> dict[str, ServedText]:
    """Those that have a tokenizer beside them, by name; what is no language model is left out, with the reason on stderr."""
    from multiedge.decoding.opening import stepped
    from multiedge.decoding.text_model import TextModel
    from multiedge.decoding.tokenizer import TOKENIZER_FILE, read_tokenizer
    from multiedge.serving.text.served import CONCURRENCY, ServedText

    texts = {}
    for each in served:
        if (each.path.parent / TOKENIZER_FILE).is_file():
            try:
                model = stepped(sessions[each.name], each.path, sequences=CONCURRENCY)
            except ModelError as error:
                print(f"answers no clients of OpenAI's protocol: {error}", file=sys.stderr)
                continue
            texts[each.name] = ServedText.of(each.name, TextModel(model, read_tokenizer(each.path)))
    return texts


def _open_stage(device: Device, options: BackendOptions, folder: Path, part: Part) -> Session:
    """Opens a stage, at the start and when a client loads it again."""
    with memory_returned():
        return open_on(device, options, folder, part).session


def _open_model(device: Device, options: BackendOptions, path: Path) -> Session:
    """Opens a whole model, likewise."""
    with memory_returned():
        chosen = resolved(device, path)
        return open_part(device_backend(chosen, options), path, chosen)


def platform_of(backend: str, path: Path) -> str:
    """The platform of a file as KServe and Triton write it: the runtime and the kind of file, such as 'onnxruntime_onnx'."""
    return f"{backend}_{path.suffix.lstrip('.')}"


def chosen(manifest: Manifest, device: str | None) -> list[Part]:
    """The parts of `device`, or all; ConfigError if it has none."""
    parts = [part for part in manifest.parts if device in (None, *part.devices)]
    if not parts:
        names = {name for part in manifest.parts for name in part.devices}
        raise ConfigError(f"{manifest.directory}: no stage is on device '{device}'{did_you_mean(str(device), names)}")
    return parts
