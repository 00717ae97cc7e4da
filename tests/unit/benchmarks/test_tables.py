from benchmarks.record import Figure, Measure, Row
from benchmarks.tables import between, case, figure, markdown, medians, spread, table
from tests.builders.records import record


def test_cells_are_aligned_so_that_a_terminal_shows_the_table_too():
    assert markdown(["name", "ms"], [["a", "12.5"], ["longer name", "1"]]) == (
        "| name        |   ms |\n"
        "| ----------- | ---: |\n"
        "| a           | 12.5 |\n"
        "| longer name |    1 |"
    )  # fmt: skip


def test_figures_are_scaled_and_formatted():
    assert figure("seconds", "ms", ".1f", 1e3).text(Row({}, {"seconds": Figure(0.0125)})) == "12.5"


def test_what_was_not_measured_is_shown_as_such_and_never_as_zero():
    columns = [figure("seconds", "s", ".1f"), spread("seconds", "s", ".1f")]
    assert [column.text(Row({})) for column in columns] == ["-", "-"]


def test_a_spread_stands_behind_the_median():
    assert spread("ratio", "%", ".0f", 100).text(Row({}, {"ratio": Figure(0.99, 0.9, 1.2)})) == "99 (90 to 120)"


def test_an_unknown_spread_is_left_out():
    assert spread("ratio", "%", ".0f", 100).text(Row({}, {"ratio": Figure(0.99)})) == "99"


def test_zero_has_no_sign():
    assert figure("drift", "%", "+.0f", 100).text(Row({}, {"drift": Figure(-0.0)})) == "+0"


def test_a_table_has_a_line_for_each_row():
    rows = [Row({"model": "a"}, {"fps": Figure(1.0)}), Row({"model": "b"}, failure="no room")]
    lines = table([case("model"), figure("fps", "items/s", ".1f")], rows).splitlines()
    assert lines[2:] == ["| a     |     1.0 |", "| b     |       - |"]


def test_a_range_whose_ends_read_alike_is_one_figure():
    assert between([1.21, 1.24], ".1f") == "1.2"
    assert between([3.4, 1.2, 2.0], ".1f") == "1.2 to 3.4"


def test_medians_leave_out_rows_without_the_measure():
    rows = [Row({"model": "a"}, {"fps": Figure(2.0)}), Row({"model": "b"})]
    assert medians(record(rows, {"fps": Measure("1/s", "rate")}), "fps") == [2.0]
