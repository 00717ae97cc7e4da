"""Metrics of the texts: how fast their tokens came, whether they are those of the whole model, and how well it predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

from sedna.common.class_factory import ClassFactory, ClassType

from multiedge.decoding.generation import Generation


@ClassFactory.register(ClassType.GENERAL, alias="tokens_per_s")
def tokens_per_s(y_true: Any, y_pred: dict[str, Any]) -> float:
    """Tokens of all texts per second of the timed window."""
    window = y_pred["measurements"]
    count = sum(len(generation.tokens) for generation in y_pred["generations"])
    return float(f"{count / (window.stop_s - window.start_s):.4g}")


@ClassFactory.register(ClassType.GENERAL, alias="time_to_first_token_ms")
def time_to_first_token_ms(y_true: Any, y_pred: dict[str, Any]) -> float | None:
    """Median time from a prompt to its first token."""
    return _median_ms(y_pred["generations"], lambda generation: generation.time_to_first_token_s)


@ClassFactory.register(ClassType.GENERAL, alias="time_per_output_token_ms")
def time_per_output_token_ms(y_true: Any, y_pred: dict[str, Any]) -> float | None:
    """Median over the texts of the mean time from one token to the next."""
    return _median_ms(y_pred["generations"], lambda generation: generation.time_per_output_token_s)


@ClassFactory.register(ClassType.GENERAL, alias="expected_time_to_first_token_ms")
def expected_time_to_first_token_ms(y_true: Any, y_pred: dict[str, Any]) -> float | None:
    """What the plan expected, for the middle length of the prompts."""
    return _ms(y_pred["expected"].time_to_first_token_s)


@ClassFactory.register(ClassType.GENERAL, alias="expected_time_per_output_token_ms")
def expected_time_per_output_token_ms(y_true: Any, y_pred: dict[str, Any]) -> float | None:
    """What the plan expected."""
    return _ms(y_pred["expected"].time_per_output_token_s)


@ClassFactory.register(ClassType.GENERAL, alias="accepted_share")
def accepted_share(y_true: Any, y_pred: dict[str, Any]) -> float | None:
    """Share of the draft's proposals that the stages took; None without a draft."""
    made = y_pred["generations"]
    proposed = sum(generation.proposed for generation in made)
    accepted = sum(len(generation.tokens) - generation.steps for generation in made)
    return round(accepted / proposed, 3) if proposed else None


@ClassFactory.register(ClassType.GENERAL, alias="fidelity")
def fidelity(y_true: Any, y_pred: dict[str, Any]) -> float:
    """Share of tokens that are those of the whole model; 1.0 for a correct cut."""
    return float(y_pred["fidelity"])


@ClassFactory.register(ClassType.GENERAL, alias="perplexity")
def perplexity(y_true: Any, y_pred: dict[str, Any]) -> float:
    """Of held-out texts, by the stages."""
    return round(float(y_pred["perplexity"]), 2)


def _median_ms(generations: Iterable[Generation], time_s: Callable[[Generation], float | None]) -> float | None:
    known = [time for time in map(time_s, generations) if time is not None]
    return _ms(median(known)) if known else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{1000 * seconds:.4g}")
