"""Language models: tokens, sampling, and the loop that makes text of a model's steps.

    from multiedge.decoding import Sampling, open_text_model

    with open_text_model("model.onnx") as model:
        for piece in model.generate("Once upon a time", Sampling(temperature=0.8, top_p=0.95, seed=1)):
            print(piece.text, end="", flush=True)

Names are resolved on first use, so that importing the package loads no runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiedge.decoding.generation import Generation, Limits
    from multiedge.decoding.sampling import Sampling
    from multiedge.decoding.text_model import TextModel, open_text_model, open_text_plan
    from multiedge.decoding.tokenizer import TextTokenizer

_HOME = {
    "Generation": "multiedge.decoding.generation",
    "Limits": "multiedge.decoding.generation",
    "Sampling": "multiedge.decoding.sampling",
    "TextModel": "multiedge.decoding.text_model",
    "TextTokenizer": "multiedge.decoding.tokenizer",
    "open_text_model": "multiedge.decoding.text_model",
    "open_text_plan": "multiedge.decoding.text_model",
}

__all__ = ["Generation", "Limits", "Sampling", "TextModel", "TextTokenizer", "open_text_model", "open_text_plan"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'multiedge.decoding' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
