"""Writes docs/commands.md from the command line's own parsers, so that the page cannot disagree with the program.

python docs/generate.py            # write it
python docs/generate.py --check    # exit 1 if it is out of date
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the host's package `core` lies in a checkout

from core.cmd.benchmarking import build_parser as build_ianvs_parser
from multiedge.cli import COMMANDS, build_parser

PAGE = Path(__file__).with_name("commands.md")
HEAD = """# Commands

Made from the program by `python docs/generate.py`; every command prints the same with `--help`.
"""


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    action = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def section(title: str, parser: argparse.ArgumentParser) -> str:
    return f"\n## {title}\n\n```text\n{parser.format_help().strip()}\n```\n"


def render() -> str:
    os.environ["COLUMNS"] = "100"
    os.environ["NO_COLOR"] = "1"
    parser = build_parser(None)
    parts = [section("multiedge", parser)]
    parts += [section(f"multiedge {name}", subparsers(parser)[name]) for name in COMMANDS]
    parts.append(section("ianvs", build_ianvs_parser()))
    return HEAD + "".join(parts)


def main() -> int:
    text = render()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            print(f"{PAGE.name} is out of date; run: python docs/generate.py", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
