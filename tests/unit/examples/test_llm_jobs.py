"""The language model benchmark's job files: what they name is there; and a run of its base model."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.common import class_factory
from core.common.user_module import UserModule
from multiedge.errors import ConfigError
from partitioners import PARTITIONERS
from tests.builders.decoders import random_decoder, small_decoder
from tests.builders.onnx_models import saved
from tests.builders.text_models import write_tokenizer

ROOT = Path(__file__).parents[3]
BENCH = ROOT / "examples" / "llm" / "multiedge_inference_bench"
sys.path.insert(0, str(BENCH))

pytest.importorskip("tokenizers", reason="needs the extra [bench]")

from llm_bench.given import job_name, try_model, write_job  # noqa: E402
from llm_bench.text_pipeline import TextPipeline, fleet_file  # noqa: E402

ALGORITHMS = sorted(BENCH.glob("testalgorithms/*/*.yaml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def metric(url: str, name: str) -> Any:
    return UserModule(str(ROOT / url), name).registered()


def test_the_job_names_files_that_are_there() -> None:
    job = load(BENCH / "benchmarkingjob.yaml")["benchmarkingjob"]
    urls = [job["testenv"], *(each["url"] for each in job["test_object"]["algorithms"])]
    assert [url for url in urls if not (ROOT / url).is_file()] == []
    assert len(urls) == 1 + len(ALGORITHMS)


@pytest.mark.parametrize("path", ALGORITHMS, ids=lambda path: path.stem)
def test_an_algorithm_names_strategies_and_fleets_that_exist(path: Path) -> None:
    (module,) = load(path)["algorithm"]["modules"]
    chosen = {name: spec["values"] for entry in module["hyperparameters"] for name, spec in entry.items()}
    assert not set(chosen["strategy"]) - set(PARTITIONERS.names())
    for fleet in chosen["fleet"]:
        TextPipeline(fleet, chosen["strategy"][0])


def test_a_job_for_another_model_names_it_and_what_the_jobs_here_name(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    model = saved(random_decoder(small_decoder(vocabulary=257)), tmp_path / "tiny.onnx")
    assert try_model(model, ("some text", "another one")) > 1
    job = load(write_job(model, tmp_path / "job"))["benchmarkingjob"]
    (algorithm,) = job["test_object"]["algorithms"]
    assert (job["name"], algorithm["name"]) == (job_name(model), "llm-tiny")
    assert load(Path(algorithm["url"]))["algorithm"]["initial_model_url"] == str(model)
    assert (ROOT / job["testenv"]).is_file()
    assert job_name(tmp_path / "model.onnx") == f"llm-{tmp_path.name}"


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    model = saved(random_decoder(small_decoder(vocabulary=97)), tmp_path / "tiny.onnx")
    with pytest.raises(ConfigError, match="has logits of 97 tokens, and its tokenizer gives token"):
        try_model(model, ("naïve",))


def test_an_unknown_fleet_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown fleet 'bords'; did you mean 'boards'"):
        fleet_file("bords")


@pytest.mark.slow
@pytest.mark.parametrize(("draft_tokens", "accepted"), [(0, None), (2, 1.0)])
def test_a_run_gives_every_metric_of_the_test_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draft_tokens: int, accepted: float | None
) -> None:
    class_factory.install()
    for folder in ("optimum", "draft"):
        model = saved(random_decoder(small_decoder(layers=2, vocabulary=257)), tmp_path / folder / "model.onnx")
        write_tokenizer(model.parent)
    model = tmp_path / "optimum" / "model.onnx"
    prompts = []
    for number, text in enumerate(("one small text", "another text of it")):
        (tmp_path / f"{number}.txt").write_text(text[:6])
        (tmp_path / f"{number}-whole.txt").write_text(text)
        prompts.append(str(tmp_path / f"{number}.txt"))
    monkeypatch.setenv("RESULT_SAVED_URL", str(tmp_path / "results"))
    sizes = {"sequences": 2, "tokens": 4, "context": 32, "draft_tokens": draft_tokens}
    job = TextPipeline("train", "equal_parameters", **sizes, executor="inline")
    folder, parts = job.partition(str(model))
    assert len(set(parts.values())) == 3
    job.load(folder, parts)
    outcome = job.predict(prompts)
    figures = {
        each["name"]: metric(each["url"], each["name"])(None, outcome)
        for each in load(BENCH / "testenv" / "testenv.yaml")["testenv"]["metrics"]
    }
    assert figures["fidelity"] == 1.0
    assert figures["accepted_share"] == accepted
    assert figures["tokens_per_s"] > 0
    assert figures["time_to_first_token_ms"] > 0
    assert math.isfinite(figures["perplexity"])
    assert (tmp_path / "results" / "results.json").is_file()
