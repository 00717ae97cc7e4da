import json

import pytest

from benchmarks.record import Figure, Measure, Origin, Row, read, write
from tests.builders.records import record

SECONDS = {"seconds": Measure("s", "wall time of one call")}


def written(tmp_path, **changes):
    """A valid file of one row, with these keys changed."""
    path = tmp_path / "example.json"
    write(record([Row({"model": "a"}, {"seconds": Figure(1.5)})], SECONDS), path)
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**data, **changes}), encoding="utf-8")
    return path


def test_a_record_is_read_as_it_was_written(tmp_path):
    rows = [
        Row({"model": "a", "nbytes": 16}, {"seconds": Figure(0.25, 0.2, 0.3)}),
        Row({"model": "b", "nbytes": 16}, failure="no room"),
    ]
    original = record(rows, SECONDS)
    write(original, tmp_path / "example.json")
    assert read(tmp_path / "example.json") == original


def test_each_row_is_one_line_so_that_a_change_shows_as_one_line(tmp_path):
    rows = [Row({"model": name}, {"seconds": Figure(1.0)}) for name in "abc"]
    write(record(rows, SECONDS), tmp_path / "example.json")
    lines = (tmp_path / "example.json").read_text(encoding="utf-8").splitlines()
    assert sum('"case"' in line for line in lines) == 3


def test_figures_are_kept_with_five_significant_digits_and_counts_whole(tmp_path):
    figures = {"seconds": Figure(0.123456789), "count": Figure(1234567)}
    write(record([Row({"model": "a"}, figures)], {**SECONDS, "count": Measure("1", "nodes")}), tmp_path / "example.json")
    kept = read(tmp_path / "example.json").rows[0].figures
    assert kept == {"seconds": Figure(0.12346), "count": Figure(1234567)}


def test_one_sample_has_no_spread():
    assert Figure.of([3.0]) == Figure(3.0)


def test_the_spread_of_several_samples_is_their_quartiles():
    assert Figure.of([5.0, 1.0, 4.0, 2.0, 3.0]) == Figure(3.0, 2.0, 4.0)


def test_a_measure_that_was_not_taken_has_no_median():
    assert Row({"model": "a"}).median("seconds") is None


def test_a_row_is_found_by_part_of_its_case():
    rows = [Row({"executor": name, "nbytes": size}) for name in ("ray", "remote") for size in (16, 32)]
    assert record(rows, {}).row(executor="remote", nbytes=32) is rows[3]


def test_a_row_that_is_missing_is_an_error_with_its_case():
    with pytest.raises(LookupError, match=r"'example' has no row for \{'model': 'b'\}"):
        record([Row({"model": "a"})], {}).row(model="b")


def test_another_schema_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"example\.json: no record of a benchmark: expected the schema 'multiedge-benchmark/1'"
    ):
        read(written(tmp_path, schema="multiedge-results/1"))


def test_a_field_that_is_unknown_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"example\.json: no record of a benchmark: .*'colour'"):
        read(written(tmp_path, colour="red"))


def test_a_figure_without_a_measure_is_refused(tmp_path):
    with pytest.raises(ValueError, match="rows have figures without a measure: seconds"):
        read(written(tmp_path, measures={}))


def test_a_file_that_is_no_json_is_refused(tmp_path):
    path = tmp_path / "example.json"
    path.write_text("not JSON", encoding="utf-8")
    with pytest.raises(ValueError, match=r"example\.json: no record of a benchmark"):
        read(path)


def test_the_origin_names_machine_and_versions_but_no_host_or_path():
    here = Origin.here()
    assert set(here.machine) == {"processor", "cores", "memory_gib", "system", "architecture"}
    assert {"python", "numpy", "onnx"} <= set(here.versions)
    assert "/" not in json.dumps(here.versions)
