"""What `multiedge generate` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.defaults import DEFAULT_DRAFT_TOKENS, DEFAULT_EXECUTOR, DEFAULT_MAX_TOKENS
from multiedge.executors import EXECUTORS
from multiedge.fleet import REFERENCE_BACKEND

STATE = "INPUT=OUTPUT"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("place", metavar="MODEL_OR_PLAN", help="ONNX file, or folder that `multiedge plan -o` wrote")
    parser.add_argument("--prompt", metavar="TEXT", required=True, help="what the text follows; - reads it from stdin")
    parser.add_argument(
        "--chat", action="store_true", help="give the prompt as a message, in the form of the model's chat template"
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        metavar="N",
        default=DEFAULT_MAX_TOKENS,
        help="end after N tokens at the latest (default: %(default)s)",
    )
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end before this text; repeatable")
    parser.add_argument("--ignore-end", action="store_true", help="go on after tokens that end texts, for measurements")
    chosen = parser.add_argument_group("how tokens are chosen", "the most likely one at temperature 0")
    chosen.add_argument("--temperature", type=float, default=0.0, metavar="T", help="divides the logits (default: 0)")
    chosen.add_argument(
        "--top-k", type=int, default=0, metavar="K", help="choose from the K most likely tokens (default: 0, all)"
    )
    about = "choose from the most likely tokens that together have probability P (default: 1, all)"
    chosen.add_argument("--top-p", type=float, default=1.0, metavar="P", help=about)
    _options.add_seed(chosen, "the tokens")
    drafts = parser.add_argument_group("a draft", "proposes tokens, of which the model computes several in one step")
    drafts.add_argument("--draft", metavar="FILE", help="a small ONNX decoder of the same tokens, computed on this device")
    about = f"propose N tokens for each step (default: {DEFAULT_DRAFT_TOKENS})"
    drafts.add_argument("--draft-tokens", type=int, metavar="N", help=about)
    parser.add_argument("--tokenizer", metavar="FILE", help="a tokenizer.json (default: the one beside the model)")
    parser.add_argument(
        "--state",
        action="append",
        default=[],
        metavar=STATE,
        help="an output that is an input of the next step; repeatable (default: those of optimum and onnxruntime-genai)",
    )
    parser.add_argument("--backend", metavar="NAME", help=f"runtime of the model (default: {REFERENCE_BACKEND})")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the model (default: 1)")
    stages = parser.add_argument_group("options of a plan", "instead of --state, --backend and --threads, which are of a model")
    _options.add_devices(stages, default="every device is this machine, links are free")
    names = ", ".join(EXECUTORS.names())
    stages.add_argument("--executor", metavar="NAME", help=f"one of {names} (default: {DEFAULT_EXECUTOR})")
    _options.add_json(parser, "the text, its tokens and their times")
