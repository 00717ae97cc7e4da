"""The command `multiedge`: one line of help per subcommand, one line of error for bad input.

Each subcommand is a module of `multiedge.commands.arguments` with `add_arguments(parser)`, and one of `multiedge.commands` with
`run(args) -> exit status`. Both are imported only when they are used, so that help needs no library.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

from multiedge import __version__
from multiedge.errors import MultiedgeError

COMMANDS = {
    "inspect": "size, MACs, operators and cheapest cuts of a model",
    "split": "cut a model into parts",
    "check": "prove that the parts equal the whole",
    "convert": "models and parts for another runtime, proven",
    "profile": "what each node and each cut costs",
    "calibrate": "measure this machine for devices.yaml",
    "plan": "decide which nodes run on which device",
    "verify": "audit a plan: its figures, its memory and its bound",
    "compare": "all strategies side by side",
    "bench": "strategies on a public suite, for papers",
    "simulate": "a plan on a changing fleet, without running it",
    "optimise": "what to run each step of a workflow with",
    "run": "run a plan as a pipeline and measure it",
    "generate": "text from a language model, token by token",
    "serve": "host stages of a plan, or a model, for others",
    "load": "requests to a server, sent when they are due",
    "hub": "registry, pool and deployments of a fleet",
    "node": "make this device a node of a fleet",
    "deploy": "plan a model for the nodes of a hub, and bring it there",
    "fleet": "nodes, links and deployments of a hub",
    "controller": "services on Kubernetes: a raw model becomes a service",
    "sandbox": "a hub and nodes on this machine, to try a fleet",
    "report": "results as a page, a table or a trace",
    "attach": "put the paradigm into a checkout of KubeEdge Ianvs",
}
"""Subcommands in the order in which a newcomer needs them."""

INTERRUPTED, TERMINATED = 130, 143
OBJECTS_BEFORE_COLLECTION = 50_000
"""Objects that the command makes before the garbage collector looks for cycles: imports make most of them, and all are kept."""


class _CommandParser(argparse.ArgumentParser):
    """The parser of a subcommand: words that it does not know end with its own usage, not with that of all commands."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown here: {' '.join(unknown)}")
        return known, unknown


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The argument parser; only `command`'s own options are filled in, so that help starts fast. None fills in all."""
    parser = argparse.ArgumentParser(
        prog="multiedge",
        description="Split any ONNX model over heterogeneous devices, run it as a pipeline, measure it honestly.",
    )
    parser.add_argument("-v", "--version", action="version", version=f"multiedge {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_CommandParser)
    for name, help_line in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=help_line, description=f"{help_line[0].upper()}{help_line[1:]}.")
        if command in (name, None):
            import_module(f"multiedge.commands.arguments.{name}").add_arguments(subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one line on stderr, 2 wrong usage, 130 interrupted, 143 terminated."""
    if argv is None:
        _collect_less()
    with _ended_by_sigterm():
        return _main(argv)


def _collect_less() -> None:
    """The garbage collector takes a tenth of a short command's time; of what is left at the end it looks at nothing."""
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
    atexit.register(gc.freeze)


def _main(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if word in COMMANDS), "")
    try:
        parser = build_parser(command)
        args = parser.parse_args(words)
        if not args.command:
            parser.print_help(sys.stderr)
            return 2
        return int(import_module(f"multiedge.commands.{args.command}").run(args))
    except MultiedgeError as error:
        for line in error.lines:
            print(f"multiedge {command}: error: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"multiedge {command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has ended and needs no more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the command like an error, so that temporary folders, network namespaces and workers are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # another one must not end what cleans up
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
