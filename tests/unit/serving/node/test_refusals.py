"""Refusals in the log: one line for each kind, and a count of the rest."""

from __future__ import annotations

import pytest

from multiedge.serving.node.refusals import Refusals


def test_others_of_a_kind_are_counted_and_told_later(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(quiet_s=10)
    for second in range(5):
        refusals.add("idle", f"refused peer {second}: idle", second)
    refusals.add("garbage", "refused x:\ngarbage\x1b[31m", 4)
    refusals.flush(9)
    assert caplog.messages == ["refused peer 0: idle", "refused x: garbage[31m"]
    refusals.flush(11)
    assert caplog.messages[2:] == ["4 more refused in 11 s: idle"]
    refusals.add("idle", "refused peer 9: idle", 12)
    assert caplog.messages[3:] == ["refused peer 9: idle"]
