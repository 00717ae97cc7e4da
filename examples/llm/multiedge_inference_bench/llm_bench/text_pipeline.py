"""The base model of the benchmark: a decoder cut by layers, whose stages make texts together on emulated devices."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from llm_bench.perplexity import perplexity
from multiedge.decoding.contract import Tokens
from multiedge.decoding.drafting import NO_PROPOSALS, Proposals
from multiedge.decoding.expected import Timed, plan_for_texts
from multiedge.decoding.generation import Generation
from multiedge.decoding.opening import model_of, open_draft, open_whole
from multiedge.decoding.together import generate_together
from multiedge.decoding.tokenizer import read_tokenizer
from multiedge.errors import ConfigError, did_you_mean
from multiedge.executors import open_pipeline
from multiedge.formats.devices import read_fleet
from multiedge.meters.modelled import with_energy
from multiedge.onnx_io import read_graph, read_manifest, write_parts
from multiedge.onnx_io.reader import declared_graph
from multiedge.onnx_io.states import step_shapes
from multiedge.plan import Manifest
from multiedge.report.results import make_result, save_results
from multiedge.run import plan_model, profile_model
from multiedge.step_costs import TextCost, step_sizes, text_cost

DEVICES = Path(__file__).resolve().parents[1] / "devices"
TIMING_S = 0.4
"""For timing the nodes at each size of a step."""
DRAFT_FOLDER = "draft"
"""Of the draft, beside the folder of the model that it is one of."""
LARGEST_TEXT = 256
"""Tokens of a held-out text that perplexity counts."""


class TextPipeline:
    """Makes `tokens` tokens after each prompt, the most likely ones, by the stages of a plan.

    `fleet` names a file in devices/. So many `sequences` are under way at the same time, and each stage keeps their states; the
    plan is made for one token behind others, `context` with it. A draft, on this machine and at its speed, proposes
    `draft_tokens` for each step. `executor` is how the stages run.
    """

    def __init__(
        self,
        fleet: str,
        strategy: str,
        sequences: int = 1,
        tokens: int = 64,
        context: int = 256,
        draft_tokens: int = 0,
        executor: str = "processes",
    ) -> None:
        self.model_parallel = True
        self.strategy, self.fleet = strategy, read_fleet(fleet_file(fleet))
        self.sequences, self.tokens, self.context, self.executor = sequences, tokens, context, executor
        self.draft_tokens = draft_tokens
        given = {"fleet": fleet, "strategy": strategy, "sequences": sequences, "tokens": tokens, "context": context}
        self.configuration = {**given, "draft_tokens": draft_tokens, "executor": executor}
        self.parts = ""

    def partition(self, initial_model_url: str) -> tuple[str, Mapping[str, str]]:
        """Plans for one step of `sequences` sequences, and writes the parts."""
        if not Path(initial_model_url).is_file():
            raise ConfigError(f"no such model '{initial_model_url}'; run prepare.py")
        shapes = step_shapes(declared_graph(initial_model_url), self.context)
        graph = read_graph(initial_model_url, shapes)
        profile = profile_model(graph, self.fleet, sequences=self.sequences)
        plan = plan_for_texts(
            lambda fleet: plan_model(profile, fleet, self.strategy),
            profile,
            self.fleet,
            step_sizes(self.context, self.context),
            Timed(TIMING_S),
        )
        folder = Path(os.environ["RESULT_SAVED_URL"]) / "parts"
        manifest = write_parts(graph, plan, folder, profile=profile)
        return str(folder), manifest.map_info

    def load(self, models_dir: str, map_info: Mapping[str, str]) -> None:
        """Keeps the folder of the parts; `predict` starts the workers, which load them."""
        self.parts = models_dir

    def predict(self, x: Sequence[str]) -> dict[str, Any]:
        """The input of the metrics: tokens beside those of the whole model, times, perplexity, measurements, the plan."""
        manifest = read_manifest(self.parts)
        tokenizer = read_tokenizer(Path(manifest.model))
        prompts = [tokenizer.encode(Path(path).read_text(encoding="utf-8")) for path in x]
        if not prompts:
            raise ConfigError("the dataset has no prompts; run prepare.py")
        texts = [tokenizer.encode(whole_text(Path(path)))[:LARGEST_TEXT] for path in x]
        with (
            closing(self.proposals(manifest)) as proposals,
            open_pipeline(manifest, self.fleet, self.executor, warmup_items=0) as pipeline,
        ):
            model = model_of(pipeline, manifest)
            unexpectedness = perplexity(model, texts)  # also the warm-up: every stage has computed
            made, measurements = generate_together(
                pipeline, model, prompts, self.tokens, in_flight=self.sequences, proposals=proposals
            )
        outcome = {
            "generations": made,
            "fidelity": agreement(made, expected_tokens(Path(manifest.model), prompts, self.tokens)),
            "perplexity": unexpectedness,
            "measurements": with_energy(measurements, self.fleet),
            "plan": manifest.plan,
            "expected": self.expected(manifest, prompts),
            "model": Path(manifest.model),
        }
        self.save(outcome)
        return outcome

    def proposals(self, manifest: Manifest) -> Proposals:
        """The draft, which has to be closed; nobody proposes tokens without `draft_tokens`."""
        if not self.draft_tokens:
            return NO_PROPOSALS
        model = Path(manifest.model)
        draft = model.parents[1] / DRAFT_FOLDER / model.name
        return open_draft(draft, self.draft_tokens, declared_graph(model), read_tokenizer(model), self.sequences)

    def expected(self, manifest: Manifest, prompts: Sequence[Tokens]) -> TextCost:
        """What the plan lets a text take whose prompt is as long as the middle one; nothing is known of steps with a draft."""
        steps = manifest.plan.steps if manifest.plan and not self.draft_tokens else ()
        length = sorted(prompt.size for prompt in prompts)[len(prompts) // 2]
        return text_cost(steps, length, self.tokens, min(self.sequences, len(prompts)))

    def save(self, outcome: Mapping[str, Any]) -> None:
        """Writes a results file, for the report page, to the folder that the host names."""
        folder = os.environ.get("RESULT_SAVED_URL")
        if folder:
            draft = [f"draft of {self.draft_tokens}"] if self.draft_tokens else []
            words = (outcome["model"].parent.name, self.fleet.name, self.strategy, f"{self.sequences} at a time", *draft)
            extra = {"fidelity": outcome["fidelity"], "perplexity": outcome["perplexity"]}
            result = make_result(
                ", ".join(words), outcome["measurements"], plan=outcome["plan"], configuration=self.configuration, extra=extra
            )
            save_results(result, Path(folder) / "results.json")


def expected_tokens(path: Path, prompts: Sequence[Tokens], count: int) -> list[list[int]]:
    """The most likely tokens after each prompt, by the whole model."""
    model = open_whole(path)
    try:
        return [_greedy(model, prompt, count) for prompt in prompts]
    finally:
        model.close()


def _greedy(model: Any, prompt: Tokens, count: int) -> list[int]:
    sequence = model.open()
    given, got = prompt[None], []
    while len(got) < count:
        given = sequence.step(given).argmax(-1)[:, None]
        got.append(int(given[0, 0]))
    sequence.close()
    return got


def agreement(made: Sequence[Generation], expected: Sequence[Sequence[int]]) -> float:
    """Share of tokens that are those of the whole model."""
    equal = [np.equal(generation.tokens, tokens).mean() for generation, tokens in zip(made, expected, strict=True)]
    return float(np.mean(equal))


def whole_text(prompt: Path) -> str:
    """The held-out text of which a prompt is the beginning."""
    return prompt.with_name(f"{prompt.stem}-whole.txt").read_text(encoding="utf-8")


def fleet_file(name: str) -> Path:
    """The devices.yaml of this name."""
    path = DEVICES / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"unknown fleet '{name}'{did_you_mean(name, [each.stem for each in DEVICES.glob('*.yaml')])}")
    return path
