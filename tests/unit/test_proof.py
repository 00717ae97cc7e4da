"""Scopes of bounds, in words and from words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.proof import CONTIGUOUS, Plans, Scope, scope_in_words


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (CONTIGUOUS, "contiguous plans"),
        (replace(CONTIGUOUS, replicas=True), "contiguous plans with replicas"),
        (
            replace(CONTIGUOUS, least_fps=0.4, most_latency_s=2.5),
            "contiguous plans of at least 0.4 items/s within 2500 ms",
        ),
        (Scope(Plans.ALL, most_memory_bytes=3 << 19), "all plans within 1.5 MiB on each device"),
        (Scope(Plans.OTHER, words="plans of a package"), "plans of a package"),
    ],
)
def test_a_scope_names_its_plans_and_their_limits(scope: Scope, words: str) -> None:
    assert str(scope) == words


def test_words_of_older_files_become_a_scope() -> None:
    assert scope_in_words("") is None
    assert scope_in_words("contiguous plans") == CONTIGUOUS
    other = scope_in_words("contiguous plans within 0.8 MiB on each device")
    assert other is not None
    assert other.plans is Plans.OTHER
    assert str(other).endswith("0.8 MiB on each device")
