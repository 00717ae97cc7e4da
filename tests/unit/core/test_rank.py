import math
import threading
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from core.storymanager.rank.rank import Rank, Selection, parse_rank
from core.storymanager.rank.table import Table, read_table, table_of, write_table
from core.storymanager.visualization.picture import draw
from core.testcasecontroller.algorithm.algorithm import Algorithm
from core.testcasecontroller.testcase.testcase import Outcome
from multiedge.errors import ConfigError
from multiedge.formats.fields import Field


def outcome(name="a", time="2026-01-01 00:00:00", url="w/a/1", hyperparameters=None, **metrics):
    module = SimpleNamespace(type="basemodel", name="BaseModel", hyperparameters=hyperparameters or {})
    return Outcome(Algorithm(name, "multiedgeinference", "", {"basemodel": module}), metrics, time, url)


def rank_file(folder, name="all_rank.csv"):
    return (folder / "rank" / name).read_text(encoding="utf-8").splitlines()


def test_columns_come_in_ianvss_order():
    table = table_of([outcome(fps=1.0, accuracy=2.0, hyperparameters={"lr": 1, "cut": "h"})])
    assert table.columns == (
        *("rank", "algorithm", "fps", "accuracy", "paradigm", "basemodel"),
        *("basemodel-lr", "basemodel-cut", "time", "url"),
    )


def test_what_a_row_does_not_have_is_nan():
    table = table_of([outcome("a", fps=math.nan), outcome("b", fps=1, hyperparameters={"lr": 1})])
    a, b = table.lines()
    assert a == ["1", "a", "NaN", "multiedgeinference", "BaseModel", "NaN", "2026-01-01 00:00:00", "w/a/1"]
    assert b[2] == "1"
    assert "NaN" not in b


@pytest.mark.parametrize(("direction", "order"), [("ascend", "bacd"), ("descend", "cabd"), ("anything", "cabd")])
def test_any_word_but_ascend_descends_and_nan_is_last(tmp_path, direction, order):
    rank = parse_rank(Field({"sort_by": [{"fps": direction}]}, "rank"), ["fps"])
    done = [outcome("d", fps=math.nan), outcome("a", fps=9.5), outcome("b", fps=2), outcome("c", fps=10)]
    assert "".join(row["algorithm"] for row in rank.save(done, str(tmp_path)).rows) == order


def test_the_metric_that_ianvss_own_examples_sort_by_and_lack_is_skipped(caplog):
    rank = parse_rank(Field({"sort_by": [{"mota": "descend"}, {"fps": "ascend"}]}, "r"), ["fps"])
    assert rank.sort_by == (("fps", True),)


def test_the_first_metric_counts_most():
    rank = Rank(sort_by=(("accuracy", False), ("fps", True)))
    done = [outcome("a", accuracy=1, fps=1), outcome("b", accuracy=2, fps=5), outcome("c", accuracy=2, fps=4)]
    assert [row["algorithm"] for row in table_of(done).sorted(rank.sort_by).rows] == ["c", "b", "a"]


def test_words_sort_between_numbers_and_missing_values():
    done = [outcome(name, fps=value) for name, value in {"a": None, "b": "n<64", "c": 3}.items()]
    done[0] = outcome("a", fps=math.nan)
    assert [row["algorithm"] for row in table_of(done).sorted([("fps", False)]).rows] == ["c", "b", "a"]


def test_a_rerun_appends_and_sorts_again(tmp_path):
    rank = Rank(sort_by=(("fps", False),))
    rank.save([outcome("a", fps=2.0), outcome("b", fps=4.0)], str(tmp_path))
    rank.save([outcome("c", time="2026-01-02 00:00:00", url="w/c/2", fps=3.0)], str(tmp_path))
    assert [[*line.split(",")[:3], line.split(",")[-3]] for line in rank_file(tmp_path)] == [
        ["rank", "algorithm", "fps", "run"],
        *(["1", "b", "4.0", "1"], ["2", "c", "3.0", "2"], ["3", "a", "2.0", "1"]),
    ]


def test_saving_after_each_test_case_keeps_the_number_of_the_run(tmp_path):
    rank = Rank(sort_by=(("fps", False),))
    rank.save([outcome("a", url="w/1", fps=1.0)], str(tmp_path))
    second = [outcome("a", url="w/2", fps=2.0), outcome("b", url="w/3", fps=3.0)]
    for count in (1, 2):
        rank.save(second[:count], str(tmp_path))
    rank.save([outcome("a", url="w/4", fps=4.0)], str(tmp_path))
    assert [(row["url"], row["run"]) for row in read_table(str(tmp_path / "rank" / "all_rank.csv")).rows] == [
        ("w/4", "3"),
        ("w/3", "2"),
        ("w/2", "2"),
        ("w/1", "1"),
    ]


def test_runs_at_the_same_time_lose_no_row(tmp_path):
    def run(number):
        done = [outcome("a", url=f"w/{number}/{case}", fps=1.0) for case in range(4)]
        for count in range(1, 5):
            Rank().save(done[:count], str(tmp_path))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = read_table(str(tmp_path / "rank" / "all_rank.csv")).rows
    assert len({row["url"] for row in rows}) == len(rows) == 16
    assert len({(row["url"].split("/")[1], row["run"]) for row in rows}) == 4


def test_a_rerun_with_other_columns_keeps_the_old_ones(tmp_path):
    Rank().save([outcome("a", fps=2.0, hyperparameters={"lr": 1})], str(tmp_path))
    selected = Rank().save([outcome("b", url="w/b/2", accuracy=90.0)], str(tmp_path))
    assert rank_file(tmp_path) == [
        "rank,algorithm,accuracy,fps,paradigm,basemodel,basemodel-lr,run,time,url",
        "1,a,NaN,2.0,multiedgeinference,BaseModel,1,1,2026-01-01 00:00:00,w/a/1",
        "2,b,90.0,NaN,multiedgeinference,BaseModel,NaN,2,2026-01-01 00:00:00,w/b/2",
    ]
    assert selected.metrics == ("accuracy",)


def test_selected_rank_drops_rows_that_differ_in_time_and_url_alone(tmp_path):
    for day in "12":
        Rank().save([outcome(time=f"2026-01-0{day} 00:00:00", url=f"w/{day}", fps=1.0)], str(tmp_path))
    assert len(rank_file(tmp_path)) == 3
    assert [line[-5:] for line in rank_file(tmp_path, "selected_rank.csv")] == ["e,url", "0,w/1"]


def test_selection_picks_columns_and_paradigms():
    table = table_of([outcome(fps=1, accuracy=2, hyperparameters={"lr": 1, "cut": 2})])
    picked = Selection(metrics=("accuracy", "unknown"), hyperparameters=("basemodel-cut",)).of(table, table)
    assert picked.columns[2:-2] == ("accuracy", "unknown", "paradigm", "basemodel", "basemodel-cut")
    assert Selection(paradigms=("other",)).of(table, table).rows == ()


@pytest.mark.parametrize(
    ("mode", "files"),
    [
        ("selected_and_all", {"all_rank.csv", "selected_rank.csv"}),
        ("selected_only", {"selected_rank.csv"}),
        ("selected_and_all_and_picture", {"all_rank.csv", "selected_rank.csv", "selected_rank.svg"}),
    ],
)
def test_save_modes(tmp_path, mode, files):
    Rank(save_mode=mode).save([outcome(fps=1)], str(tmp_path))
    assert {path.name for path in (tmp_path / "rank").iterdir()} == files


def test_a_picture_has_a_bar_for_each_number(tmp_path):
    draw(table_of([outcome("a<b", fps=4.0), outcome("c", fps=2.0), outcome("d", fps=math.nan)]), str(tmp_path / "p.svg"))
    assert widths(tmp_path / "p.svg") == [420.0, 210.0, 0.0]


SVG = "{http://www.w3.org/2000/svg}"


def widths(path):
    return [float(bar.get("width")) for bar in ElementTree.parse(path).iter(f"{SVG}rect") if bar.get("class") == "bar"]


def test_a_picture_has_names_that_differ_and_figures_with_units(tmp_path):
    rows = [outcome("a", fps=1234.56789, peak_memory_bytes=2e8, hyperparameters={"strategy": s, "depth": 2}) for s in "xy"]
    draw(table_of(rows), str(tmp_path / "p.svg"))
    words = [text.text for text in ElementTree.parse(tmp_path / "p.svg").iter(f"{SVG}text")]
    assert words == [
        *("fps (items/s, higher is better)", "1. a, strategy=x", "1,235", "2. a, strategy=y", "1,235"),
        *("peak_memory (MiB, lower is better)", "1. a, strategy=x", "191", "2. a, strategy=y", "191"),
    ]


def test_nothing_in_a_picture_is_cut_off(tmp_path):
    draw(table_of([outcome("a" * 80, fps=1.0)]), str(tmp_path / "p.svg"))
    root = ElementTree.parse(tmp_path / "p.svg").getroot()
    figure = list(root.iter(f"{SVG}text"))[-1]
    assert float(figure.get("x")) + 7.5 * len(figure.text) < float(root.get("width"))
    assert float(next(bar for bar in root.iter(f"{SVG}rect") if bar.get("class")).get("x")) > 80 * 7


def test_a_rank_file_comes_back_as_it_was_written(tmp_path):
    table = table_of([outcome("a, b", fps=1.5, hyperparameters={"lr": "x y"}), outcome("c", fps=2.0)])
    write_table(table, str(tmp_path / "r.csv"))
    again = read_table(str(tmp_path / "r.csv"))
    assert (again.columns, again.lines()) == (table.columns, table.lines())


def test_a_rank_file_of_ianvss_own_can_be_added_to(tmp_path):
    (tmp_path / "r.csv").write_text(
        "rank,algorithm,fps,peak_power,paradigm,basemodel,basemodel-lr,time,url\n"
        "1,a,3.17,,multiedgeinference,BaseModel,0.1,2026-01-01 00:00:00,./w/a\n",
        encoding="utf-8",
    )
    table = read_table(str(tmp_path / "r.csv"))
    assert (table.metrics, table.modules, table.hyperparameters) == (("fps", "peak_power"), ("basemodel",), ("basemodel-lr",))
    assert table.lines()[0][3] == "NaN"


HEADER = "rank,algorithm,fps,paradigm,basemodel,run,time,url\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (HEADER + "1,a\n", r"row 2: expected 8 values as the header names, got 2"),
        (HEADER + '1,"a\n', r"not valid CSV: "),
        (HEADER + "1,a,2,p,B,one,t,u\n", r"expected whole numbers in the column 'run'"),
        (HEADER + "\udcff", r"expected text in UTF-8"),
    ],
)
def test_a_damaged_rank_file_is_found_before_a_run(tmp_path, text, error):
    (tmp_path / "rank").mkdir()
    (tmp_path / "rank" / "all_rank.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=rf"all_rank\.csv.*{error}.*; move it away or name the job differently"):
        Rank().check(str(tmp_path))


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "rank algorithm fps\n"])
def test_a_file_that_is_no_rank_file_is_not_overwritten(tmp_path, text):
    (tmp_path / "rank").mkdir()
    (tmp_path / "rank" / "all_rank.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"all_rank.csv: not a rank file that a run can be added to"):
        Rank().save([outcome(fps=1)], str(tmp_path))
    assert (tmp_path / "rank" / "all_rank.csv").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"sortby": []}, r"r: unknown key 'sortby'; did you mean 'sort_by'\?"),
        ({"sort_by": "fps"}, r"r: sort_by: expected a list"),
        ({"sort_by": ["fps"]}, r"r: sort_by\[0\]: expected 'metric: ascend' or 'metric: descend', got 'fps'"),
        (
            {"sort_by": [{"fsp": "ascend"}]},
            r"r: sort_by\[0\]: no metric 'fsp' in the test environment; did you mean 'fps'\?",
        ),
        ({"save_mode": "all"}, r"r: save_mode: unknown value 'all'"),
        ({"visualization": {"method": "print_tabel"}}, r"r: visualization.method: .*did you mean 'print_table'\?"),
        ({"visualization": {"mode": "everything"}}, r"r: visualization.mode: unknown value 'everything'; known: selected_only"),
        ({"selected_dataitem": {"metrics": []}}, r"r: selected_dataitem.metrics: expected a list of at least 1 entry"),
    ],
)
def test_a_rank_section_that_cannot_be_used_is_one_clear_line(data, error):
    with pytest.raises(ConfigError, match=error):
        parse_rank(Field(data, "r"), ["fps"])


def test_an_empty_table_is_a_valid_one():
    assert Table((), (), ()).lines() == []
