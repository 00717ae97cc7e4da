"""Printing: lines stay as they are, progress appears on terminals only."""

from __future__ import annotations

import io
import sys
import time

import pytest
from rich.console import Console

from multiedge.commands import _terminal
from multiedge.commands._terminal import count_bar, new_console, new_table, print_line, print_plain, share_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_is_printed_as_it_is() -> None:
    console = Console(file=io.StringIO(), width=20)
    print_line(console, "left out: [bold]'phone'[/bold] 192.168.0.1, more than twenty columns")
    assert console.file.getvalue() == "left out: [bold]'phone'[/bold] 192.168.0.1, more than twenty columns\n"


def test_a_table_has_its_title_on_the_left() -> None:
    console = Console(file=io.StringIO(), width=40)
    table = new_table("parts")
    table.add_column("a rather wide column")
    console.print(table)
    assert console.file.getvalue().startswith("parts ")


def test_a_narrow_terminal_gets_the_columns_that_a_table_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert new_console(120).width == 120
    assert new_console().width == 40
    monkeypatch.setenv("COLUMNS", "150")
    assert new_console(120).width == 150


def test_where_nobody_looks_there_is_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with share_bar("planning") as step, count_bar("running", 3) as count:
        step("throughput", 0.5)
        count(2)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_steps_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(_terminal, "BAR_AFTER_S", 0)
    with share_bar("planning") as step:
        step("throughput", 0.5)
        deadline = time.monotonic() + 20
        while "planning: throughput" not in terminal.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "planning: throughput" in terminal.getvalue()
    with count_bar("running", 3) as count:
        count(3)
    assert "3/3" in terminal.getvalue()


def test_short_work_shows_one_line_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(_terminal, "BAR_AFTER_S", 60)
    with share_bar("planning") as step:
        assert terminal.getvalue() == "planning ...\r"
        step("throughput", 0.5)
    assert terminal.getvalue() == "planning ...\r\r\x1b[K"


HOSTILE = "[/red]\x1b]0;title\x07\x9b31m[bold"


def test_markup_and_control_characters_of_names_reach_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = new_console()
    console.file = io.StringIO()
    table = new_table(f"parts of {HOSTILE}")
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    console.print(table)
    print_line(console, f"line\n{HOSTILE}")
    print_plain(f"{HOSTILE}\nnext")
    shown = console.file.getvalue()
    assert shown.count("[/red]") == 4
    assert shown.endswith("line [/red]]0;title31m[bold\n")
    assert capsys.readouterr().out == "[/red]]0;title31m[bold\nnext\n"
    assert all(char.isprintable() or char == "\n" for char in shown)


def test_a_cell_without_its_control_characters_keeps_the_table_aligned() -> None:
    console = new_console()
    console.file = io.StringIO()
    table = new_table("")
    table.add_column("a")
    table.add_row("x\x1b\x1b\x1b")
    table.add_row("xxxx")
    console.print(table)
    assert len({len(line) for line in console.file.getvalue().splitlines() if line.strip()}) == 1
