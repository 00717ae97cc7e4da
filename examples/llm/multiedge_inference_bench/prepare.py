#!/usr/bin/env python3
"""Makes the inputs of the language model benchmark: a small decoder that is trained on this project's documents, in the layouts
of optimum and of onnxruntime-genai, and prompts. Finished steps are kept.

python examples/llm/multiedge_inference_bench/prepare.py            # trains for a few minutes, once
... prepare.py --steps 100 --again                                  # a worse model, sooner
... prepare.py --model qwen/model.onnx                              # no training: a job for your own model
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from llm_bench.corpus import Corpus, read_corpus
from llm_bench.decoder_onnx import LAYOUTS, Decoder
from llm_bench.given import TEXTS, job_name, try_model, write_job
from llm_bench.perplexity import perplexity
from llm_bench.text_pipeline import DRAFT_FOLDER
from llm_bench.vocabulary import END, save_text_files, train_tokenizer

from multiedge.commands._script import run_script, say
from multiedge.commands._terminal import share_bar
from multiedge.decoding.opening import open_whole
from multiedge.errors import ConfigError, MissingDependencyError
from multiedge.files import write_text

CACHE = Path(".cache/llm")
DECODER = Decoder(layers=6, hidden=192, heads=6, kv_heads=2, vocabulary=1024, intermediate=384)
DRAFT = Decoder(layers=1, hidden=48, heads=3, kv_heads=1, vocabulary=1024, intermediate=96)
"""What proposes tokens for DECODER."""
NOTE = "training.json"
STEPS = 600
CHECKED_TOKENS = 64
PROMPTS, PROMPT_CHARACTERS = 8, 240


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--cache", type=Path, default=CACHE, help="where models and prompts go (default: %(default)s)")
    made.add_argument("--steps", type=int, default=STEPS, metavar="N", help="steps of the training (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="of the training (default: %(default)s)")
    made.add_argument(
        "--model", type=Path, metavar="FILE", help="an ONNX decoder with its tokenizer.json beside it: no training"
    )
    made.add_argument("--again", action="store_true", help="train again although a model is there")
    return made


def prepare(args: argparse.Namespace) -> None:
    """Prepares what the options name and lists it on stderr."""
    if args.steps < 1:
        raise ConfigError(f"--steps: expected at least 1, got {args.steps}")
    if args.model and (args.again or args.steps != STEPS or args.seed):
        raise ConfigError("--model: nothing is trained then; leave --again, --steps and --seed out")
    corpus = read_corpus()
    if args.model:
        prepare_given(args.model, args.cache, corpus)
    else:
        prepare_own(args, corpus)
    say(f"{write_prompts(args.cache / 'prompts', corpus)}: {PROMPTS} prompts")


def prepare_own(args: argparse.Namespace, corpus: Corpus) -> None:
    """Trains the decoder of the benchmark, if that has not been done with these steps and this seed."""
    note = args.cache / NOTE
    if args.again or not is_made(args.cache, args.steps, args.seed):
        note.unlink(missing_ok=True)
        made = train_and_export(args.cache, corpus, args.steps, args.seed)
        write_text(note, json.dumps(made, indent=1) + "\n")
    say(f"{note}: {describe(json.loads(note.read_text(encoding='utf-8')))}")


def is_made(cache: Path, steps: int, seed: int) -> bool:
    """Whether the folder has the decoder and its draft, trained so."""
    note = cache / NOTE
    if not note.is_file() or not (cache / DRAFT_FOLDER).is_dir():
        return False
    made = json.loads(note.read_text(encoding="utf-8"))
    return (made.get("steps"), made.get("seed")) == (steps, seed)


def prepare_given(model: Path, cache: Path, corpus: Corpus) -> None:
    """Tries another model and writes a job for it."""
    say(f"{model}: perplexity {try_model(model, corpus.held_out):.4g} on the beginnings of {TEXTS} texts")
    job = write_job(model, cache / job_name(model))
    say(f"{job}: run it with: ianvs -f {job}")


def train_and_export(cache: Path, corpus: Corpus, steps: int, seed: int) -> dict[str, object]:
    """Trains the decoder and writes its files; what is to be noted of it."""
    try:
        from llm_bench.export import export, require_equal
        from llm_bench.training import Schedule, logits_of, train
    except ImportError as error:
        raise MissingDependencyError(str(error.name), extra="bench") from error
    raw = train_tokenizer(corpus.learnt, DECODER.vocabulary)
    tokens = np.array(raw.encode(END.join(corpus.learnt)).ids, np.int64)
    with share_bar(f"training a decoder on {tokens.size:,} tokens") as progress:
        trained = train(DECODER, tokens, Schedule(steps=steps, seed=seed), progress)
    held_out = [np.array(raw.encode(text).ids, np.int64) for text in corpus.held_out]
    checked = held_out[0][None, :CHECKED_TOKENS]
    expected = logits_of(DECODER, trained.weights, checked)
    differences, figures = {}, {}
    for layout in LAYOUTS:
        path = cache / layout / "model.onnx"
        export(DECODER, trained.weights, layout, path)
        save_text_files(raw, path.parent)
        differences[layout] = require_equal(path, checked, expected)
        figures[layout] = measure(path, held_out)
    with share_bar("training a draft of it") as progress:
        draft = train(DRAFT, tokens, Schedule(steps=steps, seed=seed), progress)
    path = cache / DRAFT_FOLDER / "model.onnx"
    export(DRAFT, draft.weights, "optimum", path)
    save_text_files(raw, path.parent)
    return {
        "decoder": asdict(DECODER),
        "parameters": sum(array.size for name, array in trained.weights.items() if name != "lm_head.weight"),
        "tokens": tokens.size,
        "steps": steps,
        "seed": seed,
        "seconds": round(trained.seconds + draft.seconds, 1),
        "loss": round(trained.loss, 4),
        "held_out_tokens": sum(text.size for text in held_out),
        "held_out_perplexity": figures["optimum"],
        "draft": asdict(DRAFT),
        "draft_held_out_perplexity": measure(path, held_out),
        "difference_from_torch": differences,
    }


def measure(path: Path, texts: list[np.ndarray]) -> float:
    """The perplexity of held-out texts."""
    model = open_whole(path)
    try:
        return round(perplexity(model, texts), 3)
    finally:
        model.close()


def describe(made: dict[str, object]) -> str:
    """One line about a trained decoder."""
    return (
        f"{made['parameters']:,} parameters, {made['steps']} steps on {made['tokens']:,} tokens in {made['seconds']} s;"
        f" perplexity {made['held_out_perplexity']} on {made['held_out_tokens']:,} held-out tokens"
    )


def write_prompts(folder: Path, corpus: Corpus) -> Path:
    """Writes the beginnings of held-out texts as prompts, and the index that Ianvs reads: a prompt's file and its text's."""
    rows = []
    for number, text in enumerate(corpus.held_out[:PROMPTS]):
        prompt, whole = (folder / f"{number}{kind}.txt" for kind in ("", "-whole"))
        write_text(prompt, text[:PROMPT_CHARACTERS])
        write_text(whole, text)
        rows.append(f"{prompt.resolve()} {whole.resolve()}")
    write_text(folder / "index.txt", "\n".join(rows) + "\n")
    return folder / "index.txt"


if __name__ == "__main__":
    sys.exit(run_script(parser(), prepare))
