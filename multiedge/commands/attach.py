"""multiedge attach: put the paradigm into KubeEdge Ianvs, or take it out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from multiedge.errors import ConfigError
from multiedge.ianvs.attach import KNOWN_LIMITS, PARADIGM, Attachment, attach, detach, find
from multiedge.ianvs.command import IanvsCommand, find_command, remark, require_effect
from multiedge.ianvs.host import host_folder


def run(args: argparse.Namespace) -> int:
    """Both ways are safe to repeat."""
    command = find_command()
    root = _root(args.checkout, command)
    changed = False
    if args.detach:
        changed = detach(root)
    elif not args.status:
        find(root)
        require_effect(command, root)
        changed = attach(root, host_folder())
    attached = find(root)
    print(_as_json(attached, changed, command) if args.json else _as_words(root, attached, changed, command))
    return 0


def _root(checkout: str | None, command: IanvsCommand | None) -> Path:
    if checkout is not None:
        return Path(checkout)
    if command is None or command.root is None or command.is_own_host:
        raise ConfigError("no command ianvs of KubeEdge Ianvs is installed; give the folder of its checkout")
    return command.root


def _as_json(attached: Attachment | None, changed: bool, command: IanvsCommand | None) -> str:
    state = None
    if attached is not None:
        state = {"version": attached.version, "edited": list(attached.edited), "restored": list(attached.restored)}
    imported = None if command is None or command.root is None else str(command.root)
    is_own = command is not None and command.is_own_host
    runs = {"ianvs": None if command is None else str(command.path), "core": imported, "own_host": is_own}
    return json.dumps({"changed": changed, "attached": state, "command": runs})


def _as_words(root: Path, attached: Attachment | None, changed: bool, command: IanvsCommand | None) -> str:
    limits = f"\n{KNOWN_LIMITS}" if attached else ""
    return f"{root}: {_state(attached, changed)}\n{remark(command, root)}{limits}"


def _state(attached: Attachment | None, changed: bool) -> str:
    if attached is None:
        return "Ianvs's own paradigm " + ("is back" if changed else "is in place, nothing is attached")
    if attached.restored:
        names = ", ".join(attached.restored)
        return f"the paradigm was attached, but git or an installation has since restored {names}; run multiedge attach again"
    edited = f"; edited since: {', '.join(attached.edited)}" if attached.edited else ""
    when = "now" if changed else "already"
    return f"the paradigm of multi-edge-bench {attached.version} is {when} in {PARADIGM}{edited}"
