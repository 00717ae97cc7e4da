"""A hub that is away: it is tried more and more rarely, and each change is one line."""

from __future__ import annotations

import logging
from random import Random

import pytest

from multiedge.errors import NetworkError
from multiedge.serving.node.absence import LONGEST_WAIT_S, Absence


def test_an_absent_hub_is_tried_more_rarely_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    absence = Absence(Random(0))
    waits = [absence.failed(NetworkError("hub h:1: cannot be reached"), at) for at in range(2000)]
    assert 0.25 <= waits[0] <= 0.5
    assert all(LONGEST_WAIT_S / 2 <= wait <= LONGEST_WAIT_S for wait in waits[10:])
    absence.failed(NetworkError("hub h:1: refused"), 2000)
    absence.ended(2001)
    absence.ended(2002)
    assert caplog.messages == [
        "hub h:1: cannot be reached; trying again",
        "hub h:1: refused; trying again",
        "the hub answers again after 2001.0 s",
    ]
    assert absence.failed(NetworkError("hub h:1: cannot be reached"), 2003) <= 0.5
