"""A workflow of the benchmark, made by its prepare.py and run through `ianvs`."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from tests.builders.example_checkout import checkout, require_bench, run
from tests.builders.workflow_example import BENCH, ROOT

require_bench()

NAME = BENCH.relative_to(ROOT)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_cascade_is_at_least_as_right_as_its_best_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = checkout(tmp_path_factory)
    done = run(folder, f"{NAME}/prepare.py", "--workflow", "cascade")
    assert done.returncode == 0, done.stderr
    content = yaml.safe_load((folder / NAME / "benchmarkingjob.yaml").read_text())
    content["benchmarkingjob"]["repeat"] = 1
    (folder / "job.yaml").write_text(yaml.safe_dump(content))
    done = run(folder, "-m", "multiedge.ianvs.host", "-f", "./job.yaml")
    assert done.returncode == 0, done.stderr
    rows = leaderboard(folder / "workspace" / "workflows-compare")
    assert {row["asked"] for row in rows.values()} == {"20 photographs"}
    accuracy = {name: float(row["accuracy"]) for name, row in rows.items()}
    assert accuracy["cascade/workflow"] >= accuracy["cascade/large"] == 90.0
    assert all(float(row["latency_ms"]) > 0 for row in rows.values())


def leaderboard(workspace: Path) -> dict[str, dict[str, str]]:
    """The rows on one device, by their document."""
    with open(workspace / "rank" / "all_rank.csv", encoding="utf-8", newline="") as file:
        return {row["basemodel-workflow"]: row for row in csv.DictReader(file) if row["basemodel-fleet"] == "board"}
