"""How long a node may be silent follows what is usual for it."""

from __future__ import annotations

import pytest

from multiedge.executors.workers.silence import FACTOR, RECENT, Silence


@pytest.mark.parametrize(
    ("gaps_s", "limit_s"),
    [([], 0.7), ([0.05] * 50, 0.7), ([0.05] * 50 + [0.5], FACTOR * 0.5), ([0.5] + [0.05] * RECENT, 0.7)],
    ids=["nothing is known", "a quiet machine", "a busy machine", "it was busy once"],
)
def test_the_limit_is_a_multiple_of_the_longest_recent_gap(gaps_s: list[float], limit_s: float) -> None:
    silence, now_s = Silence(0.7), 100.0
    silence.heard(now_s)
    for gap_s in gaps_s:
        now_s += gap_s
        silence.heard(now_s)
    assert silence.limit_s == pytest.approx(limit_s)
