"""VALID, DEGRADED or INVALID, and why.

A run is INVALID by the rules of MLPerf Inference's scenarios; a figure from here is no MLPerf result. It is DEGRADED if its
figures are not those of the plan on a machine of its own: something failed, a stage ran elsewhere, or the host was busy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from multiedge.errors import ConfigError, did_you_mean
from multiedge.measurements import Fault, HostLoad, Measurements
from multiedge.metrics import run
from multiedge.metrics.percentiles import percentile, samples_needed, within_bound
from multiedge.metrics.prediction import rate_loss
from multiedge.plan import Plan
from multiedge.quantity import seconds_text

TARGET_PERCENTILE: Mapping[str, float | None] = {"SingleStream": 0.90, "MultiStream": 0.99, "Server": 0.99, "Offline": None}


LAG_PERCENTILE = 0.99
"""The percentile of a load's lag that its bound holds for."""
RATE_LOSS = 0.10
"""Other work that lowered the rate by a larger share degrades a run."""
BUSY_HOST = 0.10
"""Where the loss is not known: a larger share of the processors for other work degrades a run, if less than this, or than half
of what other work took, was idle."""

Verdict = Literal["VALID", "DEGRADED", "INVALID"]


@dataclass(frozen=True)
class FaultCount:
    """How often a kind of fault happened on a device, and how many of these were not recovered from."""

    kind: str
    device: str
    count: int
    open: int

    def __str__(self) -> str:
        times = f" {self.count} times" if self.count > 1 else ""
        ending = "" if not self.open else ", not recovered" if self.open == self.count else f", {self.open} not recovered"
        return f"{self.kind} of {self.device}{times}{ending}"


@dataclass(frozen=True)
class MovedStage:
    """A stage (counted from 0) that computed on devices that the plan did not give it; `planned` is () beyond its stages."""

    stage: int
    planned: tuple[str, ...]
    ran: tuple[str, ...]

    def __str__(self) -> str:
        planned = f", planned on {', '.join(self.planned)}" if self.planned else ", which the plan does not have"
        return f"stage {self.stage + 1} ran on {', '.join(self.ran)}{planned}"


@dataclass(frozen=True)
class Validity:
    """Whether a run is `valid`, every reason why not, and what degraded it.

    `busy_share` is the share of the processors that other work took, if that degraded the run; otherwise None. `rate_loss` is
    the share by which that lowered the rate, None where it is not known.
    """

    valid: bool
    reasons: tuple[str, ...] = ()
    faults: tuple[FaultCount, ...] = ()
    moved: tuple[MovedStage, ...] = ()
    busy_share: float | None = None
    rate_loss: float | None = None

    @property
    def verdict(self) -> Verdict:
        if not self.valid:
            return "INVALID"
        return "DEGRADED" if self.faults or self.moved or self.busy_share is not None else "VALID"

    @property
    def why(self) -> tuple[str, ...]:
        """Every reason and everything that degraded the run, in words."""
        return (*self.reasons, *map(str, self.faults), *map(str, self.moved), *self._busy_host())

    def _busy_host(self) -> tuple[str, ...]:
        if self.busy_share is None:
            return ()
        loss = "" if self.rate_loss is None else f", which lowered the rate by about {self.rate_loss:.0%}"
        return (f"other work took {self.busy_share:.0%} of this machine's processors{loss}",)

    def __str__(self) -> str:
        return f"{self.verdict}: {'; '.join(self.why)}" if self.why else self.verdict


def validity(measurements: Measurements, plan: Plan | None = None) -> Validity:
    """Whether the run's figures may be quoted, and as those of `plan`.

    The run's settings hold its `scenario` (Offline if there is none), for Server `latency_bound_s`, and for a load on a server
    that is none of the run's `lag_bound_s`.
    """
    scenario = str(measurements.settings.get("scenario", "Offline"))
    if scenario not in TARGET_PERCENTILE:
        raise ConfigError(f"unknown scenario '{scenario}'{did_you_mean(scenario, TARGET_PERCENTILE)}")
    reasons = [*_answers(measurements), *_lag(measurements), *_percentile(measurements, scenario)]
    loss = rate_loss(measurements, plan)
    busy = busy_share(measurements.host, loss)
    return Validity(
        not reasons,
        tuple(reasons),
        count_faults(measurements.failures),
        moved_stages(measurements, plan) if plan else (),
        busy,
        None if busy is None else loss,
    )


def count_faults(faults: tuple[Fault, ...]) -> tuple[FaultCount, ...]:
    """The faults by kind and device, in the order of the first of each."""
    counts = Counter((fault.kind, fault.device) for fault in faults)
    still_open = Counter((fault.kind, fault.device) for fault in faults if fault.recovered_s is None)
    return tuple(FaultCount(*key, count, still_open[key]) for key, count in counts.items())


def moved_stages(measurements: Measurements, plan: Plan) -> tuple[MovedStage, ...]:
    """The stages that computed on a device that the plan does not name for them."""
    moved: dict[int, dict[str, None]] = {}
    for event in measurements.events:
        if event.kind == "compute" and event.device not in _planned(plan, event.stage):
            moved.setdefault(event.stage, {})[event.device] = None
    return tuple(MovedStage(stage, _planned(plan, stage), tuple(moved[stage])) for stage in sorted(moved))


def _planned(plan: Plan, stage: int) -> tuple[str, ...]:
    return tuple(plan.stages[stage].devices) if stage < len(plan.stages) else ()


def busy_share(host: HostLoad | None, loss: float | None = None) -> float | None:
    """The share of the processors that went to other work, if that lowered the rate by much; None otherwise.

    `loss` is by what share it did. Where that is None, it counts whether other work was much and few processors were idle.
    """
    if host is None:
        return None
    crowded = host.other_share > BUSY_HOST and host.idle_share < max(BUSY_HOST, host.other_share / 2)
    is_busy = crowded if loss is None else loss > RATE_LOSS
    return host.other_share if is_busy else None


def _answers(measurements: Measurements) -> list[str]:
    counts = {
        "failed": run.failed(measurements).value,
        "lost": run.lost(measurements).value,
        "answered twice": run.duplicated(measurements).value,
    }
    wrong = [f"{int(count)} item{'s' if count > 1 else ''} {what}" for what, count in counts.items() if count]
    if measurements.settings.get("is_whole") is False:
        wrong.append("the run was ended before all of its requests were sent and answered")
    return wrong if run.completed(measurements) else [*wrong, "no item was answered"]


def _lag(measurements: Measurements) -> list[str]:
    """Why a load was not the one that its schedule states: requests left too late."""
    bound = measurements.settings.get("lag_bound_s")
    lags_s = [item.lag_s for item in measurements.items]
    if bound is None or not lags_s or percentile(lags_s, LAG_PERCENTILE) <= float(bound):
        return []
    late_s, most_s = percentile(lags_s, LAG_PERCENTILE), float(bound)
    waited = int(measurements.settings.get("waited_for_connection", 0))
    why = f"; {waited} of them waited for a connection" if waited else ""
    return [
        f"requests were sent late: the p99 of the lag is {seconds_text(late_s)}, at most {seconds_text(most_s)} is valid{why}"
    ]


def _percentile(measurements: Measurements, scenario: str) -> list[str]:
    p = TARGET_PERCENTILE[scenario]
    values = query_latencies_s(measurements) if scenario == "MultiStream" else run.latencies_s(measurements)
    if p is None or not values:
        return []
    if len(values) < samples_needed(p):
        return [f"p{p * 100:g} needs {samples_needed(p)} samples, got {len(values)}"]
    bound = measurements.settings.get("latency_bound_s")
    if bound is None or within_bound(values, float(bound), p):
        return []
    return [f"p{p * 100:g} is {percentile(values, p):.4g} s, not backed to be within {float(bound):g} s"]


def query_latencies_s(measurements: Measurements) -> list[float]:
    """Latency of each query: items that were due together are one query, which is answered with the last of them."""
    queries: dict[float, float] = {}
    for item in run.completed(measurements):
        queries[item.due_s] = max(queries.get(item.due_s, 0.0), item.latency_s)
    return list(queries.values())
