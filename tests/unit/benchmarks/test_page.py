from dataclasses import replace
from importlib import import_module

import pytest

from benchmarks import page
from benchmarks.page import BENCHMARKS, Benchmark, origin, render, text
from benchmarks.record import RESULTS, Figure, Measure, Row, read, write
from tests.builders.records import record

MEASURES = {"seconds": Measure("s", "wall time")}
EXAMPLE = Benchmark("example", "An example", MEASURES, lambda record: "word " * 40 + "\n\n| a table |\n| ------- |")


@pytest.fixture
def example(monkeypatch):
    """Makes EXAMPLE the only benchmark."""
    monkeypatch.setattr(page, "BENCHMARKS", ("example",))
    monkeypatch.setattr(page, "import_module", lambda name: type("module", (), {"BENCHMARK": EXAMPLE}))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_a_committed_record_with_the_measures_that_it_takes(name):
    benchmark = import_module(f"benchmarks.{name}").BENCHMARK
    kept = read(RESULTS / f"{name}.json")
    assert (benchmark.name, kept.benchmark) == (name, name)
    assert set(kept.measures) == set(benchmark.measures)
    assert kept.rows


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_section_says_one_sentence_or_two_and_shows_tables(name):
    first, *rest = import_module(f"benchmarks.{name}").BENCHMARK.section(read(RESULTS / f"{name}.json")).split("\n\n")
    assert first.endswith(".")
    assert len(first) < 300
    assert any(part.startswith("|") for part in rest)


def test_no_line_of_the_page_is_wider_than_a_screen():
    assert max(map(len, render().splitlines())) <= 110


def test_sentences_are_wrapped_and_tables_are_not():
    lines = text(EXAMPLE, record([], MEASURES)).splitlines()
    assert max(map(len, lines)) <= page.WIDTH
    assert lines[-2:] == ["| a table |", "| ------- |"]


def test_cases_that_were_not_run_are_listed_with_the_reason():
    failed = Row({"executor": "ray", "nbytes": 16}, failure="ray is not installed")
    assert text(EXAMPLE, record([failed], MEASURES)).endswith("- not run: executor ray, nbytes 16: ray is not installed")


def test_the_origin_names_date_commit_machine_and_versions():
    assert origin(record([], MEASURES)) == (
        "Measured 2026-11-21 in 12 s, commit 0123456789ab: Example CPU, 2 cores, 24 GiB.\npython 3.11.7, onnx 1.23.2."
    )


def test_an_origin_that_was_not_recorded_is_left_out():
    old = record([], MEASURES)
    old = replace(old, seconds=None, origin=replace(old.origin, commit=None))
    assert origin(old).startswith("Measured 2026-11-21: Example CPU")


@pytest.mark.usefixtures("example")
def test_the_page_has_a_section_for_every_record_and_says_how_to_run_it_again(tmp_path):
    write(record([], MEASURES), tmp_path / "example.json")
    shown = render(tmp_path)
    assert shown.startswith(page.HEAD)
    assert "## An example" in shown
    assert "`python benchmarks/example.py --json benchmarks/results/example.json`" in shown


@pytest.mark.usefixtures("example")
def test_a_benchmark_that_never_ran_has_no_section(tmp_path):
    assert "##" not in render(tmp_path)


def test_a_finished_benchmark_is_printed_and_written(tmp_path, capsys):
    rows = [Row({"model": "a"}, {"seconds": Figure(0.5)})]
    assert EXAMPLE.finish({"rounds": 3}, lambda: rows, tmp_path / "example.json") == 0
    kept = read(tmp_path / "example.json")
    assert (kept.rows, kept.settings) == (rows, {"rounds": 3})
    assert "| a table |" in capsys.readouterr().out


def test_without_a_file_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    EXAMPLE.finish({}, list, None)
    assert list(tmp_path.iterdir()) == []
