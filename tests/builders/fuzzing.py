"""Hostile files by mutation of good ones, and the loaders that have to read or refuse them."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multiedge.errors import MultiedgeError
from multiedge.fleet import Device, Fleet
from multiedge.formats.devices import read_fleet
from multiedge.formats.profile import load_profile, save_profile
from multiedge.formats.trace import read_trace
from multiedge.graph import Tensor
from multiedge.onnx_io import read_graph, read_manifest
from multiedge.onnx_io.npz import read_npz
from multiedge.report.results import load_results, save_results
from multiedge.run import profile_model, run_plan
from tests.builders.onnx_traps import TRAPS
from tests.builders.pipelines import WIDTH, small_plan

DEVICES = b"""
name: home
source: phone
devices:
  - {name: phone, type: cpu, memory: 512MB, speed: 0.5, threads: 2, power: {idle: 0.5W, busy: 3}}
  - {name: tablet, memory: 1GiB, flops: 20GFLOPS, bandwidth: 100Mbps, latency: 2ms, battery: 18Wh}
links:
  - {between: [phone, tablet], bandwidth: 12MB/s, latency: 5 ms, jitter: 1ms, loss: 0.01}
"""
TRACE = b"""
name: tunnel
events:
  - {at_s: 1, device: phone, event: leave}
  - {at_s: 2.5, device: phone, event: return}
  - {at_s: 3, link: [phone, tablet], bandwidth: 1Mbps, latency: 20ms}
  - {at_s: 4, device: tablet, event: battery, value: 200}
"""
FLEET = Fleet((Device("phone"), Device("tablet")))
INPUTS = {"x": Tensor("x", "float32", (1, WIDTH)), "n": Tensor("n", None, None)}

TOKENS = (
    *(b"null", b"-1", b"1e999", b"NaN", b"-Infinity", b"9" * 10_000, b"4611686018427387904", b"0x7f", b"true"),
    *(b"2024-13-45", b"[" * 3000, b"{" * 3000, b"[[1]]", b"{}", b'""', b'"\\ud800"', b"\x00", b"\x1b[31m", b"[/red]"),
    *(b"\xff\xfe", b"*a", b"&a ", b"\n", b"- ", b": ", b"<<: ", b"!!python/object:os.system ", b"../../x"),
    *(b"\x80" * 12, b"\xff" * 9 + b"\x01", b"\x7f" * 4),
)
"""What parsers of text and of protobuf have failed at before."""


@dataclass(frozen=True)
class Target:
    """A kind of file: good examples, and what reads it from a path."""

    examples: tuple[bytes, ...]
    file: str
    read: Callable[[Path], object]


def targets(folder: Path) -> dict[str, Target]:
    """Every kind of file that may come from elsewhere, with examples that are made in `folder`."""
    manifest, *_ = small_plan(folder)
    graph = read_graph(manifest.model)
    fleet = Fleet((Device("phone"), Device("tablet")))
    save_profile(profile_model(graph, fleet), folder / "profile.json")
    item = {"x": np.zeros((1, WIDTH), np.float32)}
    save_results(run_plan(manifest, None, [item] * 3, executor="inline")[1], folder / "results.json")
    plan = Path(manifest.directory)
    models = tuple(TRAPS[name]().SerializeToString() for name in sorted(TRAPS))
    models = tuple(model for model in models if len(model) < 100_000)
    return {
        "devices": Target((DEVICES,), "devices.yaml", read_fleet),
        "trace": Target((TRACE,), "trace.yaml", lambda path: read_trace(path, FLEET)),
        "profile": Target(((folder / "profile.json").read_bytes(),), "profile.json", load_profile),
        "results": Target(((folder / "results.json").read_bytes(),), "results.json", load_results),
        "plan": Target(((plan / "plan.json").read_bytes(),), "plan.json", lambda path: read_manifest(path.parent)),
        "npz": Target((_npz(np.savez), _npz(np.savez_compressed)), "item.npz", lambda path: read_npz(path, INPUTS)),
        "onnx": Target(models, "model.onnx", read_graph),
    }


def _npz(save: Callable[..., None]) -> bytes:
    buffer = io.BytesIO()
    save(buffer, x=np.zeros((1, WIDTH), np.float32), n=np.arange(5))
    return buffer.getvalue()


def mutated(example: bytes, generator: random.Random) -> bytes:
    """The example after one to four random changes."""
    data = bytearray(example)
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(data) + 1)
        size = min(generator.choice((1, 1, 4, 16, 200)), len(data) - at)
        change = generator.randrange(6)
        if change == 0:
            del data[at : at + size]
        elif change == 1:
            data[at : at + size] = generator.randbytes(size)
        elif change == 2:
            data[at:at] = data[at : at + size]
        elif change == 3 and at < len(data):
            data[at] ^= 1 << generator.randrange(8)
        elif change == 4 and generator.random() < 0.2:
            del data[at:]
        else:
            data[at : at + generator.choice((0, size))] = generator.choice(TOKENS)
    return bytes(data)


def refusal(target: Target, path: Path, data: bytes) -> str | None:
    """The error of this library that reading `data` raises; None if it is read. Every other error passes through."""
    path.write_bytes(data)
    try:
        target.read(path)
    except MultiedgeError as error:
        return str(error)
    return None
