"""report.html: one self-contained page for one run or a whole leaderboard.

Style, script and pictures are in the file, and its content security policy forbids to load anything else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from multiedge import __version__
from multiedge.errors import ConfigError
from multiedge.files import write_text
from multiedge.formats.documents import read_json
from multiedge.report import standings, views
from multiedge.report.compare import compare
from multiedge.report.results import SCHEMA, RunResult, from_json, load_results
from multiedge.report.units import human

TITLE = "Multi-edge inference: results"


def write_report(
    results: Sequence[RunResult | Mapping[str, Any]],
    path: str | os.PathLike[str],
    *,
    title: str = TITLE,
    failed: Iterable[tuple[str, str]] = (),
    against: RunResult | None = None,
) -> Path:
    """Writes results as one HTML page that works offline.

    Args:
        results: Runs, as RunResult or as the JSON data of results files.
        path: The file to write.
        title: Heading of the page.
        failed: (test case, reason) pairs of runs without results.
        against: A run with which each of the others is compared.

    Returns:
        The path of the page.

    Raises:
        ConfigError: If there is nothing to show.
    """
    runs = [entry if isinstance(entry, RunResult) else from_json(entry, f"results[{n}]") for n, entry in enumerate(results)]
    failures = list(failed)
    if not runs and not failures:
        raise ConfigError(f"{path}: expected at least one results file to report on, got none; write one with `multiedge run`")
    return write_text(path, render_page(runs, title=title, failed=failures, against=against))


def render_page(
    results: Sequence[RunResult],
    *,
    title: str = TITLE,
    failed: Sequence[tuple[str, str]] = (),
    against: RunResult | None = None,
) -> str:
    """The page's HTML."""
    ranked = standings.rank(results)
    groups = standings.groups(ranked)
    environment = Environment(
        loader=PackageLoader("multiedge.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"human": human, "percent": _percent, "signed": _signed, "words": _words}
    return environment.get_template("report.html.j2").render(
        title=title,
        version=__version__,
        groups=groups,
        descriptions={column.name: column.description for group in groups for column in group.columns},
        failed=failed,
        results=ranked,
        trade_offs=any(group.trade_offs or group.overlay for group in groups),
        runs=[
            views.view(number, result, len(ranked), graph)
            for number, (result, graph) in enumerate(zip(ranked, views.graphs(ranked), strict=True), 1)
        ],
        against=against,
        differences=[(result, compare(result, against)) for result in ranked] if against else [],
        origins=_origins(ranked),
    )


def site(results_dir: str | os.PathLike[str], out: str | os.PathLike[str], **options: Any) -> Path:
    """One page for every results file below `results_dir`, whatever its name; a job calls this at its end.

    Other JSON files are ignored. `options` are those of `write_report`.
    """
    return write_report([load_results(path) for path in find_results(results_dir)], out, **options)


def find_results(directory: str | os.PathLike[str]) -> list[Path]:
    """Every results file below a folder, by path."""
    return [path for path in sorted(Path(directory).rglob("*.json")) if _is_results(path)]


def _is_results(path: Path) -> bool:
    try:
        data = read_json(path)
    except ConfigError:  # not JSON: another file of the job
        return False
    return "schema" in data and data["schema"].value == SCHEMA


def _origins(results: Sequence[RunResult]) -> list[tuple[list[int], RunResult]]:
    """The environments of the runs: the numbers of the runs that share machine, versions and commit, and one of those runs."""
    groups: dict[str, tuple[list[int], RunResult]] = {}
    for number, result in enumerate(results, 1):
        key = json.dumps([result.machine, result.versions, result.commit], sort_keys=True, default=str)
        groups.setdefault(key, ([], result))[0].append(number)
    return list(groups.values())


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{share:.0%}"


def _signed(share: float | None) -> str:
    return "–" if share is None else f"{share:+.1%}".replace("-", "−")


def _words(value: Any) -> str:
    """A setting as text: lists joined, mappings as `key: value`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_words(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_words, value)) or "none"
    return (
        {True: "yes", False: "no", None: "none"}.get(value, str(value)) if isinstance(value, (bool, type(None))) else str(value)
    )
