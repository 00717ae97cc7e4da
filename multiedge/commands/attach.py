"""multiedge attach: put the paradigm into a checkout of KubeEdge Ianvs, or take it out."""

from __future__ import annotations

import argparse
import json

from multiedge.commands import _options
from multiedge.ianvs.attach import PARADIGM, Attachment, attach, detach, find
from multiedge.ianvs.host import host_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkout", metavar="PATH_TO_IANVS", help="folder of the checkout, the one that holds core/")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--detach", action="store_true", help="restore what stood there before")
    action.add_argument("--status", action="store_true", help="only show what is there")
    _options.add_json(parser, "the outcome")


def run(args: argparse.Namespace) -> int:
    """Both ways are safe to repeat."""
    changed = False
    if args.detach:
        changed = detach(args.checkout)
    elif not args.status:
        changed = attach(args.checkout, host_folder())
    attached = find(args.checkout)
    print(_as_json(attached, changed) if args.json else _as_words(args.checkout, attached, changed))
    return 0


def _as_json(attached: Attachment | None, changed: bool) -> str:
    state = None if attached is None else {"version": attached.version, "edited": list(attached.edited)}
    return json.dumps({"changed": changed, "attached": state})


def _as_words(checkout: str, attached: Attachment | None, changed: bool) -> str:
    if attached is None:
        return f"{checkout}: Ianvs's own paradigm " + ("is back" if changed else "is in place, nothing is attached")
    edited = f"; edited since: {', '.join(attached.edited)}" if attached.edited else ""
    when = "now" if changed else "already"
    return f"{checkout}: the paradigm of multi-edge-bench {attached.version} is {when} in {PARADIGM}{edited}"
