"""`multiedge verify`: audit a plan with code of its own."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiedge.backends.stages import resolved_fleet
from multiedge.commands._terminal import Column, new_console, print_columns, print_line
from multiedge.errors import PlanError, require_least
from multiedge.formats.devices import read_fleet
from multiedge.formats.documents import read_json
from multiedge.formats.plan import PLAN, read_plan
from multiedge.formats.profile import load_profile
from multiedge.onnx_io.manifest import read_manifest, read_profile
from multiedge.plan import Plan
from multiedge.profile import Profile
from multiedge.verification.audit import Finding, Verdict, audit

if TYPE_CHECKING:
    from rich.console import Console

CONCLUSIONS = {
    Verdict.WRONG: "the plan is WRONG where the table says so",
    Verdict.OPEN: "every figure is confirmed; the bound is not: the checker proves less than the plan states",
    Verdict.CONFIRMED: "every statement of the plan is confirmed",
}
"""By the worst verdict, the worst first."""


def run(args: argparse.Namespace) -> int:
    """0 if nothing is wrong, otherwise 1."""
    require_least("--time-limit", args.time_limit, 0)
    fleet = read_fleet(args.devices)
    plan, profile = _read(Path(args.plan), args.profile)
    if plan.model_hash != profile.graph.model_hash:
        raise PlanError(f"{args.plan}: made for another model than the profile; give the profile of its model with --profile")
    # A plan with chosen precisions counts the memory of the runtimes that devices would have without it.
    planned = None if plan.accuracy else plan.runtimes
    findings = audit(plan, profile, resolved_fleet(fleet, profile.graph.path, planned), args.time_limit)
    verdicts = {finding.verdict for finding in findings}
    worst = next(verdict for verdict in CONCLUSIONS if verdict in verdicts)
    if args.json:
        print(json.dumps({"verdict": worst.value, "findings": [_data(finding) for finding in findings]}, indent=1))
    else:
        show(findings, CONCLUSIONS[worst], new_console())
    return 1 if worst is Verdict.WRONG else 0


def _read(path: Path, profile: str | None) -> tuple[Plan, Profile]:
    """The plan and its costs, those of --profile or those in the folder of the plan."""
    if path.is_dir():
        manifest = read_manifest(path)
        plan, known = manifest.plan, load_profile(profile) if profile else read_profile(manifest)
    else:
        plan, known = read_plan(read_json(path, PLAN)), load_profile(profile) if profile else None
    if plan is None:
        raise PlanError(f"{path}: holds parts without a plan; write it anew with: multiedge plan")
    if known is None:
        raise PlanError(f"{path}: holds no profile; give the one with which it was planned with --profile")
    return plan, known


def _data(finding: Finding) -> dict[str, Any]:
    return {
        "what": finding.what,
        "verdict": finding.verdict.value,
        "stated": _number(finding.stated),
        "computed": _number(finding.computed),
        "detail": finding.detail,
    }


def _number(value: float | None) -> float | None:
    """JSON knows no infinity."""
    return value if value is not None and math.isfinite(value) else None


def show(findings: Sequence[Finding], conclusion: str, console: Console) -> None:
    """Prints each statement with both figures, the details, then the conclusion."""
    columns = [
        Column("statement", [finding.what for finding in findings], is_number=False),
        Column("stated", [_text(finding.stated) for finding in findings]),
        Column("computed", [_text(finding.computed) for finding in findings]),
        Column("verdict", [finding.verdict.value for finding in findings], is_number=False),
    ]
    print_columns(console, "audit of the plan", columns)
    for finding in findings:
        if finding.detail:
            print_line(console, f"{finding.what}: {finding.detail}")
    print_line(console, conclusion)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"
