"""`multiedge compare` from words on the command line to rows, tables and pictures, with the model and its costs faked."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from multiedge.cli import build_parser
from multiedge.commands import compare as command
from multiedge.errors import ConfigError
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile

FLEET = synthetic_fleet((1, 1, 1), seed=3)
GRAPH = synthetic_graph(30, seed=1)
PROFILE = synthetic_profile(GRAPH, FLEET, seed=2)
SOME = "throughput,latency,equal_flops,manual"


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "read_fleet", lambda path: FLEET)
    monkeypatch.setattr(command._options, "read_sized", lambda args, profile=None: GRAPH)
    monkeypatch.setattr(command, "node_costs", lambda graph, fleet, path, reference: PROFILE)


def compare(*words: str) -> int:
    return command.run(build_parser("compare").parse_args(["compare", "model.onnx", "--devices", "devices.yaml", *words]))


def test_json_has_a_row_for_each_strategy_and_reasons_for_the_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--strategies", SOME, "--json") == 0
    rows = {row["strategy"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert list(rows) == SOME.split(",")
    assert "needs partition_points" in rows["manual"]["failure"]
    assert rows["throughput"]["ratio_to_best"]["throughput"] == 1.0
    assert rows["latency"]["ratio_to_best"]["latency"] == 1.0
    assert rows["equal_flops"]["ratio_to_best"]["throughput"] > 1.0
    assert rows["equal_flops"]["gap"] is None
    assert rows["throughput"]["lower_bound"] <= rows["throughput"]["value"]


def test_the_table_has_numbers_side_by_side() -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    command.show(GRAPH, command.compare(PROFILE, FLEET, SOME.split(",")), console)
    text = console.export_text()
    assert "1.00x" in text
    assert "manual: no plan:" in text
    assert "…" not in text


def test_the_table_fits_80_columns_without_cutting_a_cell() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    command.show(GRAPH, command.compare(PROFILE, FLEET, SOME.split(",")), console)
    table, left_out = console.export_text().split("not shown in 80 columns: ")
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "…" not in table
    assert {"strategy", "items/s", "J/item", "memory"} <= set(table.split())
    assert "of best" in left_out


def test_pictures_are_sound_svg_with_every_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare("--strategies", "throughput,single", "-o", str(tmp_path / "new"))
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names >= {"pareto-latency.svg", "pareto-memory.svg", "graph-throughput.svg", "graph-single.svg"}
    roots = {name: ElementTree.fromstring((tmp_path / "new" / name).read_text()) for name in names}
    assert {root.tag for root in roots.values()} == {"{http://www.w3.org/2000/svg}svg"}
    squares = roots["graph-throughput.svg"].findall(".//{http://www.w3.org/2000/svg}rect[{http://www.w3.org/2000/svg}title]")
    assert len(squares) == len(GRAPH.nodes)


def test_an_unknown_strategy_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'throughput'"):
        compare("--strategies", "thruput")


def test_a_bound_on_latency_compares_the_strategies_that_have_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--json", "--max-latency", "100") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["strategy"] for row in rows} == {"throughput", "energy"}
    with pytest.raises(ConfigError, match=r"'single' has no option 'max_latency_s'; partitioners that have it: throughput"):
        compare("--strategies", "throughput,single", "--max-latency", "100")


def test_no_plan_at_all_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--strategies", "manual") == 1
