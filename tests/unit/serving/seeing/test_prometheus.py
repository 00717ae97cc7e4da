from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client import openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

from multiedge.network.records import Deployment, HeldStage, HubState, LinkState, NodeState
from multiedge.network.runs import LATENCY_BOUNDS_S
from multiedge.serving.inference.statistics import Duration, Statistics
from multiedge.serving.seeing.prometheus import Exposition, hub_metrics, inference_metrics, node_metrics
from multiedge.serving.seeing.watch import Watch, heard_run, looked
from tests.builders.reports_of_runs import fault, report

NODE = NodeState(
    'a"\\\n',
    "10.0.0.1:8471",
    memory_bytes=8 << 30,
    free_bytes=6 << 30,
    load=0.25,
    stages=(HeldStage("d", 0, memory_bytes=1000), HeldStage("d", 1, phase="fetching")),
    links=(LinkState("b", 1e6, 0.002), LinkState("c")),
    version="0.1.0",
    started_s=5000.0,
)
BASE_UNITS = ("seconds", "bytes", "ratio", "per_second", "total", "info")
COUNTS = {"multiedge_node_threads", "multiedge_node_workers", "multiedge_node_stage", "multiedge_hub_connections"}
COUNTS |= {"multiedge_hub_node_up", "multiedge_hub_deployment_ready", "multiedge_hub_runs"}


def _of_node() -> str:
    return Exposition().text(node_metrics(NODE, 2))[0].decode()


def _of_hub() -> str:
    watch = looked(looked(Watch(), {}, [NodeState("a", "x:1"), NodeState("b", "x:2")], 0.0, 0.0), {}, [], 2.0, 2.0)
    for second, each in enumerate((report(1.0, 10), report(2.0, 60, failed=2, faults=(fault(),), fault_counts={"ended": 1}))):
        watch = heard_run(watch, each, 2.0 + second, 2.0 + second)
    state = HubState("0.1.0", 10.0, 0.1, 1 << 20, 2, 1, 4096, 3)
    return Exposition().text(hub_metrics(state, watch, [Deployment("d", "p", "m", phase="ready")], 3.0))[0].decode()


def _of_front_end() -> str:
    times = {name: Duration(3, 2_000_000_000) for name in ("queue", "compute_input", "compute_infer", "compute_output")}
    exposition = Exposition()
    exposition.add(lambda: inference_metrics([("vit", Statistics(0, Duration(3, 8), Duration(1, 500_000_000), **times))]))
    return exposition.text(())[0].decode()


def _samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def test_a_node_tells_its_memory_its_stages_and_its_links() -> None:
    samples = _samples(_of_node())
    assert samples["multiedge_node_info", (("node", 'a"\\\n'), ("version", "0.1.0"))] == 1
    assert samples["multiedge_node_memory_free_bytes", ()] == 6 << 30
    assert samples["multiedge_node_stage", (("deployment", "d"), ("phase", "fetching"), ("stage", "1"))] == 1
    assert samples["multiedge_node_link_bandwidth_bytes_per_second", (("peer", "b"),)] == 1e6
    assert samples["multiedge_node_workers", ()] == 2
    assert any(name == "process_cpu_seconds_total" for name, _ in samples)


def test_what_is_not_known_has_no_sample() -> None:
    names = [name for name, _ in _samples(_of_node())]
    assert "multiedge_node_battery_ratio" not in names
    assert names.count("multiedge_node_stage_memory_bytes") == 1
    assert names.count("multiedge_node_link_round_trip_seconds") == 1


def test_a_hub_tells_what_runs_did() -> None:
    samples = _samples(_of_hub())
    assert samples["multiedge_run_items_total", (("model", "m"), ("result", "answered"))] == 60
    assert samples["multiedge_run_items_total", (("model", "m"), ("result", "failed"))] == 2
    assert samples["multiedge_run_sent_bytes_total", (("source", "a"), ("target", "b"))] == 60000
    assert samples["multiedge_run_device_busy_seconds_total", (("device", "a"),)] == 1.0
    assert samples["multiedge_faults_total", (("kind", "ended"),)] == 1
    assert samples["multiedge_faults_total", (("kind", "lost"),)] == 2
    assert samples["multiedge_hub_node_up", (("node", "a"),)] == 0
    assert samples["multiedge_hub_deployment_ready", (("deployment", "d"), ("model", "m"))] == 1
    assert samples["multiedge_hub_runs", ()] == 1


def test_a_front_end_tells_what_requests_took() -> None:
    samples = _samples(_of_front_end())
    assert samples["multiedge_inference_requests_total", (("model", "vit"), ("result", "answered"))] == 3
    assert samples["multiedge_inference_requests_total", (("model", "vit"), ("result", "failed"))] == 1
    assert samples["multiedge_inference_seconds_total", (("model", "vit"), ("phase", "compute"))] == 2.0
    assert samples["multiedge_inference_seconds_total", (("model", "vit"), ("phase", "failed"))] == 0.5


def test_latencies_are_a_cumulative_histogram() -> None:
    samples = _samples(_of_hub())
    buckets = [
        samples["multiedge_run_latency_seconds_bucket", (("le", str(bound)), ("model", "m"))] for bound in LATENCY_BOUNDS_S
    ]
    assert buckets == sorted(buckets)
    assert buckets[LATENCY_BOUNDS_S.index(0.01)] == 0
    assert buckets[LATENCY_BOUNDS_S.index(0.025)] == 60
    assert samples["multiedge_run_latency_seconds_count", (("model", "m"),)] == 60
    assert samples["multiedge_run_latency_seconds_sum", (("model", "m"),)] == pytest.approx(1.2)


@pytest.mark.parametrize("text", [_of_node, _of_hub, _of_front_end])
def test_names_end_with_their_unit(text) -> None:
    for family in parse_text(text()):
        if family.name.startswith("multiedge_"):
            assert re.fullmatch(r"[a-z][a-z_]*[a-z]", family.name)
            assert family.documentation.endswith(".")
            counted = family.type == "counter" or family.name in COUNTS
            assert counted or family.name.endswith(BASE_UNITS), family.name


@pytest.mark.parametrize("text", [_of_node, _of_hub, _of_front_end])
def test_the_documentation_lists_every_metric(text) -> None:
    documented = (Path(__file__).parents[4] / "docs" / "seeing.md").read_text(encoding="utf-8")
    for family in parse_text(text()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert not name.startswith("multiedge_") or f"`{name}`" in documented, name


def test_a_scrape_that_prefers_openmetrics_gets_it() -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    text, content_type = Exposition().text(node_metrics(NODE, 0), accept)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert "multiedge_node_memory_free_bytes" in {family.name for family in parse_open(text.decode())}
    assert openmetrics.exposition.CONTENT_TYPE_LATEST.startswith("application/openmetrics-text")


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (apt-get install prometheus)")
@pytest.mark.parametrize("text", [_of_node, _of_hub, _of_front_end])
def test_promtool_finds_nothing_to_correct(text) -> None:
    own = "\n".join(line for line in text().splitlines() if "process_" not in line) + "\n"
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=own, capture_output=True, text=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
