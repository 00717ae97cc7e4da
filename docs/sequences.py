"""Records what hub, nodes and a caller send each other in a real deployment and in an inference.

python docs/sequences.py MODEL.onnx     # records docs/sequences.json
python docs/generate.py                 # draws it: docs/sequences.md and its pictures
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path

# The package `docs` is importable only from the root of a checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs.diagrams import RECORD, Sequences
from docs.exchanges import Step, deployment_steps, inference_steps
from multiedge.cli import main as multiedge
from multiedge.executors import open_pipeline
from multiedge.network.client import HubClient
from multiedge.network.identity import NODE, Identity
from multiedge.onnx_io import read_runnable
from multiedge.onnx_io.items import random_items
from multiedge.serving.hub.authority import CLIENT_FOLDER, Authority
from multiedge.serving.hub.exchange import Exchange
from multiedge.serving.hub.server import HubOptions, HubServer
from multiedge.serving.node.agent import Agent, NodeOptions
from multiedge.serving.node.limits import Limits

NAMES = ("node-1", "node-2")
MEASURED_S = 60.0
"""How long nodes may take until they have measured themselves and each other."""
ITEMS = 5
CACHE_BYTES, PROBE_BYTES = 1 << 30, 1 << 20


@contextmanager
def fleet(folder: Path, exchanges: list[Exchange], *, pulls: bool) -> Iterator[str]:
    """The address of a hub with two nodes that have measured everything; all that it exchanges is added to the list."""
    authority = Authority.create(folder / "hub")
    identities = {name: authority.issue(folder / name / "identity", f"{NODE}{name}") for name in NAMES}
    with ExitStack() as stack:
        hub = stack.enter_context(HubServer(HubOptions(folder / "hub", port=0, pulls=pulls), exchanges.append))
        for name, identity in identities.items():
            limits = Limits.of(1 << 30, 1, 1.0)
            options = NodeOptions(name, hub.address, folder / name, identity, limits, "127.0.0.1", 0, CACHE_BYTES, PROBE_BYTES)
            agent = stack.enter_context(closing(Agent(options)))
            agent.start()
        with HubClient(hub.address, Identity(folder / "hub" / CLIENT_FOLDER)) as client:
            until_s = time.monotonic() + MEASURED_S
            while sum(bool(state.flops_per_s and state.links) for state in client.nodes()) < len(NAMES):
                if time.monotonic() > until_s:
                    raise SystemExit("the nodes did not measure themselves in time")
                time.sleep(0.2)
        yield hub.address


def record(model: str, folder: Path, *, pulls: bool) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps of a deployment, by push or by pull of states, and those of an item on its nodes."""
    exchanges: list[Exchange] = []
    identity = str(folder / "hub" / CLIENT_FOLDER)
    with fleet(folder, exchanges, pulls=pulls) as hub:
        began_s = time.time()
        if multiedge(["deploy", model, "--hub", hub, "--identity", identity, "-o", str(folder / "parts")]):
            raise SystemExit("the deployment failed")
        deployed = deployment_steps(each for each in exchanges if each.start_s >= began_s)
        with HubClient(hub, Identity(Path(identity))) as client:
            nodes = client.fleet()
        manifest = read_runnable(folder / "parts")
        # One item after another, so that none waits for others.
        with open_pipeline(manifest, nodes, "fleet", hub=hub, identity=identity, depth=1) as pipeline:
            _, measured = pipeline.map(random_items(manifest, ITEMS))
    return deployed, inference_steps(each for each in measured.events if each.item == ITEMS - 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an ONNX file that two nodes can share")
    model = parser.parse_args().model
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        push, inference = record(model, folder / "push", pulls=False)
        pull, _ = record(model, folder / "pull", pulls=True)
    sequences = Sequences(Path(model).stem, push, pull, inference)
    RECORD.write_text(json.dumps(asdict(sequences), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
