"""Metrics of a node and of a hub for Prometheus: names, units and types by its conventions.

https://prometheus.io/docs/practices/naming/: base units, which end the name; `_total` ends that of a counter, `_info` that of a
constant 1 with labels. What is not known has no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from multiedge.errors import MissingDependencyError
from multiedge.network.records import Deployment, HubState, NodeState
from multiedge.network.runs import LATENCY_BOUNDS_S, LatencyCounts
from multiedge.serving.inference.statistics import Statistics
from multiedge.serving.seeing.watch import Totals, Watch

try:
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
    from prometheus_client.exposition import choose_encoder
except ImportError:
    raise MissingDependencyError("prometheus_client", extra="fleet") from None

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

Rows = Iterable[tuple[tuple[str, ...], float | None]]


class Exposition:
    """Answers scrapes; the process itself is measured, too."""

    def __init__(self) -> None:
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)
        self._sources: list[Callable[[], Iterable[Metric]]] = []

    def add(self, source: Callable[[], Iterable[Metric]]) -> None:
        """From now on a scrape has the metrics of the source, too."""
        self._sources.append(source)

    def text(self, families: Iterable[Metric], accept: str = "") -> tuple[bytes, str]:
        """The metrics in the format that `accept`, the header of the scrape, prefers, and its content type."""
        encoder, content_type = choose_encoder(accept)
        added = [family for source in self._sources for family in source()]
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Given((*families, *added, *self._process.collect())))
        return encoder(registry), content_type


class _Given:
    """A collector of metrics that are there."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def node_metrics(state: NodeState, workers: int) -> Iterator[Metric]:
    """The metrics of a node.

    Args:
        state: The node as it describes itself.
        workers: How many workers run on it.
    """
    yield InfoMetricFamily("multiedge_node", "The node.", {"node": state.name, "version": state.version})
    yield _gauge("multiedge_node_start_time_seconds", "When the agent began, UNIX time.", state.started_s)
    yield _gauge("multiedge_node_memory_limit_bytes", "What the workers may take together.", state.memory_bytes)
    yield _gauge("multiedge_node_memory_free_bytes", "What new stages may take of it now.", state.free_bytes)
    yield _gauge("multiedge_node_threads", "Threads of the runtime.", state.threads)
    yield _gauge("multiedge_node_cpu_busy_ratio", "Share of its processors that is busy, from 0 to 1.", state.load)
    yield _gauge("multiedge_node_battery_ratio", "Share of the battery's charge, from 0 to 1.", state.battery)
    yield _gauge("multiedge_node_workers", "Workers that run, one for each run that uses the node.", workers)
    stages = [((each.deployment, str(each.stage), each.phase), 1.0) for each in state.stages]
    about = "1 for each stage that the node holds, with how far it is."
    yield _gauges("multiedge_node_stage", about, ("deployment", "stage", "phase"), stages)
    taken = [((each.deployment, str(each.stage)), each.memory_bytes) for each in state.stages]
    about = "Memory that the worker took with the stage when it was loaded."
    yield _gauges("multiedge_node_stage_memory_bytes", about, ("deployment", "stage"), taken)
    rates = [((link.peer,), link.bytes_per_s) for link in state.links]
    about = "Measured rate at which the node sends to another."
    yield _gauges("multiedge_node_link_bandwidth_bytes_per_second", about, ("peer",), rates)
    trips = [((link.peer,), link.rtt_s) for link in state.links]
    yield _gauges("multiedge_node_link_round_trip_seconds", "Measured time of a round trip to another node.", ("peer",), trips)


def inference_metrics(served: Iterable[tuple[str, Statistics]]) -> Iterator[Metric]:
    """The metrics of a server of the Open Inference Protocol.

    Args:
        served: Names of models, with what their requests took.
    """
    requests: list[tuple[tuple[str, ...], float]] = []
    seconds: list[tuple[tuple[str, ...], float]] = []
    for name, taken in served:
        requests += [((name, "answered"), taken.success.count), ((name, "failed"), taken.fail.count)]
        phases = {
            "queue": taken.queue,
            "input": taken.compute_input,
            "compute": taken.compute_infer,
            "output": taken.compute_output,
            "failed": taken.fail,
        }
        seconds += [((name, phase), duration.ns / 1e9) for phase, duration in phases.items()]
    about = "Requests of the Open Inference Protocol, by how they ended."
    yield _counters("multiedge_inference_requests", about, ("model", "result"), requests)
    about = (
        "What these requests took: waiting for a slot, taking inputs, computing, giving outputs, and all of those that failed."
    )
    yield _counters("multiedge_inference_seconds", about, ("model", "phase"), seconds)


def hub_metrics(state: HubState, watch: Watch, deployments: Iterable[Deployment], now_s: float) -> Iterator[Metric]:
    """The metrics of a hub, of its fleet, and of the runs that report to it.

    Args:
        state: The hub as it describes itself.
        watch: Nodes and runs.
        deployments: With their phases.
        now_s: On the clock of the watch.
    """
    yield InfoMetricFamily("multiedge_hub", "The hub.", {"version": state.version})
    yield _gauge("multiedge_hub_uptime_seconds", "Since the hub began.", state.uptime_s)
    yield _gauge("multiedge_hub_pool_bytes", "Files of the pool.", state.pool_bytes)
    yield _gauge("multiedge_hub_connections", "Open connections.", state.connections)
    alive = [((name,), float(seen.status != "lost")) for name, seen in sorted(watch.nodes.items())]
    yield _gauges("multiedge_hub_node_up", "1 while a node sends heartbeats, 0 once it is lost.", ("node",), alive)
    ready = [((each.name, each.model), float(each.phase == "ready")) for each in deployments]
    about = "1 while all stages of a deployment are loaded on nodes that are alive."
    yield _gauges("multiedge_hub_deployment_ready", about, ("deployment", "model"), ready)
    running = sum(run.is_running(now_s) for run in watch.runs.values())
    yield _gauge("multiedge_hub_runs", "Pipelines that run and report to the hub.", running)
    yield from _run_metrics(watch.totals)


def _run_metrics(totals: Totals) -> Iterator[Metric]:
    """What all runs did together since the hub began: names of runs are no labels, since there is no end of them."""
    about = "Items that runs answered, with or without an error."
    items = CounterMetricFamily("multiedge_run_items", about, labels=("model", "result"))
    for result, counts in (("answered", totals.answered), ("failed", totals.failed)):
        for model, count in sorted(counts.items()):
            items.add_metric((model, result), count)
    yield items
    about = "From the submission of an item to its answer, of items without an error."
    latency = HistogramMetricFamily("multiedge_run_latency_seconds", about, labels=("model",))
    for model, counted in sorted(totals.latency.items()):
        latency.add_metric((model,), _buckets(counted), counted.sum_s)
    yield latency
    about = "Time for which a device computed stages of items."
    yield _counters("multiedge_run_device_busy_seconds", about, ("device",), _keyed(totals.busy_s))
    about = "What one device sent to another for items; the caller is one of them."
    yield _counters("multiedge_run_sent_bytes", about, ("source", "target"), sorted(totals.sent_bytes.items()))
    about = "Faults of runs, and losses of nodes, by kind."
    yield _counters("multiedge_faults", about, ("kind",), _keyed(totals.faults))


def _buckets(counted: LatencyCounts) -> list[tuple[str, float]]:
    """Items up to each bound, as a histogram of Prometheus counts them."""
    bounds = [*map(str, LATENCY_BOUNDS_S), "+Inf"]
    return [(bound, float(sum(counted.counts[: place + 1]))) for place, bound in enumerate(bounds)]


def _keyed(values: Mapping[str, float]) -> Rows:
    return [((key,), value) for key, value in sorted(values.items())]


def _gauge(name: str, about: str, value: float | None) -> Metric:
    return _gauges(name, about, (), [((), value)])


def _gauges(name: str, about: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for values, value in rows:
        if value is not None:
            family.add_metric(values, value)
    return family


def _counters(name: str, about: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    family = CounterMetricFamily(name, about, labels=labels)
    for values, value in rows:
        if value is not None:
            family.add_metric(values, value)
    return family
