"""Decoders and recurrent models in stages: the same tokens as the whole model, and little on each link."""

from __future__ import annotations

import math
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from multiedge.backends.stages import load_backend, open_part, stateful
from multiedge.check import check
from multiedge.decoding.drafting import Draft
from multiedge.decoding.generation import Turns, token_steps
from multiedge.decoding.opening import model_of, open_whole
from multiedge.decoding.sampling import Sampling
from multiedge.executors.flow.pipeline import Pipeline, open_pipeline
from multiedge.executors.flow.sequences import Sequences
from multiedge.executors.processes import ProcessesExecutor
from multiedge.executors.workers.options import Deadlines
from multiedge.fleet import Device, Fleet, Link
from multiedge.measurements import Event
from multiedge.meters.cpu import process_waited_s
from multiedge.onnx_io.manifest import read_profile
from multiedge.onnx_io.reader import declared_graph
from multiedge.plan import CALLER, Manifest
from multiedge.run import plan_model
from multiedge.states import SEQUENCE, Step
from multiedge.verification.audit import Verdict, audit
from tests.builders.decoders import Decoder, decoder_model, external_weights
from tests.builders.sequences import (
    LAYOUTS,
    Greedy,
    Run,
    costs_of,
    even_parts,
    graph_at,
    prompt_of,
    save_model,
    states_of,
    step_tensors,
)
from tests.builders.text_models import Wrong

EXACT = {"onnxruntime": {"optimisation": "disabled"}}
TOKENS, LONG = 24, 512
LOSS_S = 1.0
"""What a pause may take with default settings, besides loading and the steps that are computed again; on an idle machine it is
0.05 s after an end and 0.5 s after a stop."""


@contextmanager
def whole(path: Path, layout: str) -> Iterator[Run]:
    graph = declared_graph(path, states_of(layout))
    session = stateful(open_part(load_backend("onnxruntime").exact(), path), graph.states, graph.extended, 8)
    try:
        yield session.run
    finally:
        session.close()


@contextmanager
def pipeline(manifest: Manifest) -> Iterator[Run]:
    with open_pipeline(manifest, executor="inline", warmup_items=0, backends=EXACT) as running:
        yield one_by_one(running)


def one_by_one(running: Pipeline) -> Run:
    """Runs an item and waits for its answer."""

    def run(item: Mapping[str, Any]) -> Mapping[str, Any]:
        running.executor.submit(0, item)
        return running.executor.poll(30.0)[0].require()

    return run


@pytest.mark.parametrize("tokens", [TOKENS, pytest.param(LONG, marks=pytest.mark.slow)])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_stages_give_the_tokens_of_the_whole_model(tmp_path: Path, layout: str, batch: int, tokens: int) -> None:
    path = save_model(tmp_path, layout)
    prompt = prompt_of(batch)
    with whole(path, layout) as run:
        expected = Greedy(run, declared_graph(path, states_of(layout)).inputs, prompt).decode(tokens)
    assert len(np.unique(expected)) > 5
    for parts in (2, 3, 4):
        manifest, _ = even_parts(path, tmp_path / str(parts), parts, layout)
        with pipeline(manifest) as run:
            assert (Greedy(run, manifest.inputs, prompt).decode(tokens) == expected).all()


@pytest.mark.slow
def test_what_a_pipeline_sends_is_what_the_plan_says(tmp_path: Path) -> None:
    """The plan is for a context of 64 tokens; a few of the steps are far behind it."""
    manifest, _ = even_parts(save_model(tmp_path, "optimum"), tmp_path / "parts", 3)
    with open_pipeline(manifest, executor="processes", warmup_items=0) as running:
        decoded = Greedy(one_by_one(running), manifest.inputs, prompt_of(length=1020))
        decoded.decode(1)
        running.executor.mark()
        decoded.decode(3)
        events = running.executor.record().events
    hops = [move for move in manifest.transfers if CALLER not in (move.source, move.target)]
    for move in hops:
        sent = {event.nbytes for event in events if event.kind == "transfer" and event.stage == move.target}
        assert sent == {move.nbytes}
        assert move.known_bytes < 64 * 4 + 1024


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "micro_batch"), [("optimum", 1), ("genai", 3)])
def test_sequences_in_flight_together_give_the_tokens_that_each_gives_alone(
    tmp_path: Path, layout: str, micro_batch: int
) -> None:
    manifest, _ = even_parts(save_model(tmp_path, layout), tmp_path / "parts", 3, layout, sequences=3)
    prompts = [prompt_of(length=5 + number, seed=number) for number in range(3)]
    with pipeline(manifest) as run:
        alone = [Greedy(run, manifest.inputs, prompt, number).decode(20) for number, prompt in enumerate(prompts)]
    options = {"backends": EXACT, "micro_batch": micro_batch}
    with open_pipeline(manifest, executor="processes", warmup_items=0, **options) as running:
        together = [Greedy(dict, manifest.inputs, prompt, number) for number, prompt in enumerate(prompts)]
        for _ in range(20):
            for number, sequence in enumerate(together):
                running.executor.submit(number, sequence.item())
            answers = {}
            while len(answers) < 3:
                answers.update({result.item: result.require() for result in running.executor.poll(30.0)})
            for number, sequence in enumerate(together):
                sequence.take(answers[number])
    for expected, sequence in zip(alone, together, strict=True):
        assert (np.concatenate(sequence.tokens, axis=1) == expected).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "count", "killed", "stopped"), [("optimum", LONG, 300, 400), ("genai", 60, 25, 45), ("recurrent", 60, 25, 45)]
)
def test_only_the_lost_stage_computes_again_where_a_device_is_killed_and_another_hangs(
    tmp_path: Path, layout: str, count: int, killed: int, stopped: int
) -> None:
    """The tokens stay the same; the pause is detection, loading, and the steps of that stage. What the caller waits for a
    processor on a busy machine does not count."""
    path, prompt = save_model(tmp_path, layout), prompt_of()
    with whole(path, layout) as run:
        expected = Greedy(run, declared_graph(path, states_of(layout)).inputs, prompt).decode(count)
    manifest, fleet = even_parts(path, tmp_path / "parts", 3, layout)
    options = {"backends": EXACT, "deadlines": Deadlines(rejoin=False)}
    harm = {killed: (1, signal.SIGKILL), stopped: (2, signal.SIGSTOP)}
    with open_pipeline(manifest, fleet, executor="processes", warmup_items=0, **options) as running:
        assert isinstance(running.executor, ProcessesExecutor)
        sequence = Sequences(running.executor).open()
        names = [name for name in manifest.inputs if name != SEQUENCE]
        tokens, asked_s, pauses, waits = [prompt], [], {}, {}
        running.executor.mark()
        for number in range(count):
            if number in harm:
                stage, how = harm[number]
                os.kill(running.executor.pool.workers[fleet.names[stage]].pid, how)
            waited_s = process_waited_s() or 0.0
            asked_s.append(time.monotonic())
            made = sequence.step(step_tensors(names, tokens[-1], sequence.length, Step()), tokens[-1].shape[1])
            pauses[number] = time.monotonic() - asked_s[-1]
            waits[number] = (process_waited_s() or 0.0) - waited_s
            tokens.append(made["logits"][:, -1].argmax(axis=-1)[:, None])
        events = running.executor.record().events
        assert sequence.replays == len(harm)
    assert (np.concatenate(tokens[1:], axis=1) == expected).all()
    computed = Counter(event.stage for event in events if event.kind == "compute")
    # A step whose answer was lost with the device may have been computed by stages before it.
    for stage in range(3):
        again = [number + 1 for number, (lost, _) in harm.items() if lost == stage]
        assert count + sum(again) - len(harm) <= computed[stage] <= count + sum(again) + len(harm)
    for number, (stage, _) in harm.items():
        within = [event for event in events if asked_s[number] <= event.stop_s <= asked_s[number] + pauses[number]]
        assert pauses[number] - waits[number] < _span(within, stage) + _seconds(within, "load") + LOSS_S


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["optimum", "genai"])
def test_proposals_that_are_not_taken_are_cut_on_each_stage_also_where_a_device_is_killed(tmp_path: Path, layout: str) -> None:
    path, prompt = save_model(tmp_path, layout), prompt_of()
    small = open_whole(path, sequences=2)
    expected = [int(row[0]) for row in token_steps(small.open(), Turns(prompt, Sampling(), 60))]
    manifest, fleet = even_parts(path, tmp_path / "parts", 3, layout)
    options = {"deadlines": Deadlines(rejoin=False)}
    with open_pipeline(manifest, fleet, executor="processes", warmup_items=0, **options) as running:
        assert isinstance(running.executor, ProcessesExecutor)
        turns = Turns(prompt, Sampling(), 60, Wrong(Draft(small, 4)).open())
        tokens = []
        for row in token_steps(model_of(running, manifest).open(), turns):
            tokens.append(int(row[0]))
            if len(tokens) == 25:
                os.kill(running.executor.pool.workers[fleet.names[1]].pid, signal.SIGKILL)
    assert tokens == expected
    assert turns.step < 30
    small.close()


def _seconds(events: Sequence[Event], kind: str) -> float:
    return sum(event.seconds for event in events if event.kind == kind)


def _span(events: Sequence[Event], stage: int) -> float:
    """From the first to the last step that the stage computed."""
    computed = [event for event in events if (event.kind, event.stage) == ("compute", stage)]
    return max(event.stop_s for event in computed) - min(event.start_s for event in computed)


def test_the_parts_of_a_plan_with_states_pass_the_check(tmp_path: Path) -> None:
    manifest, _ = even_parts(save_model(tmp_path, "optimum"), tmp_path / "parts", 3)
    assert check(manifest.directory).bitwise


def test_a_plan_with_states_passes_the_audit(tmp_path: Path) -> None:
    manifest, fleet = even_parts(save_model(tmp_path, "optimum"), tmp_path / "parts", 3)
    profile = read_profile(manifest)
    assert manifest.plan
    assert profile
    assert not [finding for finding in audit(manifest.plan, profile, fleet) if finding.verdict is Verdict.WRONG]


def test_a_decoder_of_7_billion_parameters_is_planned_without_its_weights(tmp_path: Path) -> None:
    llama = Decoder(32, 4096, 32, 32, 32000, 11008, dtype="float16")
    onnx.save(decoder_model(llama, external_weights(llama, "weights.bin")), tmp_path / "model.onnx")
    nbytes = sum(2 * math.prod(shape) for shape in llama.weight_shapes().values())
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(nbytes)  # a file of zeros that takes no place on the disk
    start = time.perf_counter()
    graph = graph_at(tmp_path / "model.onnx", context=1024)
    devices = tuple(Device(f"d{n}", speed=1.0 + n % 2, memory_bytes=8 << 30) for n in range(4))
    links = {(a.name, b.name): Link(125e6, 1e-3) for a in devices for b in devices if a is not b}
    fleet = Fleet(devices, links, name="homes", source="d0")
    plan = plan_model(costs_of(graph, fleet, sequences=2), fleet, "throughput")
    assert time.perf_counter() - start < 10
    assert nbytes > 13e9
    assert len(plan.stages) == 4
    hops = [move for move in plan.transfers if CALLER not in (move.source, move.target)]
    assert all(move.known_bytes < 4096 * 2 + 1024 for move in hops)
