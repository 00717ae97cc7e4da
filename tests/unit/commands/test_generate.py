"""`multiedge generate`: text on stdout as it comes, figures on stderr or as JSON, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from multiedge.cli import main
from tests.builders.decoders import random_decoder, recurrent_model, small_decoder
from tests.builders.onnx_models import saved
from tests.builders.text_models import write_tokenizer

Output = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path)
    return saved(random_decoder(small_decoder(layers=1, vocabulary=257)), tmp_path / "model.onnx")


def generated(capsys: Output, *words: object) -> dict[str, object]:
    assert main(["generate", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys: Output, *words: object) -> str:
    assert main(["generate", *map(str, words)]) == 1
    return capsys.readouterr().err.removeprefix("multiedge generate: error: ").strip()


def test_the_text_is_on_stdout_and_its_figures_on_stderr(model: Path, capsys: Output) -> None:
    assert main(["generate", str(model), "--prompt", "hello", "--max-tokens", "9"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.rstrip("\n")) >= 1
    assert shown.err.startswith("5 tokens in, 9 out: first after ")
    assert shown.err.endswith(" each\n")


def test_json_has_tokens_and_times(model: Path, capsys: Output) -> None:
    figures = generated(capsys, model, "--prompt", "hello", "--max-tokens", 9)
    assert (figures["prompt_tokens"], len(figures["tokens"]), figures["finish"]) == (5, 9, "length")
    assert figures["times_s"] == sorted(figures["times_s"])
    assert figures["tokens_per_s"] == pytest.approx(9 / figures["times_s"][-1])


def test_a_seed_decides_the_tokens(model: Path, capsys: Output) -> None:
    words = (model, "--prompt", "hello", "--temperature", 2, "--top-k", 50, "--top-p", 0.9, "--max-tokens", 12, "--seed")
    first, again, other = (generated(capsys, *words, seed)["tokens"] for seed in (1, 1, 2))
    assert first == again != other


def test_the_prompt_may_come_from_stdin(model: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello"))
    piped = generated(capsys, model, "--prompt", "-", "--max-tokens", 4)
    assert piped["tokens"] == generated(capsys, model, "--prompt", "hello", "--max-tokens", 4)["tokens"]


def test_a_recurrent_model_needs_its_states_by_name(tmp_path: Path, capsys: Output) -> None:
    write_tokenizer(tmp_path)
    path = saved(recurrent_model(layers=1, vocabulary=257), tmp_path / "model.onnx")
    words = (path, "--prompt", "hello", "--max-tokens", 3)
    assert len(generated(capsys, *words, "--state", "h.0=h_next.0")["tokens"]) == 3
    assert refusal(capsys, *words).endswith("if it is a state, name it: --state h.0=OUTPUT")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--seed", 1], "--seed: has no effect at temperature 0, which takes the most likely token; add --temperature"),
        (["--top-k", 1], "top_k: has no effect at temperature 0, which takes the most likely token; raise the temperature"),
        (["--max-tokens", 0], "max_tokens: expected at least 1, got 0"),
        (["--stop", ""], "stop: expected texts that are not empty, got an empty one"),
        (["--threads", 0], "--threads: expected 1 or more, got 0"),
        (["--state", "a"], "--state: expected INPUT=OUTPUT, such as h=h_next, got 'a'"),
        (["--prompt", ""], "prompt: expected at least one token, got none; write a word"),
        (
            ["--draft-tokens", 4],
            "draft_tokens: has no effect without a draft, which proposes them; name one, or leave it out",
        ),
    ],
)
def test_what_cannot_be_or_has_no_effect_is_refused(model: Path, capsys: Output, words: list[object], line: str) -> None:
    assert refusal(capsys, model, "--prompt", "hello", *words) == line


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path, capsys: Output) -> None:
    path = saved(random_decoder(), tmp_path / "model.onnx")
    assert "has no tokenizer.json" in refusal(capsys, path, "--prompt", "hello")
    assert "has no chat template" not in refusal(capsys, path, "--prompt", "hello", "--chat")


def test_the_stages_of_a_plan_make_the_same_text(model: Path, tmp_path: Path, capsys: Output) -> None:
    assert main(["split", str(model), "--parts", "2", "-o", str(tmp_path / "parts")]) == 0
    capsys.readouterr()
    words = ("--prompt", "hello", "--max-tokens", 12)
    whole = generated(capsys, model, *words)
    parts = generated(capsys, tmp_path / "parts", *words, "--executor", "inline")
    assert parts["tokens"] == whole["tokens"]


def test_a_draft_changes_how_many_steps_a_text_takes_and_not_the_text(model: Path, tmp_path: Path, capsys: Output) -> None:
    assert main(["split", str(model), "--parts", "2", "-o", str(tmp_path / "parts")]) == 0
    words = ("--prompt", "hello", "--max-tokens", 12)
    capsys.readouterr()
    alone = generated(capsys, model, *words)
    for place in ((model,), (tmp_path / "parts", "--executor", "inline")):
        drafted = generated(capsys, *place, *words, "--draft", model, "--draft-tokens", 3)
        assert drafted["tokens"] == alone["tokens"]
        assert (drafted["steps"], drafted["proposed_tokens"], drafted["accepted_share"]) == (3, 9, 1.0)
        assert drafted["steps_per_token"] == 0.25
    assert (alone["steps"], alone["accepted_share"]) == (12, None)
    assert main(["generate", str(model), *map(str, words), "--draft", str(model)]) == 0
    shown = capsys.readouterr().err.splitlines()
    assert shown[1].startswith("draft: 100 % of 9 proposed tokens accepted, 0.250 steps of the model per token, ")
    assert refusal(capsys, model, *words, "--draft", tmp_path / "none.onnx").startswith(f"{tmp_path}/none.onnx: no such")
    assert refusal(capsys, model, *words, "--draft", model, "--draft-tokens", 0) == "draft_tokens: expected 1 or more, got 0"


def test_options_that_a_plan_or_a_model_does_not_have_are_refused(model: Path, tmp_path: Path, capsys: Output) -> None:
    assert "--executor: has no effect for" in refusal(capsys, model, "--prompt", "a", "--executor", "inline")
    assert "--threads: has no effect for" in refusal(capsys, tmp_path, "--prompt", "a", "--threads", 2)
