"""The folder of a benchmark: rows that are read again, tables, a picture and a page."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from multiedge.bench.folder import kept_rows, read_rows, results_data, save_rows, write_all
from multiedge.bench.summary import summarise
from multiedge.bench.tables import to_csv, to_latex
from multiedge.errors import ConfigError
from tests.builders.bench import bench_row

ROWS = [
    bench_row("a_b", 2.0),
    bench_row("random", 3.0, seed=0),
    bench_row("random", 5.0, seed=1),
    bench_row("refuses"),
    bench_row("a_b", 1.0, model="<n>"),
]


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    save_rows(tmp_path, ROWS)
    assert read_rows(tmp_path) == ROWS
    assert read_rows(tmp_path / "empty") == []


def test_rows_of_other_versions_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    save_rows(tmp_path, ROWS)
    assert kept_rows(tmp_path, ["multiedge 1"]) == ROWS
    with pytest.raises(ConfigError, match=r"results.json: its rows are of multiedge 1; here: multiedge 2; .*--fresh"):
        kept_rows(tmp_path, ["multiedge 2"])


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected results of `multiedge bench`, version 1; give another folder"):
        read_rows(tmp_path)


def test_the_csv_has_every_row_and_nothing_where_nothing_is_known() -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(ROWS))))
    assert len(lines) == len(ROWS)
    assert (lines[0]["throughput_over_single"], lines[0]["items_per_s"], lines[0]["seed"]) == ("2.0", "0.5", "")
    assert float(lines[1]["throughput_to_best"]) == pytest.approx(1.5)
    assert (lines[3]["status"], lines[3]["value"], lines[3]["latency_to_best"]) == ("refused", "", "")
    assert lines[3]["reason"] == "too large, by 3_4 %"


def test_the_latex_table_has_equal_columns_in_every_line_and_escapes_names() -> None:
    text = to_latex(summarise(ROWS), "1")
    assert r"a\_b & 2/2 & 1.00" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count(" & ") for line in body} == {7}
    assert text.index(r"\providecommand{\toprule}") < text.index(r"\begin{tabular}")
    assert text.count("{") == text.count("}")


def test_data_have_the_suite_only_where_all_rows_are_of_it() -> None:
    assert results_data(ROWS)["suite"] == "1"
    mixed = results_data([*ROWS, bench_row("a_b", 1.0, model="own", suite="")])
    assert mixed["suite"] == ""
    json.dumps(mixed, allow_nan=False)


def test_everything_is_written_and_well_formed(tmp_path: Path) -> None:
    written = write_all(tmp_path, ROWS)
    assert [path.name for path in written] == ["results.json", "results.csv", "table.tex", "figure.svg", "report.html"]
    picture = ElementTree.parse(tmp_path / "figure.svg").getroot()
    texts = ["".join(each.itertext()) for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a_b", "random", "refuses", "latency", "no plan"} <= set(texts)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "refused: too large, by 3_4 %" in page
    assert "&lt;n&gt;" in page
    assert "<n>" not in page
