"""How well a model predicts a text that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import closing

import numpy as np

from multiedge.decoding.contract import Tokens
from multiedge.decoding.sampling import negative_log_likelihoods
from multiedge.decoding.stepped import SteppedModel


def perplexity(model: SteppedModel, texts: Iterable[Tokens]) -> float:
    """The exponential of the mean cost of a token in nats, each predicted from those before it in its text, (n,)."""
    costs = []
    for text in texts:
        with closing(model.open(1)) as sequence:
            logits = sequence.score(text[None, :-1])
        costs.append(negative_log_likelihoods(logits[0], text[1:]))
    return math.exp(float(np.concatenate(costs).mean()))
