#!/usr/bin/env python3
"""Makes the inputs of the benchmark of workflows: small models that are trained here, real ones, and items with their right
answers. Each workflow gets a folder of its own. Finished steps are kept.

python examples/workflows/multiedge_inference_bench/prepare.py              # all of them, at most three minutes
... prepare.py --workflow video                                             # one of them
... prepare.py --model cascade/small=FILE.onnx                              # your own model in the place of one
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

from workflow_bench import BENCH
from workflow_bench.folder import NOTE, Note, WorkflowFolder, is_made, read_note, write_note
from workflow_bench.jobs import write_jobs
from workflow_bench.table import MODELS, NAMES, maker, why_not

from multiedge.commands._script import run_script, say
from multiedge.commands._terminal import share_bar
from multiedge.errors import ConfigError, did_you_mean

CACHE = Path(".cache/workflows")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--cache", type=Path, default=CACHE, help="where the folders go (default: %(default)s)")
    made.add_argument("--workflow", action="append", choices=NAMES, help="only this one (default: all)")
    made.add_argument("--model", action="append", default=[], metavar="WORKFLOW/NAME=FILE", help="an ONNX file for a model")
    made.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of all that is drawn and trained (default: %(default)s)"
    )
    made.add_argument("--again", action="store_true", help="make again what is there")
    return made


def prepare(args: argparse.Namespace) -> None:
    """Prepares what the options name and lists it on stderr."""
    given = dict(_assignment(text) for text in args.model)
    for name in args.workflow or NAMES:
        if reason := why_not(name):
            say(f"no workflow {name}: {reason}")
            continue
        own = {model: path for (workflow, model), path in given.items() if workflow == name}
        say(describe(name, prepare_one(name, args.cache / name, own, args.seed, args.again)))
    made = [name for name in NAMES if (args.cache / name / NOTE).is_file()]
    say(f"{write_jobs(args.cache, made)}: the items of {', '.join(made) or 'no workflow'}")


def prepare_one(name: str, folder: Path, given: dict[str, Path], seed: int, again: bool) -> Note:
    """Makes the folder of a workflow, unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted((BENCH / name).iterdir()):  # documents and transforms, which are quickly copied, may have changed
        if source.is_file():
            shutil.copyfile(source, folder / source.name)
    if again or not is_made(folder, given, seed):
        (folder / NOTE).unlink(missing_ok=True)
        make, begin_s = maker(name), time.monotonic()
        with share_bar(f"making {name}") as progress:
            note = make(WorkflowFolder(folder, given, seed, progress))
        write_note(folder, replace(note, seconds=time.monotonic() - begin_s), given, seed)
    return read_note(folder)


def describe(name: str, note: Note) -> str:
    """A workflow's items, then a line about each of its models."""
    lines = [f"{name}: {note.count} {note.items}, made in {note.seconds:.0f} s"]
    return "\n".join([*lines, *(f"  {model}: {what}" for model, what in note.models.items())])


def _assignment(text: str) -> tuple[tuple[str, str], Path]:
    place, equals, path = text.partition("=")
    if not equals:
        raise ConfigError(f"--model: expected WORKFLOW/NAME=FILE, got {text!r}")
    known = [f"{name}/{each}" for name, models in MODELS.items() for each in models]
    if place not in known:
        raise ConfigError(f"--model: no model {place!r}{did_you_mean(place, known)}")
    workflow, _, model = place.partition("/")
    return (workflow, model), Path(path)


if __name__ == "__main__":
    sys.exit(run_script(parser(), prepare))
