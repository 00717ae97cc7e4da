"""One load test: a schedule sent to a target, as measurements and as a result like that of any other run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from multiedge.errors import ConfigError
from multiedge.load.contract import Channel, Reading, Target
from multiedge.load.patterns import Pattern
from multiedge.load.schedule import Schedule, dispersion, each_once, fit_probability, make_schedule
from multiedge.load.senders import Progress, Sent, send
from multiedge.measurements import Item, Measurements
from multiedge.meters.cpu import own_processors
from multiedge.metrics import HIGHER, LOWER, MetricValue
from multiedge.metrics.accuracy import top_k_accuracy
from multiedge.metrics.percentiles import percentile, samples_needed
from multiedge.report.results import RunResult, make_result

LAG_BOUND_S = 1e-3
"""The p99 of the lag of a valid run."""
DEFAULT_SECONDS = 10.0
REQUESTS_PER_SENDER = {"http": 4000.0, "grpc": 1500.0}
"""How many requests per second one process sends in time, by wire; of another wire as of gRPC."""
Mode = Literal["performance", "accuracy"]


@dataclass(frozen=True)
class LoadOptions:
    """How a load test sends.

    Attributes:
        mode: LoadGen's modes: 'performance', in which each request sends a sample at random, or 'accuracy', in which each
            sample is sent once and its answer is read.
        requests: How many; None: as many as are due in `seconds`.
        seconds: For how long; None: DEFAULT_SECONDS, or until `requests` are sent.
        seed: Of the schedule.
        senders: How many processes send; None: as many as the rate needs, and no more than there are connections.
        connections: How many connections there are, opened before the first request; None: one for each sender, and over HTTP
            more whenever all are busy.
        warmup: Requests that each sender sends before, one after another.
        timeout_s: How long an answer may take.
        latency_bound_s: What the p99 of a valid run is within; None for any.
    """

    mode: Mode = "performance"
    requests: int | None = None
    seconds: float | None = None
    seed: int = 0
    senders: int | None = None
    connections: int | None = None
    warmup: int = 2
    timeout_s: float = 30.0
    latency_bound_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("requests", "seconds", "senders", "connections", "timeout_s", "latency_bound_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"load: {name}: expected a number above 0, got {value:g}")
        if self.senders and self.connections and self.connections < self.senders:
            raise ConfigError(
                f"load: connections: expected {self.senders} or more, one for each sender, got {self.connections};"
                " give more connections, or fewer senders"
            )
        if self.warmup < 1:
            raise ConfigError(f"load: warmup: expected 1 or more, which show whether the server answers, got {self.warmup}")


@dataclass(frozen=True)
class LoadRun:
    """What a load test has sent and seen.

    Attributes:
        pattern: When requests were due.
        channel: Where they went.
        options: How they were sent.
        senders: How many processes sent.
        sent: What became of them.
        readings: Of texts, and where accuracy is measured, what answers say, by number of the item.
        samples: Which sample each item sent.
    """

    pattern: Pattern
    channel: Channel
    options: LoadOptions
    senders: int
    sent: Sent
    readings: Mapping[int, Reading]
    samples: Sequence[int]

    @property
    def measurements(self) -> Measurements:
        """As those of any run: an answer that is an error in its protocol has failed."""
        items = tuple(self._read(item) for item in self.sent.items)
        stop_s = max((item.done_s for item in items), default=0.0)
        return Measurements(items, (), 0.0, stop_s, self.senders * self.options.warmup, settings=self._settings())

    def _read(self, item: Item) -> Item:
        reading = self.readings.get(item.item)
        return replace(item, error=reading.error) if reading and reading.error and not item.error else item

    def _settings(self) -> dict[str, Any]:
        options, channel = self.options, self.channel
        bound = {} if options.latency_bound_s is None else {"latency_bound_s": options.latency_bound_s}
        return {
            "scenario": "Server",
            "executor": "load",
            "mode": options.mode,
            "pattern": type(self.pattern).__name__.lower(),
            **vars(self.pattern),
            "seed": options.seed,
            **bound,
            "lag_bound_s": LAG_BOUND_S,
            "senders": self.senders,
            "real_time_senders": self.sent.is_real_time,
            "connections": channel.connections,
            "more_connections": channel.may_grow,
            "waited_for_connection": self.sent.waited,
            "is_whole": self.sent.is_whole,
            "timeout_s": options.timeout_s,
        }


def run_load(target: Target, pattern: Pattern, options: LoadOptions, progress: Progress = lambda count: None) -> LoadRun:
    """Sends the requests of a target when a pattern says so.

    Args:
        target: What to send, and where to.
        pattern: When.
        options: How.
        progress: Called with the number of newly answered requests.

    Returns:
        What was sent and seen; on Ctrl-C, until then.

    Raises:
        ConfigError: If no request is due.
        NetworkError: If the server cannot be reached, or does not answer the first request.
    """
    schedule = schedule_of(target, pattern, options)
    most = len(schedule) if options.connections is None else min(len(schedule), options.connections)
    senders = min(options.senders or senders_for(schedule, target.channel.wire), most)
    channel = channel_of(target.channel, options, senders)
    keeps_answers = target.is_text or options.mode == "accuracy"
    sent = send(
        channel,
        target.requests,
        schedule,
        senders=senders,
        warmup=options.warmup,
        keeps_answers=keeps_answers,
        progress=progress,
    )
    readings = {number: target.read(answer) for number, answer in sent.answers.items()}
    return LoadRun(pattern, channel, options, senders, sent, readings, schedule.samples.tolist())


def schedule_of(target: Target, pattern: Pattern, options: LoadOptions) -> Schedule:
    """The requests of a run. In mode 'accuracy' they are as many as there are samples."""
    samples = len(target.requests)
    if options.mode == "accuracy":
        if options.requests is not None or options.seconds is not None:
            raise ConfigError(f"load: mode accuracy sends each of the {samples} samples once; leave requests and seconds out")
        schedule = each_once(make_schedule(pattern, options.seed, samples, requests=samples), samples)
        if len(schedule) < samples:
            raise ConfigError(
                f"load: mode accuracy sends each of the {samples} samples once, and the pattern has {len(schedule)} requests;"
                " take another pattern, or give fewer samples"
            )
        return schedule
    seconds = options.seconds or (DEFAULT_SECONDS if options.requests is None else None)
    return make_schedule(pattern, options.seed, samples, requests=options.requests, seconds=seconds)


def senders_for(schedule: Schedule, wire: str) -> int:
    """How many processes send a schedule in time, of those that have a processor each beside the load test."""
    each = REQUESTS_PER_SENDER.get(wire, REQUESTS_PER_SENDER["grpc"])
    return max(1, min(math.ceil((schedule.rate_per_s or 0.0) / each), len(own_processors()) - 1))


def channel_of(channel: Channel, options: LoadOptions, senders: int) -> Channel:
    """The channel with the connections that the options state."""
    connections = options.connections or senders
    return replace(channel, connections=connections, may_grow=options.connections is None, timeout_s=options.timeout_s)


def load_result(
    name: str, run: LoadRun, configuration: Mapping[str, Any] | None = None, labels: Sequence[int] = ()
) -> RunResult:
    """The result of a load test, for tables, pages and comparisons; with `labels` of all samples also the accuracy."""
    figures = {**_load_figures(run), **_text_figures(run), **_accuracy(run, labels)}
    return make_result(name, run.measurements, configuration=configuration, extra=figures)


def _load_figures(run: LoadRun) -> dict[str, MetricValue]:
    items = run.sent.items
    lags_s = [item.lag_s for item in items]
    due_s, issued_s = [item.due_s for item in items], [item.issued_s for item in items]
    width_s = max(due_s) - min(due_s) if items else 0.0
    intervals = run.pattern.intervals()
    figures = {
        "offered_per_s": MetricValue(
            (len(items) - 1) / width_s if width_s > 0 else None, "requests/s", "", "requests due per second of the schedule"
        ),
        "lag_p50_s": MetricValue(_percentile(lags_s, 0.5), "s", LOWER, "time from when a request was due to when it was sent"),
        "lag_p99_s": MetricValue(_percentile(lags_s, 0.99), "s", LOWER, "the lag that 99 % of the requests stay within"),
        "lag_max_s": MetricValue(max(lags_s, default=None), "s", LOWER, "the largest lag"),
        "dispersion": MetricValue(
            dispersion(issued_s), "1", "", "variance over mean of the requests sent in windows of 10 ms: 1 for Poisson"
        ),
    }
    if intervals is not None:
        description = "p of the Kolmogorov-Smirnov test that 500 times between requests are of the pattern"
        figures["arrivals_p"] = MetricValue(fit_probability(issued_s, intervals), "1", "", description)
    return figures


def _text_figures(run: LoadRun) -> dict[str, MetricValue]:
    """Of a language model: when texts began, if they came as streams, and how many tokens came per second."""
    tokens = [reading.tokens for reading in run.readings.values() if reading.tokens is not None]
    if not tokens:
        return {}
    streams = {number for number, reading in run.readings.items() if reading.is_stream}
    pairs = zip(run.sent.items, run.sent.first_s, strict=True)
    first_s = [first_s - item.due_s for item, first_s in pairs if item.item in streams]
    stop_s = max(item.done_s for item in run.sent.items)
    rate = MetricValue(sum(tokens) / stop_s, "tokens/s", HIGHER, "tokens of answers per second of the timed window")
    if not streams:
        return {"tokens_per_s": rate}
    begins = "time from when a text was due to its first bytes"
    return {
        "first_token_p50_s": _backed(first_s, 0.5, begins),
        "first_token_p99_s": _backed(first_s, 0.99, f"{begins}: what 99 % of texts stay within"),
        "tokens_per_s": rate,
    }


def _backed(seconds: Sequence[float], p: float, description: str) -> MetricValue:
    """A percentile, where there are enough samples for it."""
    needed = samples_needed(p)
    if len(seconds) < needed:
        note = f"n<{needed}: {len(seconds)} samples do not back a p{p * 100:g}"
        return MetricValue(None, "s", LOWER, description, note, "none", samples_needed=needed)
    return MetricValue(percentile(seconds, p), "s", LOWER, description)


def _accuracy(run: LoadRun, labels: Sequence[int]) -> dict[str, float | None]:
    """The share of samples whose largest score is their label's. A sample without an answer counts as wrong."""
    if not labels:
        return {}
    right = 0.0
    for item in run.sent.items:
        reading = run.readings.get(item.item)
        if reading and reading.outputs:
            scores = next(iter(reading.outputs.values())).reshape(1, -1)
            right += top_k_accuracy([labels[run.samples[item.item]]], scores) or 0.0
    return {"accuracy_top1": right / len(labels)}


def _percentile(values: Sequence[float], p: float) -> float | None:
    return percentile(values, p) if values else None
