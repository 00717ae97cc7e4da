"""The plans of a deployment as commands print them."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from multiedge.commands._plans import show_rows
from tests.builders.rows import FASTEST, LOCAL, QUICKEST, row

READY = tuple(replace(each, phase="ready") for each in (FASTEST, LOCAL, QUICKEST))


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=80)


def _shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_devices_of_each_plan_are_seen_in_eighty_columns(console: Console) -> None:
    show_rows("plans of net", READY, console)
    assert [line.split()[-3:] for line in _shown(console).splitlines() if line.startswith("fastest")] == [
        ["phone", "+", "desk"]
    ]
    assert "accuracy" in _shown(console)
    assert "phase" not in _shown(console)


def test_a_figure_that_is_known_of_no_plan_takes_no_column(console: Console) -> None:
    show_rows("plans of net", [replace(row("one"), phase="ready")], console)
    assert "J/item" not in _shown(console)
    assert "unknown" not in _shown(console)


def test_what_is_not_ready_is_shown_with_what_it_waits_for(console: Console) -> None:
    waiting = replace(QUICKEST, phase="pending", reason="node 'desk' sent no heartbeat lately")
    show_rows("plans of net", [READY[0], waiting], console)
    assert "phase" in _shown(console)
    assert "quickest: node 'desk' sent no heartbeat lately" in _shown(console)
