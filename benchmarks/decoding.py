"""Decoders as pipelines: how full sequences keep the stages, and whether predicted times and memory are those of a run.

    python benchmarks/decoding.py [full] [predicted] [memory] [--json FILE]

- Full pipelines: n sequences, each with one step under way, on n equal stages, which wait for a given time and compute nothing,
  so that the processors of this machine suffice for all of them. The bound is one over the mean time of the slowest stage in
  the same steps; the first and last ones are left out.
- Predictions: a text alone, by the costs of steps that were timed at a few sizes: once before, and at the pace that the machine
  has in each turn, just before the text. A decoder of 13 million random parameters in both layouts, on devices at two fifths of
  the speed of this machine.
- Memory: of the same, planned for a context of 1,024 against VmHWM of the workers once each sequence has reached it. Nothing is
  emulated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import onnx

from benchmarks.page import Benchmark
from benchmarks.record import Figure, Measure, Record, Row, add_option
from benchmarks.tables import between, case, figure, spread, table
from multiedge.decoding.expected import Timed, with_step_costs
from multiedge.decoding.inputs import LOGITS, TOKENS, StepSignature
from multiedge.decoding.opening import OneByOne, model_of
from multiedge.decoding.stepped import SteppedModel
from multiedge.decoding.together import generate_together
from multiedge.executors import Pipeline, open_pipeline
from multiedge.executors.workers.options import Emulation, ProcessesOptions
from multiedge.files import write_text
from multiedge.fleet import DEFAULT_RUNTIME_BYTES, Device, Fleet
from multiedge.graph import Graph, Tensor
from multiedge.measurements import Measurements
from multiedge.onnx_io import read_graph, write_parts
from multiedge.onnx_io.reader import declared_graph
from multiedge.onnx_io.states import step_shapes
from multiedge.plan import CALLER, Manifest, Part, Plan, Transfer
from multiedge.planning.kept import with_sequences
from multiedge.profile import Profile
from multiedge.run import plan_model, profile_model
from multiedge.states import SEQUENCE, State
from multiedge.step_costs import StepSize
from tests.builders.decoders import LAYOUTS, Decoder, random_decoder

DECODER = Decoder(layers=12, hidden=320, heads=10, kv_heads=2, vocabulary=2048, intermediate=768)
SPEED = 0.4
STAGES = (2, 3, 4)
STAGE_S, LONG_MS = (0.005, 0.01, 0.02), 10
TURN_S, LEAST_STEPS, TURNS, PROMPT = 1.5, 20, 3, 16
SIGNATURE = StepSignature(Tensor(TOKENS, "int64"), None, None, LOGITS, DECODER.vocabulary)
PROMPTS, MORE, IN_A_ROW, TEXTS = (16, 64, 256), 12, 5, 4
CASES = ((1, 1), (2, 1), (2, 4))
"""Stages and rows of a sequence."""
CONTEXT, SEQUENCES = 1024, (1, 4)
AIM_FULL, AIM_ERROR = 0.95, 0.10
EMULATED, NOTHING = Emulation(), Emulation.none()


@dataclass(frozen=True)
class Planned:
    """A plan of a decoder with its parts."""

    plan: Plan
    manifest: Manifest
    fleet: Fleet


def fleet_of(count: int, speed: float) -> Fleet:
    return Fleet(
        tuple(Device(f"d{number + 1}", speed=speed, runtime_bytes=DEFAULT_RUNTIME_BYTES) for number in range(count)),
        name="equal boards",
    )


def planned(
    path: Path,
    folder: Path,
    stages: int,
    *,
    sequences: int = 1,
    batch: int = 1,
    sizes: Sequence[StepSize] = (),
    speed: float = 1.0,
) -> Planned:
    """The plan of most tokens per second at the context, by measured costs, with the costs of steps of these sizes."""
    fleet = fleet_of(stages, speed)
    graph, profile = costs_of(path, batch, speed)
    profile = replace(profile, graph=with_sequences(profile.graph, sequences))
    plan = with_step_costs(plan_model(profile, fleet).with_names(profile.graph), profile, fleet, sizes, Timed(budget_s=1.0))
    return Planned(plan, write_parts(graph, plan, folder, profile=profile), fleet)


@cache
def costs_of(path: Path, batch: int, speed: float) -> tuple[Graph, Profile]:
    """The model at the context, and its costs on as many devices as there are in any plan."""
    graph = read_graph(path, step_shapes(declared_graph(path), CONTEXT, 1, batch))
    return graph, profile_model(graph, fleet_of(max(STAGES), speed), "measured", budget_s=3.0)


@contextmanager
def running(made: Planned, emulation: Emulation = EMULATED) -> Iterator[tuple[Pipeline, SteppedModel]]:
    """The pipeline of the plan and its language model."""
    options = ProcessesOptions(warmup_items=0, emulation=emulation)
    with open_pipeline(made.manifest, made.fleet, options=options) as pipeline:
        yield pipeline, model_of(pipeline, made.manifest)


def prompts_of(count: int, tokens: int) -> list[np.ndarray]:
    return [np.random.default_rng(number).integers(0, DECODER.vocabulary, tokens) for number in range(count)]


def full(stages: int, stage_s: float, folder: Path) -> Row:
    """How full n sequences keep n equal stages, each of which takes so long for a step."""
    manifest = equal_stages(stages, stage_s, folder)
    fleet = Fleet(tuple(Device(part.device, backend="synthetic") for part in manifest.parts))
    with open_pipeline(manifest, fleet, options=ProcessesOptions(warmup_items=0, emulation=NOTHING)) as pipeline:
        model = SteppedModel(OneByOne(pipeline), SIGNATURE, stages)
        steps = max(LEAST_STEPS, round(TURN_S / (stages * stage_s)))
        prompts = prompts_of(stages, 1)
        runs = [generate_together(pipeline, model, prompts, steps)[1] for _ in range(TURNS + 1)][1:]
    seen = [steady(run, stages) for run in runs]
    figures = {
        "tokens_per_s": Figure.of(rate for rate, _ in seen),
        "bound_per_s": Figure.of(1 / slowest_s for _, slowest_s in seen),
        "share": Figure.of(rate * slowest_s for rate, slowest_s in seen),
    }
    return Row({"table": "full", "stage_ms": round(stage_s * 1e3), "stages": stages}, figures)


def equal_stages(count: int, stage_s: float, folder: Path) -> Manifest:
    """A decoder of stages that wait for so long, and send what those of a real one of this size do."""
    folder.mkdir()
    parts, moves = [], [Transfer(CALLER, 0, (TOKENS, SEQUENCE), 48)]
    for number in range(count):
        is_last = number == count - 1
        read, made = f"stream.{number}" if number else TOKENS, LOGITS if is_last else f"stream.{number + 1}"
        width = DECODER.vocabulary if is_last else DECODER.hidden
        description = {"inputs": [read, "h"], "outputs": {made: {"shape": [1, 1, width]}, "h_next": "h"}, "seconds": stage_s}
        write_text(folder / f"stage_{number}.json", json.dumps(description))
        state = State("h", "h_next", "float32", (1, 1))
        parts.append(
            Part(
                number,
                f"stage_{number}.json",
                f"d{number + 1}",
                (read, SEQUENCE),
                (made,),
                {},
                states=(state,),
                sequences=count,
            )
        )
        target, sent = (CALLER, (made,)) if is_last else (number + 1, (made, SEQUENCE))
        moves.append(Transfer(number, target, sent, 4 * width))
    return Manifest("equal stages", "", (TOKENS, SEQUENCE), (LOGITS,), tuple(parts), tuple(moves), "none", str(folder))


def steady(run: Measurements, sequences: int) -> tuple[float, float]:
    """Steps per second while all sequences make tokens, and the mean seconds of the slowest stage meanwhile."""
    done = sorted(item.done_s for item in run.items)
    begin_s, end_s = done[2 * sequences], done[-2 * sequences]
    seconds: dict[int, list[float]] = {}
    for event in run.events:
        if event.kind == "compute" and begin_s < event.stop_s <= end_s:
            seconds.setdefault(event.stage, []).append(event.seconds)
    steps = sum(begin_s < each <= end_s for each in done)
    return steps / (end_s - begin_s), max(map(statistics.fmean, seconds.values()))


def predicted(path: Path, layout: str, stages: int, batch: int, folder: Path) -> list[Row]:
    """Times of texts alone, by the length of their prompts."""
    print(f"{layout}, {stages} stages, batch {batch}", file=sys.stderr, flush=True)
    made = planned(path, folder, stages, batch=batch, speed=SPEED)
    _, profile = costs_of(path, batch, SPEED)
    profile = replace(profile, graph=with_sequences(profile.graph, 1))
    with running(made) as (_, model):
        lengths = PROMPTS if batch == 1 else PROMPTS[:-1]
        return [
            Row(
                {"table": "predicted", "layout": layout, "stages": stages, "batch": batch, "prompt": prompt},
                turns_of(model, made, profile, prompt, batch),
            )
            for prompt in lengths
        ]


def turns_of(model: SteppedModel, made: Planned, profile: Profile, prompt: int, batch: int) -> dict[str, Figure]:
    """What texts take whose prompts have so many tokens, beside what their steps are predicted to take in each turn."""
    sizes, costs = (StepSize(prompt, prompt), StepSize(1, prompt + MORE // 2)), PaceOfNow()
    text_times(model, prompt, batch)
    turns = []
    for _ in range(TEXTS):
        first, each = with_step_costs(made.plan, profile, made.fleet, sizes, costs).steps
        turns.append(Turn(*text_times(model, prompt, batch), first.latency_s, each.latency_s))
    before, *later = turns
    return {
        "first_s": Figure.of(turn.first_s for turn in turns),
        "first_predicted_s": Figure.of(turn.first_predicted_s for turn in turns),
        "first_error": Figure.of(turn.first_predicted_s / turn.first_s - 1 for turn in turns),
        "first_error_before": Figure.of(before.first_predicted_s / turn.first_s - 1 for turn in later),
        "each_s": Figure.of(turn.each_s for turn in turns),
        "each_predicted_s": Figure.of(turn.each_predicted_s for turn in turns),
        "each_error": Figure.of(turn.each_predicted_s / turn.each_s - 1 for turn in turns),
        "each_error_before": Figure.of(before.each_predicted_s / turn.each_s - 1 for turn in later),
    }


class Turn(NamedTuple):
    """Seconds to the first token of a text and per further one; and as predicted just before."""

    first_s: float
    each_s: float
    first_predicted_s: float
    each_predicted_s: float


@dataclass(frozen=True)
class PaceOfNow(Timed):
    """Costs of nodes as they were timed first, and of parts at the pace that the machine has now."""

    budget_s: float = 1.0
    keeps: bool = False
    _profiles: dict[str, Profile] = field(default_factory=dict)

    def profile(self, graph: Graph, fleet: Fleet) -> Profile:
        key = str({name: tensor.shape for name, tensor in graph.file_inputs.items()})
        if key not in self._profiles:
            self._profiles[key] = super().profile(graph, fleet)
        return self._profiles[key]


def text_times(model: SteppedModel, prompt: int, batch: int) -> tuple[float, float]:
    """Seconds to the first token, and per further token: medians of some texts, one after the other."""
    tokens = np.random.default_rng(prompt).integers(0, DECODER.vocabulary, (batch, prompt))
    times_s = []
    for _ in range(IN_A_ROW):
        with closing(model.open(batch)) as sequence:
            begin_s = time.monotonic()
            given = sequence.step(tokens).argmax(-1)[:, None]
            first_s = time.monotonic() - begin_s
            for _ in range(MORE):
                given = sequence.step(given).argmax(-1)[:, None]
            times_s.append((first_s, (time.monotonic() - begin_s - first_s) / MORE))
    first_s, each_s = map(statistics.median, zip(*times_s, strict=True))
    return first_s, each_s


def memory(path: Path, layout: str, sequences: int, folder: Path) -> list[Row]:
    """Planned memory and peaks of two workers when all sequences have reached the context."""
    made = planned(path, folder, 2, sequences=sequences, sizes=[StepSize(PROMPT, PROMPT)])
    with running(made, NOTHING) as (pipeline, model):
        _, run = generate_together(pipeline, model, prompts_of(sequences, PROMPT), CONTEXT - PROMPT, in_flight=sequences)
    rows = []
    for each in run.memory:
        planned_bytes, seen = made.plan.estimate.planned_bytes[each.device], each.peak_bytes
        figures = {"planned_bytes": Figure(planned_bytes)}
        if seen:
            figures |= {"seen_bytes": Figure(seen), "memory_error": Figure(planned_bytes / seen - 1)}
        rows.append(Row({"table": "memory", "layout": layout, "sequences": sequences, "device": each.device}, figures))
    return rows


def measure(tables: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="multiedge-decoding-") as name:
        folder = Path(name)
        if "full" in tables:
            cases = ((count, stage_s) for count in STAGES for stage_s in STAGE_S)
            rows += [full(*each, folder / f"full-{each}") for each in cases]
        for layout in LAYOUTS if {"predicted", "memory"} & set(tables) else ():
            path = folder / f"{layout}.onnx"
            onnx.save(random_decoder(DECODER, layout), path)
            if "predicted" in tables:
                rows += [row for each in CASES for row in predicted(path, layout, *each, folder / f"{layout}-p{each}")]
            if "memory" in tables:
                rows += [row for count in SEQUENCES for row in memory(path, layout, count, folder / f"{layout}-m{count}")]
    return rows


def section(record: Record) -> str:
    """What the record says, and its tables."""
    of = {name: [row for row in record.rows if row.case["table"] == name] for name in ("full", "predicted", "memory")}
    return "\n\n".join(text for text in (_full(of["full"]), _predicted(of["predicted"]), _memory(of["memory"])) if text)


def _full(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    long = [share for row in rows if int(row.case["stage_ms"]) >= LONG_MS and (share := row.median("share"))]
    columns = [
        case("stage_ms", "stage, ms"),
        case("stages"),
        figure("tokens_per_s", "tokens/s", ".1f"),
        figure("bound_per_s", "bound", ".1f"),
        spread("share", "of the bound, %", ".1f", 100),
    ]
    return (
        f"As many sequences as stages reach {between(long, '.1%')} of what the slowest stage permits where a step takes a stage"
        f" {LONG_MS} ms or longer (the aim: {AIM_FULL:.0%}). What the executor takes between two steps counts more where they"
        f" are shorter; more sequences than stages hide it.\n\n{table(columns, rows)}"
    )


def _predicted(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    worst = {
        name: max(abs(error) for row in rows if (error := row.median(name)) is not None)
        for name in ("first_error", "each_error", "first_error_before", "each_error_before")
    }
    columns = [
        case("layout"),
        case("stages"),
        case("batch"),
        case("prompt"),
        figure("first_s", "first, ms", ".1f", 1e3),
        figure("first_error", "error, %", "+.1f", 100),
        figure("first_error_before", "before", "+.1f", 100),
        figure("each_s", "each, ms", ".1f", 1e3),
        figure("each_error", "error, % ", "+.1f", 100),
        figure("each_error_before", "before ", "+.1f", 100),
    ]
    return (
        f"Times to the first token are predicted within {worst['first_error']:.1%}, and those of each further token within"
        f" {worst['each_error']:.1%} (the aim: {AIM_ERROR:.0%}), by what the parts take just before each text. `before`: what"
        f" they took before the first text: within {worst['first_error_before']:.1%} and {worst['each_error_before']:.1%}, as"
        f" this machine's pace changes.\n\n{table(columns, rows)}"
    )


def _memory(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    columns = [
        case("layout"),
        case("sequences"),
        case("device"),
        figure("planned_bytes", "planned, MiB", ".1f", 2.0**-20),
        figure("seen_bytes", "VmHWM, MiB", ".1f", 2.0**-20),
        figure("memory_error", "error, %", "+.1f", 100),
    ]
    worst = max((abs(error) for row in rows if (error := row.median("memory_error")) is not None), default=0.0)
    return (
        f"Memory at a context of {CONTEXT:,} is planned within {worst:.1%} of the workers' peaks (the aim:"
        f" {AIM_ERROR:.0%}).\n\n{table(columns, rows)}"
    )


BENCHMARK = Benchmark(
    "decoding",
    "Decoders: full pipelines, predicted times and memory",
    {
        "tokens_per_s": Measure("1/s", "tokens per second of all sequences"),
        "bound_per_s": Measure("1/s", "one over the mean seconds of the slowest stage"),
        "share": Measure("1", "tokens_per_s over bound_per_s of the same steps"),
        "first_s": Measure("s", "time to the first token"),
        "first_predicted_s": Measure("s", "the same as predicted"),
        "first_error": Measure("1", "predicted over seen, less one"),
        "first_error_before": Measure("1", "the same by what parts took before the first text"),
        "each_s": Measure("s", "time per further token"),
        "each_predicted_s": Measure("s", "the same as predicted"),
        "each_error": Measure("1", "predicted over seen, less one"),
        "each_error_before": Measure("1", "the same by what parts took before the first text"),
        "planned_bytes": Measure("B", "memory of the device by the cost model"),
        "seen_bytes": Measure("B", "VmHWM of the worker at the end of the run"),
        "memory_error": Measure("1", "planned over seen, less one"),
    },
    section,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "tables", nargs="*", default=["full", "predicted", "memory"], help="full, predicted, memory (default: all)"
    )
    add_option(parser)
    args = parser.parse_args()
    settings = {"layers": DECODER.layers, "hidden": DECODER.hidden, "vocabulary": DECODER.vocabulary, "context": CONTEXT}
    return BENCHMARK.finish(settings, lambda: measure(args.tables), args.json)


if __name__ == "__main__":
    sys.exit(main())
