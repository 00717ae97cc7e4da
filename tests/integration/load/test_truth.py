"""What a load test says, against what is known to be true: a Poisson process, and a server that stood still."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time

import numpy as np
import pytest

from multiedge.load.open_inference import OpenInferenceHttp
from multiedge.load.patterns import Constant, Poisson
from multiedge.load.place import parse_place
from multiedge.load.run import LAG_BOUND_S, LoadOptions, load_result, run_load
from multiedge.load.schedule import dispersion, fit_probability
from multiedge.metrics.percentiles import percentile
from tests.builders.load_servers import timed_server

pytestmark = [pytest.mark.slow]

MOST_OF_GAP = 0.2
"""The lag, over the mean time between requests, that leaves their distribution as it was."""


def skip_if_late(reasons: tuple[str, ...], lags_s: list[float]) -> None:
    """The verdict and the lag agree; a machine that is too busy to send in time proves nothing else."""
    is_late = percentile(lags_s, 0.99) > LAG_BOUND_S
    assert is_late == any("requests were sent late" in reason for reason in reasons)
    if is_late:
        pytest.skip("this machine was too busy to send in time, and the run says so")


@pytest.mark.timing
@pytest.mark.parametrize(("rate_per_s", "seconds"), [(10.0, 3.0), (200.0, 3.0), (2000.0, 3.0)])
def test_requests_that_are_sent_are_a_poisson_process(rate_per_s: float, seconds: float) -> None:
    with timed_server() as server:
        target = OpenInferenceHttp(parse_place(server.url))
        run = run_load(target, Poisson(rate_per_s), LoadOptions(seconds=seconds, seed=1))
    result = load_result("poisson", run)
    items = run.sent.items
    skip_if_late(result.validity.reasons, [item.lag_s for item in items])
    assert not any(item.error for item in items)
    due_s = [item.due_s for item in items]
    assert dispersion([item.issued_s for item in items]) == pytest.approx(dispersion(due_s), abs=0.05)
    # A lag within its bound may still be a good part of the time between two requests, which it then changes.
    is_near = percentile([item.lag_s for item in items], 0.99) < MOST_OF_GAP / rate_per_s
    fits = result.results["arrivals_p"].value if is_near else fit_probability(due_s, Poisson(rate_per_s).intervals())
    assert fits > 0.01


STOP_S, CONNECTIONS = 6.0, 3600
RATE_PER_S, SERVED_PER_S, SECONDS = 500.0, 2000.0, 9.5


@pytest.mark.timing
def test_a_server_that_is_stopped_for_six_seconds_has_the_latencies_that_arithmetic_says() -> None:
    """Requests due x seconds after the stop wait until it ends and until those before them are served: the wait falls evenly
    from STOP_S to 0, over the stop and the time that the queue takes to empty."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2 * CONNECTIONS:
        pytest.skip("this system permits too few connections for the requests that wait")
    with timed_server(rate_per_s=SERVED_PER_S) as server:
        stopped_s: list[float] = []

        def stop() -> None:
            begin_s = time.monotonic()
            os.kill(server.process.pid, signal.SIGSTOP)
            time.sleep(STOP_S)
            os.kill(server.process.pid, signal.SIGCONT)
            stopped_s.append(time.monotonic() - begin_s)

        stopping = threading.Thread(target=stop)

        def begin(answered: int) -> None:
            if answered and not stopping.ident:
                stopping.start()

        target = OpenInferenceHttp(parse_place(server.url))
        options = LoadOptions(seconds=SECONDS, connections=CONNECTIONS)
        run = run_load(target, Constant(RATE_PER_S), options, begin)
        stopping.join()
    result = load_result("stopped", run)
    skip_if_late(result.validity.reasons, [item.lag_s for item in run.sent.items])
    assert result.results["completed"].value == RATE_PER_S * SECONDS
    affected_s = stopped_s[0] * (1 + RATE_PER_S / (SERVED_PER_S - RATE_PER_S))
    for name, p in (("latency_p50_s", 0.50), ("latency_p99_s", 0.99)):
        wait_s = stopped_s[0] * (1 - (1 - p) * SECONDS / affected_s)
        assert result.results[name].value == pytest.approx(wait_s, rel=0.02), name
    latencies_s = np.array([item.latency_s for item in run.sent.items])
    assert latencies_s.max() == pytest.approx(stopped_s[0], rel=0.02)
