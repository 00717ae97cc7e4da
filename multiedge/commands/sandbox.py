"""`multiedge sandbox`: a hub and nodes on this machine, each in a network namespace of its own, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from multiedge.errors import PipelineError
from multiedge.files import temporary_folder
from multiedge.formats.devices import read_fleet
from multiedge.network.identity import ENVIRONMENT
from multiedge.serving.sandbox import Sandbox, sandbox_fleet

NODES = 4
LOOK_S = 0.5


def run(args: argparse.Namespace) -> int:
    """Runs until Ctrl-C, which ends it with status 0; the lines to type next are printed once all nodes are there."""
    fleet = read_fleet(args.devices) if args.devices else sandbox_fleet(NODES if args.nodes is None else args.nodes)
    with ExitStack() as stack:
        folder = Path(args.data).resolve() if args.data else stack.enter_context(temporary_folder("sandbox-"))
        sandbox = stack.enter_context(Sandbox(fleet, folder, progress=lambda line: print(line, file=sys.stderr, flush=True)))
        print("\n".join(next_lines(sandbox)), flush=True)
        print("stop with Ctrl-C, which ends hub and nodes", file=sys.stderr, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            watch(sandbox)
    return 0


def next_lines(sandbox: Sandbox) -> list[str]:
    """Commands for another terminal: what is there, a deployment, a run."""
    identity = shlex.quote(str(sandbox.identity.folder))
    return [
        f"export {ENVIRONMENT}={identity}",
        f"multiedge fleet --hub {sandbox.address}",
        f"multiedge deploy MODEL.onnx --hub {sandbox.address} -o parts",
        f"multiedge run parts --executor fleet --hub {sandbox.address} --random 100",
    ]


def watch(sandbox: Sandbox) -> None:
    """Does not return; a member that ends is stated once, since it may be what the user tries. PipelineError once all have."""
    told: set[str] = set()
    while True:
        for member in sandbox.members.values():
            if member.process.poll() is not None and member.name not in told:
                told.add(member.name)
                print(f"'{member.name}' ended with {member.process.returncode}: {member.last_words()}", file=sys.stderr)
        if len(told) == len(sandbox.members):
            raise PipelineError("hub and nodes have all ended")
        time.sleep(LOOK_S)
