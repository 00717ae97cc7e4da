"""What the documents name exists, and what a user can name is documented."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from multiedge.backends import BACKENDS
from multiedge.backends.composed.functions import TRANSFORMS
from multiedge.cli import COMMANDS
from multiedge.executors import EXECUTORS
from multiedge.load import PATTERNS, TARGETS
from multiedge.metrics import METRICS
from multiedge.transports import TRANSPORTS
from partitioners import PARTITIONERS
from profilers import PROFILERS

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
REGISTRIES = (PARTITIONERS, PROFILERS, BACKENDS, EXECUTORS, METRICS, TRANSPORTS, TRANSFORMS, PATTERNS, TARGETS)
GROUPS = {registry.group for registry in REGISTRIES}
DOTTED = re.compile(r"(?<![\w./-])(?:multiedge|partitioners|profilers|core)(?:\.[A-Za-z_]\w*)+(?!\w*[./]\w*\.(?:py|json))")
ELSEWHERE = {"multiedge/_host/core", "core/testcasecontroller/algorithm/paradigm/multiedge_inference"}
"""Paths in an installed package, or in a checkout of Ianvs."""
FILE = re.compile(r"(?<![\w./-])(?:multiedge|partitioners|profilers|core|examples|benchmarks|tests|docs)/[\w./*-]*")


def text(page):
    return (ROOT / page).read_text(encoding="utf-8")


def resolves(dotted):
    """Whether the name is a module, or an attribute that is reached through one."""
    first, *rest = dotted.split(".")
    found, path = import_module(first), first
    for name in rest:
        path = f"{path}.{name}"
        if not hasattr(found, name):
            try:
                import_module(path)
            except ImportError:
                return False
        found = getattr(found, name)
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_and_function_that_a_page_names_exists(page):
    named = {name for name in DOTTED.findall(text(page)) if name not in GROUPS and not name.endswith((".plan", ".yml"))}
    assert sorted(name for name in named if not resolves(name)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page):
    named = {name.rstrip(".*") for name in FILE.findall(text(page)) if "NAME" not in name and "..." not in name}
    assert sorted(name for name in named - ELSEWHERE if not list(ROOT.glob(name.rstrip("/") or "."))) == []


@pytest.mark.parametrize(
    ("registry", "page"),
    [
        (PARTITIONERS, "docs/strategies.md"),
        (PROFILERS, "docs/profiling.md"),
        (EXECUTORS, "docs/pipeline.md"),
        (TRANSPORTS, "docs/pipeline.md"),
        (METRICS, "docs/metrics.md"),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_everything_that_can_be_chosen_by_name_is_documented(registry, page):
    shown = text(page)
    assert [name for name in registry.names() if f"`{name}`" not in shown and f" {name}`" not in shown] == []


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_every_entry_point_group_is_documented(registry):
    assert f"`{registry.group}`" in text("docs/architecture.md")


def test_the_layers_on_the_page_are_those_of_the_import_contract():
    layers = text("pyproject.toml").split("layers = [")[1].split("\n]")[0]
    contract = [layer.split(" | ") for layer in re.findall('"(.+)"', layers)]
    section = text("docs/architecture.md").split("## Layers")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert [re.findall(r"`([\w.]+)`", row) for row in rows] == contract


def test_every_command_has_a_row_or_an_example_in_the_manual():
    pages = "".join(text(page) for page in PAGES if page.name != "commands.md")
    assert [name for name in COMMANDS if f"multiedge {name}" not in pages] == []
