"""`multiedge plan --prompt`: what the steps of a text take, for which of them the plan is made, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from multiedge.cli import main
from tests.builders.sequences import save_model

Output = pytest.CaptureFixture[str]
DEVICES = """devices:
  - {name: a, speed: 1.0, memory: 4GiB}
  - {name: b, speed: 0.5, memory: 4GiB}
links:
  - {between: [a, b], bandwidth: 1Gbps, latency: 0.1ms}
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "devices.yaml").write_text(DEVICES)
    model = save_model(tmp_path, "optimum")
    return ["plan", str(model), "--devices", str(tmp_path / "devices.yaml"), "--reference", "declared"]


def planned(capsys: Output, words: list[str], *more: str) -> Any:
    assert main([*words, *more, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys: Output, words: list[str], *more: str) -> str:
    assert main([*words, *more]) == 1
    return capsys.readouterr().err.strip()


def test_the_plan_states_what_prompts_and_further_tokens_take(words: list[str], capsys: Output) -> None:
    steps = planned(capsys, words, "--context", "256", "--prompt", "64")["steps"]
    assert [(step["tokens"], step["context"]) for step in steps] == [(1, 1), (1, 256), (4, 4), (16, 16), (64, 64)]
    assert main([*words, "--context", "256", "--prompt", "64", "--sequences", "4"]) == 0
    text = capsys.readouterr().out
    assert "time to first token by tokens of the prompt: " in text
    assert " at a context of 256; " in text
    assert " tokens/s of 4 sequences" in text


def test_each_phase_has_a_plan_that_is_best_for_it(words: list[str], capsys: Output) -> None:
    options = ("--context", "512", "--prompt", "512", "--objective", "latency")
    plans = {phase: planned(capsys, words, *options, "--phase", phase) for phase in ("token", "prompt", "text")}
    token, prompt, text = (plans[phase]["value"] for phase in ("token", "prompt", "text"))
    assert token < text <= prompt

    def cost(phase: str, tokens: int) -> float:
        (step,) = (each for each in plans[phase]["steps"] if (each["tokens"], each["context"]) == (tokens, 512))
        return float(step["latency_s"])

    assert cost("prompt", 512) <= cost("token", 512)
    assert cost("token", 1) <= cost("prompt", 1)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--prompt", "8"), "--prompt: has no effect without --context"),
        (("--context", "64", "--prompt", "65"), "--prompt: expected 1 to 64 tokens, the context, got 65"),
        (("--context", "64", "--tokens", "8", "--prompt", "8"), "--tokens has no effect"),
        (("--context", "64", "--phase", "prompt"), "--phase: "),
    ],
)
def test_what_has_no_effect_is_refused(words: list[str], capsys: Output, options: tuple[str, ...], reason: str) -> None:
    assert reason in refusal(capsys, words, *options)


def test_steps_of_a_decoder_whose_sizes_depend_on_the_data_are_measured(words: list[str], capsys: Output) -> None:
    model = onnx.load(words[1])
    model.graph.node.append(onnx.helper.make_node("NonZero", ["logits"], ["places"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("places", onnx.TensorProto.INT64, [3, "count"]))
    onnx.save(model, words[1])
    options = ("--context", "16", "--prompt", "8")
    assert "add --measure-shapes" in refusal(capsys, words, *options)
    steps = planned(capsys, words, *options, "--measure-shapes")["steps"]
    assert [(step["tokens"], step["context"]) for step in steps][-1] == (8, 8)
