"""`multiedge convert --auto`: every backend and precision timed on the very parts, and the fastest kept for `auto`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiedge.backends.choices import Choice, Choices, Outcome, path_of
from multiedge.backends.hardware import require_type
from multiedge.backends.measuring import measure_choices
from multiedge.commands._calibrating import keep_given
from multiedge.commands._terminal import Column, new_console, print_columns, print_line, share_bar
from multiedge.errors import ConfigError, ModelError, no_such
from multiedge.fleet import AUTO_BACKEND, CPU, PRECISIONS, REFERENCE_BACKEND, Device
from multiedge.formats.devices import read_fleet
from multiedge.onnx_io import read_manifest
from multiedge.onnx_io.items import npz_files

if TYPE_CHECKING:
    from rich.console import Console

WORDS = {Outcome.TIMED: "ready", Outcome.SLOWER: "slower", Outcome.FAILED: "failed", Outcome.INHERITED: "ready"}

MEANING = (
    f"error: largest difference from {REFERENCE_BACKEND} over the largest value; ms: median of one run, all timed in turn;"
    " slower: left out after a few rounds"
)


@dataclass(frozen=True)
class Task:
    """A part and the devices that run it with as many threads on the same kind of processor; `device` is the first."""

    part: Path
    device: Device
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """What was measured for a task, and what each device takes."""

    task: Task
    choices: Choices

    def best(self) -> Choice | None:
        return self.choices.best(self.task.device.precision)


def measured(args: argparse.Namespace) -> list[Chosen]:
    """Measures, prints, and returns what was measured for each part; one that nothing can run has no `best`."""
    for flag in ("option", "labels"):
        if vars(args)[flag]:
            raise ConfigError(f"--{flag}: is for one backend; give --backend in place of --auto, or leave it out")
    if args.precision not in (None, *PRECISIONS):
        raise ConfigError(f"--precision: expected {', '.join(PRECISIONS)}, got '{args.precision}'")
    if args.min_agreement is not None and not 0 < args.min_agreement <= 1:
        raise ConfigError(f"--min-agreement: expected a share above 0 and at most 1, got {args.min_agreement:g}")
    if args.type:
        if args.devices:
            raise ConfigError("--type: has no effect with --devices, which states the types; leave it out")
        require_type("--type", args.type)
    require_usable(args, takes_parts_inputs=True)
    model = Path(args.model)
    tasks = tasks_of(model, args.devices, args.type or CPU)
    # Parts take other inputs than the model: theirs are made of these, and are for what is calibrated.
    compared = [] if model.is_dir() else [path for place in args.inputs for path in npz_files(Path(place))]
    if args.inputs:
        keep_given(args)
    chosen = []
    with share_bar(f"choosing for {model.name}") as progress:
        for number, task in enumerate(tasks):

            def show_share(step: str, share: float, number: int = number, name: str = task.part.name) -> None:
                progress(f"{name}, {step}", (number + share) / len(tasks))

            choices = measure_choices(
                task.part,
                task.device,
                precision=args.precision or "",
                least_agreement=args.min_agreement,
                again=args.again,
                recalibrated=bool(args.inputs),
                inputs=compared,
                limit_s=args.limit,
                progress=show_share,
            )
            chosen.append(Chosen(task, choices))
    if args.json:
        print(json.dumps([_data(each) for each in chosen], indent=1))
    else:
        console = new_console()
        for each in chosen:
            show(each, console)
        print_line(console, MEANING)
    return chosen


def require_usable(args: argparse.Namespace, *, takes_parts_inputs: bool = False) -> None:
    """ConfigError for no time, and for inputs of a whole model where there are parts, unless those are made of them."""
    if args.limit <= 0:
        raise ConfigError(f"--limit: expected more than 0 seconds, got {args.limit:g}")
    if args.inputs and Path(args.model).is_dir() and not takes_parts_inputs:
        raise ConfigError("--inputs: are those of a whole model, and parts take others; give the model in place of the folder")


def tasks_of(model: Path, devices: str | None, device_type: str = CPU) -> list[Task]:
    """What is to be measured: each part with the devices that the plan gives it, or a model with all devices.

    Without a devices.yaml it is this machine, of that type. Devices that name their backend have no choice and are left out;
    ConfigError if all do.
    """
    if not model.exists():
        raise ModelError(no_such(model, "model file"))
    if devices is None:
        pairs = [(part, Device("this machine", device_type, backend=AUTO_BACKEND)) for part, _ in _parts(model)]
    else:
        fleet = read_fleet(devices)
        known = tuple(device.name for device in fleet.devices)
        pairs = [(part, fleet.device(name)) for part, names in _parts(model) for name in names or known]
    free = [(part, device) for part, device in pairs if device.backend == AUTO_BACKEND]
    if not free:
        raise ConfigError(f"{devices}: every device names its backend; write backend: {AUTO_BACKEND}, or leave it out")
    tasks: dict[tuple[object, ...], Task] = {}
    for part, device in free:
        key = (part, device.threads, device.gpu, device.precision)
        task = tasks.setdefault(key, Task(part, device))
        tasks[key] = replace(task, names=(*task.names, device.name))
    return list(tasks.values())


def _parts(model: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Each file with the devices that the plan gives it; a model has none."""
    if model.is_file():
        yield model, ()
        return
    for part in read_manifest(model).parts:
        yield model / part.file, part.devices


def show(chosen: Chosen, console: Console) -> None:
    """Prints a table of the candidates, the fastest first, then what is chosen and why others cannot run."""
    task, best = chosen.task, chosen.best()
    rows = sorted(chosen.choices.rows, key=lambda row: (row.outcome is Outcome.FAILED, row.seconds or 0.0))
    reference_s = chosen.choices.reference_s
    threads = f"{task.device.threads} thread{'s' if task.device.threads > 1 else ''}"
    title = f"{task.part.name} on {', '.join(task.names)} ({threads})"
    columns = [
        Column("backend", [f"{row.backend} {row.version}" for row in rows], is_number=False),
        Column("precision", [row.precision for row in rows], is_number=False),
        Column("state", [_state(row, best) for row in rows], is_number=False),
        Column("error", [_figure(row.error, ".2g") for row in rows], leaves=1),
        Column("agreement", [_figure(row.agreement, ".1%") for row in rows], leaves=2),
        Column("ms", [_figure(row.seconds and 1e3 * row.seconds, ".4g") for row in rows]),
        Column("±", [_figure(row.spread_s and 1e3 * row.spread_s, ".2g") for row in rows], leaves=3),
        Column(f"of {REFERENCE_BACKEND}", [_ratio(row.seconds, reference_s) for row in rows]),
    ]
    print_columns(console, title, columns)
    for reason in _reasons(rows):
        print_line(console, reason, style="red")
    stated = f" with {task.device.precision}" if task.device.precision else ""
    text = f"chosen: {best.backend} {best.precision}" if best else f"nothing can run it{stated}"
    print_line(console, text, style=None if best else "red")


def _state(row: Choice, best: Choice | None) -> str:
    return "chosen" if row is best else "approximate" if row.is_approximate and row.seconds else WORDS[row.outcome]


def _reasons(rows: Sequence[Choice]) -> list[str]:
    return [f"{row.backend} {row.precision}: {row.reason}" for row in rows if row.reason]


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _ratio(seconds: float | None, reference_s: float | None) -> str:
    return "-" if seconds is None or not reference_s else f"{seconds / reference_s:.2f}"


def _data(chosen: Chosen) -> dict[str, Any]:
    task, best = chosen.task, chosen.best()
    return {
        "part": str(task.part),
        "devices": list(task.names),
        **asdict(chosen.choices),
        "chosen": asdict(best) if best else None,
        "kept": str(path_of(task.part, task.device)),
    }
