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


def test_an_unknown_fleet_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown fleet 'bords'; did you mean 'boards'"):
        fleet_file("bords")


def test_a_run_gives_every_metric_of_the_test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_factory.install()
    write_tokenizer(tmp_path)
    model = saved(random_decoder(small_decoder(layers=2, vocabulary=257)), tmp_path / "model.onnx")
    prompts = []
    for number, text in enumerate(("one small text", "another text of it")):
        (tmp_path / f"{number}.txt").write_text(text[:6])
        (tmp_path / f"{number}-whole.txt").write_text(text)
        prompts.append(str(tmp_path / f"{number}.txt"))
    monkeypatch.setenv("RESULT_SAVED_URL", str(tmp_path / "results"))
    job = TextPipeline("train", "equal_parameters", sequences=2, tokens=4, context=32, executor="inline")
    folder, parts = job.partition(str(model))
    assert len(set(parts.values())) == 3
    job.load(folder, parts)
    outcome = job.predict(prompts)
    figures = {
        each["name"]: metric(each["url"], each["name"])(None, outcome)
        for each in load(BENCH / "testenv" / "testenv.yaml")["testenv"]["metrics"]
    }
    assert figures["fidelity"] == 1.0
    assert figures["tokens_per_s"] > 0
    assert figures["time_to_first_token_ms"] > 0
    assert math.isfinite(figures["perplexity"])
    assert (tmp_path / "results" / "results.json").is_file()
