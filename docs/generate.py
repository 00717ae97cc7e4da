"""Writes the pages that are made from the project itself: docs/commands.md from the command line's own parsers,
docs/metrics.md from the registry of metrics, docs/protocol.md from the table of what servers are asked, docs/benchmarks.md from
the records in benchmarks/results/, the table of hardware in docs/backends.md from multiedge.backends.hardware, and
docs/sequences.md with its pictures from docs/sequences.json.

python docs/generate.py            # write them
python docs/generate.py --check    # exit 1 if one is out of date
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from unittest.mock import patch

# The packages `core`, `benchmarks` and `docs` are importable only from the root of a checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import page
from core.cmd.benchmarking import build_parser as build_ianvs_parser
from docs import diagrams
from multiedge.backends.hardware import HARDWARE, Start
from multiedge.cli import COMMANDS, build_parser
from multiedge.metrics import METRICS, describe_metric
from multiedge.metrics.table import ANSWER_METRICS
from multiedge.serving.inference.operations import OPERATIONS, Operation

FOLDER = Path(__file__).parent
HEAD = """# Commands

Made from the program by `python docs/generate.py`; every command prints the same with `--help`.
"""
PROTOCOL_HEAD = """# The Open Inference Protocol: every method and route

Made from the program by `python docs/generate.py`: both front ends are built from this table, and a test asks all of it with
Triton's four Python clients (gRPC and HTTP, each also with asyncio). [Serving](serving.md) says how it is answered. Routes
below `/v2/models/{{model}}` are there below `/v2/models/{{model}}/versions/{{version}}`, too.

## Answered

{answered}

## Refused with UNIMPLEMENTED, over HTTP with 501

{refused}

## Other clients

MLServer's and KServe's clients use the same methods and routes, and MLServer's service
`inference.model_repository.ModelRepositoryService` is there, too. Streams are in the form of Triton
(`ModelStreamInferResponse`); MLServer's own stub of `ModelStreamInfer` expects another message.
"""
METRICS_HEAD = """# Metrics

Made from the program by `python docs/generate.py`. [What is measured, and how](measuring.md) has the exact definitions. Unit 1
is a share or a ratio.

## From the records of a run

{run}

## From the answers

{answers}
"""


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: inner for action in actions for name, inner in action.choices.items()}


def section(title: str, parser: argparse.ArgumentParser) -> str:
    return f"\n## {title}\n\n```text\n{parser.format_help().strip()}\n```\n"


def sections(title: str, parser: argparse.ArgumentParser) -> list[str]:
    """That of the command, then those of its actions."""
    inner = [section(f"{title} {name}", action) for name, action in subparsers(parser).items()]
    return [section(title, parser), *inner]


def commands() -> str:
    """The help of every command, 100 columns wide."""
    with patch.dict(os.environ, COLUMNS="100", NO_COLOR="1"):
        parser = build_parser(None)
        parts = [section("multiedge", parser)]
        for name in COMMANDS:
            parts += sections(f"multiedge {name}", subparsers(parser)[name])
        parts.append(section("ianvs", build_ianvs_parser()))
    return HEAD + "".join(parts)


def protocol() -> str:
    """The tables of all that clients can ask of a server: what is answered, and what is refused by its reason."""
    reasons = dict.fromkeys(operation.refusal for operation in OPERATIONS if operation.refusal)
    refused = [f"{reason[0].upper()}{reason[1:]}:\n\n{_operations(reason)}" for reason in reasons]
    return PROTOCOL_HEAD.format(answered=_operations(""), refused="\n\n".join(refused))


def _operations(refusal: str) -> str:
    rows = [_operation_row(operation) for operation in OPERATIONS if operation.refusal == refusal]
    return "\n".join(["| gRPC, and the method of `tritonclient` | HTTP |", "|---|---|", *rows])


def _operation_row(operation: Operation) -> str:
    routes = "<br>".join(f"`{route}`" for route in operation.routes if "/versions/" not in route)
    names = [operation.name] * operation.has_rpc + [operation.method] * bool(operation.method)
    return f"| {'<br>'.join(f'`{name}`' for name in names)} | {routes} |"


def metrics() -> str:
    """Tables of all metrics of this project, in their order; those of other packages are left out."""
    own = [name for name in METRICS.names() if METRICS.is_own(name)]
    return METRICS_HEAD.format(run=_metric_table(own), answers=_metric_table(ANSWER_METRICS))


def _metric_table(names: Iterable[str]) -> str:
    known = [(name, describe_metric(name)) for name in names]
    rows = [f"| `{name}` | {metric.unit} | {metric.direction} | {metric.description} |" for name, metric in known]
    return "\n".join(["| metric | unit | better | definition |", "|---|---|---|---|", *rows])


def backends() -> str:
    """The page about runtimes with the table of hardware."""
    page = Path(__file__).with_name("backends.md").read_text(encoding="utf-8")
    return _filled(page, {"hardware": hardware_table()})


def hardware_table() -> str:
    """Where the backend `auto` starts on each kind of hardware."""
    rows = [f"| {each.name} | `{each.type}` | {'; '.join(map(_start, each.starts))} |" for each in HARDWARE]
    return "\n".join(["| hardware | `type` | runtimes, the first one that is installed is used |", "|---|---|---|", *rows])


def _start(start: Start) -> str:
    return f"`{start.backend}` {start.precision}, {start.evidence.value}"


def _filled(text: str, tables: Mapping[str, str]) -> str:
    """A page that people write, with each table between its two comments, <!-- NAME --> and <!-- end of NAME -->."""
    for name, table in tables.items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"\n<!-- end of {name} -->")
        if not (begin and end):
            raise ValueError(f"expected a place for the table '{name}' in the page")
        text = f"{before}{begin}{table}{end}{after}"
    return text


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands,
    "metrics.md": metrics,
    "protocol.md": protocol,
    "benchmarks.md": page.render,
    "backends.md": backends,
    "sequences.md": diagrams.page,
    "images/sequence-push.svg": diagrams.push,
    "images/sequence-pull.svg": diagrams.pull,
    "images/sequence-inference.svg": diagrams.inference,
}


def outdated(folder: Path) -> list[str]:
    """Names of the pages in the folder that differ from what the project says now."""
    return [name for name, render in PAGES.items() if _text(folder / name) != render()]


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    if parser.parse_args().check:
        old = outdated(FOLDER)
        if old:
            print(f"out of date: {', '.join(old)}; run: python docs/generate.py", file=sys.stderr)
        return 1 if old else 0
    for name, render in PAGES.items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
