"""What `multiedge bench` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--suite", metavar="VERSION", help="version of the public suite (default: the newest)")
    parser.add_argument("--models", metavar="A,B", help="some models of the suite, or ONNX files; default: all of the suite")
    parser.add_argument("--fleets", metavar="A,B", help="some fleets of the suite, or devices.yaml files; default: all")
    parser.add_argument(
        "--strategies", metavar="A,B:KEY=VALUE", help="strategies with options, plug-ins too; default: those of the suite"
    )
    parser.add_argument("--seeds", metavar="0-4", help="seeds of strategies that draw at random; default: those of the suite")
    parser.add_argument("--fresh", action="store_true", help="with -o: run every row again, and keep none that are there")
    _options.add_json(parser, "rows and summary")
    _options.add_output(parser, "DIR", "write results.json, results.csv, table.tex, figure.svg and report.html there")
