"""`multiedge report`: what it writes and prints."""

from __future__ import annotations

import json

import pytest

from multiedge.cli import main
from multiedge.report.results import save_results
from tests.builders.reports import samples


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for result in samples():
        save_results(result, tmp_path / "results" / f"{result.name.replace(' ', '-')}.json")
    return tmp_path


def test_page_and_table(folder, capsys):
    assert main(["report", "results"]) == 0
    out, err = capsys.readouterr()
    assert err == "report: report.html\n"
    assert (folder / "report.html").stat().st_size > 10_000
    assert [line.split()[1] for line in out.splitlines()[5:10]] == ["exact", "exact", "manual", "equal_flops", "single"]


def test_the_table_fits_80_columns(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["report", "results"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_markdown_alone_writes_no_page(folder, capsys):
    assert main(["report", "results/exact.json", "results/single.json", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("### vit_b_16\n\n| rank | algorithm | fps [items/s ↑] |")
    assert not (folder / "report.html").exists()


def test_json_leaves_events_out(folder, capsys):
    assert main(["report", "results/exact.json", "--json", "--against", "results/single.json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert "measurements" not in found
    assert found["against"]["name"] == "single"
    assert {"name", "change", "within_noise", "note"} <= set(found["against"]["differences"][0])


def test_against_tells_noise_apart(folder, capsys):
    assert main(["report", "results/exact.json", "--against", "results/manual.json", "-o", "page.html"]) == 0
    out = capsys.readouterr().out
    assert "exact against manual:" in out
    fps = next(line for line in out.splitlines() if line.startswith("  fps:"))
    assert "better; resampled" in fps
    assert "Compared with manual" in (folder / "page.html").read_text(encoding="utf-8")


def test_trace_of_one_run(folder, capsys):
    assert main(["report", "results/exact.json", "--chrome-trace", "trace.json"]) == 0
    assert json.loads((folder / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["results", "--chrome-trace", "t.json"], "expected one results file that holds events, got 5"),
        (["nothing.json"], "nothing.json: no such results file"),
        (["empty"], "no results file in there"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, words, message):
    (folder / "empty").mkdir()
    assert main(["report", *words]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
