"""Runs targets under random faults, or one target under a schedule that was printed; exits with 1 if anything went wrong."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.chaos import driver
from tests.chaos.report import joined
from tests.chaos.schedule import GAP_S, Kind, Schedule
from tests.chaos.targets import TARGETS, lives

LONGEST_SILENCE_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of all targets together (default 30)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="may be repeated; default: all")
    kinds = [kind.value for kind in Kind]
    parser.add_argument("--kind", action="append", choices=kinds, help="may be repeated; default: all that apply to the target")
    parser.add_argument("--gap", type=float, default=GAP_S, help=f"mean seconds between two faults (default {GAP_S})")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a printed schedule, for one --target")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the reports as JSON")
    args = parser.parse_args()
    names, reports, status = args.target or list(TARGETS), [], 0
    for name in names:
        target, done = TARGETS[name], []
        if args.replay:
            schedule = Schedule.parse(args.replay.read_text())
            runs = iter([(schedule, driver.run(target, schedule))])
        else:
            kinds = target.kinds & {Kind(each) for each in args.kind} if args.kind else target.kinds
            runs = lives(target, kinds, args.seed, args.seconds / len(names), args.gap)
        for schedule, report in runs:
            done.append(report)
            for problem in report.problems(LONGEST_SILENCE_S):
                status = 1
                print(f"{name}: {problem}\n{schedule}", flush=True)
        reports.append(joined(name, done))
        print(reports[-1], flush=True)
    if args.output:
        args.output.write_text(json.dumps({"seed": args.seed, "reports": [vars(each) for each in reports]}, indent=1) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
