"""A job for another language model than the one that is trained here: the same strategies, fleets and prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from llm_bench.perplexity import perplexity
from multiedge.decoding.opening import open_whole
from multiedge.decoding.tokenizer import read_tokenizer
from multiedge.errors import ConfigError
from multiedge.files import write_text

BENCH = Path(__file__).resolve().parents[1]
JOB = BENCH / "benchmarkingjob.yaml"
ALGORITHM = BENCH / "testalgorithms" / "pipeline" / "algorithm-optimum.yaml"
LARGEST_TEXT, TEXTS = 128, 2
"""Tokens of each text, and texts, with which a model is tried."""


def job_name(model: Path) -> str:
    """What the job is called, and the folder of its files: after the model's file, or its folder if that says more."""
    name = model.parent.resolve().name if model.stem == "model" else model.stem
    return f"llm-{name}"


def write_job(model: Path, folder: Path) -> Path:
    """Writes the job and the algorithm file of a model into a folder; the job's file."""
    algorithm: dict[str, Any] = yaml.safe_load(ALGORITHM.read_text(encoding="utf-8"))
    algorithm["algorithm"]["initial_model_url"] = str(model.resolve())
    job: dict[str, Any] = yaml.safe_load(JOB.read_text(encoding="utf-8"))
    given = job["benchmarkingjob"]
    given["name"] = job_name(model)
    place = folder / "algorithm.yaml"
    given["test_object"]["algorithms"] = [{"name": job_name(model), "url": str(place.resolve())}]
    write_text(place, yaml.safe_dump(algorithm, sort_keys=False))
    return write_text(folder / "benchmarkingjob.yaml", yaml.safe_dump(job, sort_keys=False))


def try_model(path: Path, texts: tuple[str, ...]) -> float:
    """The perplexity of a model on some texts.

    Raises ModelError for what is no language model, ConfigError if it has no tokenizer or fits another one.
    """
    tokenizer = read_tokenizer(path)
    tokens = [tokenizer.encode(text)[:LARGEST_TEXT] for text in texts[:TEXTS]]
    model = open_whole(path)
    try:
        largest = int(np.concatenate(tokens).max())
        if model.vocabulary is not None and largest >= model.vocabulary:
            raise ConfigError(f"{path}: has logits of {model.vocabulary} tokens, and its tokenizer gives token {largest}")
        return perplexity(model, tokens)
    finally:
        model.close()
