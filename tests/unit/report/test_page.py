"""The page as text: what must be on it, what must not."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from multiedge.errors import ConfigError
from multiedge.formats.fields import Field
from multiedge.measurements import Item
from multiedge.metrics import MetricValue
from multiedge.report.encode import graph_to_json, read_graph
from multiedge.report.page import find_results, render_page, site, write_report
from multiedge.report.results import RunResult, save_results, to_json
from tests.builders.reports import FLEET, pipeline, sample, samples

COLOURS = {name: number for number, name in enumerate(FLEET.names)}
VOID = {"meta", "link", "br"}


class Outline(HTMLParser):
    """Checks that tags are balanced, and collects ids, links and headings."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.headings = [], [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"


@pytest.fixture(scope="module")
def page():
    return render_page(samples(), failed=[("equal_parameters", "no plan fits <any> device")], against=samples()[2])


@pytest.fixture(scope="module")
def outline(page):
    found = Outline()
    found.feed(page)
    return found


def test_tags_are_balanced_and_ids_unique(outline):
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))


def test_every_link_stays_within_the_page(outline):
    assert all(link.startswith(("#", "data:")) for link in outline.links)
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)


def test_no_address_is_loaded(page):
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\(""", page)
    assert "default-src 'none'" in page


def test_headings_skip_no_level(outline):
    levels = outline.headings
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_page_is_under_a_megabyte(page):
    assert len(page.encode()) < 1_000_000


@pytest.mark.parametrize("runs", [12, 30])
def test_many_runs_are_under_a_megabyte(runs):
    many = [sample(f"run {n}", (0.041, 0.043 + n / 1000, 0.042), seed=n) for n in range(runs)]
    assert len(render_page(many).encode()) < 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "Leaderboard",
        "no plan fits &lt;any&gt; device",
        "Around the device fault of raspberry-pi",
        "n&lt;662",
        "unplugged, then back",
        "within noise",
        "Example CPU",
        "0123456789ab",
        "proven optimal among contiguous plans",
        "4 warm-up items",
        "Not measured in any run: ",
        "peak gpu memory bytes",
    ],
)
def test_page_says(page, text):
    assert text in page


def test_names_are_escaped():
    text = render_page([sample("<script>alert(1)</script>", (0.04, 0.05))])
    assert "<script>alert" not in text


def test_same_results_make_the_same_page():
    assert render_page(samples()) == render_page(samples()[::-1])


def test_figures_alone_make_a_page():
    bare = RunResult("bare", {"fps": MetricValue(2.0, "items/s", "higher", "")})
    assert "2" in render_page([bare])


def test_report_from_json_data(tmp_path):
    data = json.loads(json.dumps(to_json(samples()[0])))
    path = write_report([data], tmp_path / "deep" / "report.html")
    assert "exact" in path.read_text(encoding="utf-8")


def test_nothing_to_report_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="at least one results file"):
        write_report([], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_only_failures_make_a_page(tmp_path):
    assert "too small" in write_report([], tmp_path / "r.html", failed=[("a", "too small")]).read_text(encoding="utf-8")


def test_site_finds_results_whatever_their_name(tmp_path):
    save_results(samples()[0], tmp_path / "case1" / "output" / "results.json")
    save_results(samples()[3], tmp_path / "case2" / "other-name.json")
    (tmp_path / "plan.json").write_text('{"version": 1}', encoding="utf-8")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    assert len(find_results(tmp_path)) == 2
    text = site(tmp_path, tmp_path / "report.html", title="Two cases").read_text(encoding="utf-8")
    assert "Two cases" in text
    assert ">single</a>" in text


def test_graph_comes_back_from_json():
    graph = sample("a", (0.1, 0.2)).graph
    again = read_graph(Field(json.loads(json.dumps(graph_to_json(graph))), "graph"))
    assert [node.reads for node in again.nodes] == [node.reads for node in graph.nodes]


def test_unanswered_items_do_not_stop_the_page():
    run = replace(pipeline((0.1,), items=12), items=(Item(0, 0.0, 0.0, float("inf")),))
    result = replace(sample("lost", (0.1,)), measurements=run)
    assert "lost" in render_page([result])
