"""MLPerf's LoadGen and `multiedge load` on one system: the same percentiles."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from multiedge.load.open_inference import OpenInferenceHttp
from multiedge.load.patterns import Poisson
from multiedge.load.place import parse_place
from multiedge.load.run import LoadOptions, run_load
from multiedge.metrics.percentiles import percentile
from tests.builders.load_servers import TimedServer, timed_server

pytest.importorskip("mlperf_loadgen", reason="LoadGen is not installed: pip install 'multi-edge-bench[loadgen]'")
pytestmark = pytest.mark.slow

RATE_PER_S, REQUESTS = 250.0, 1500
DELAYS_S = (0.05, 0.25)
# In a process of its own: LoadGen keeps threads and log files of its process.
DRIVER = """
import http.client, sys, threading
from concurrent.futures import ThreadPoolExecutor
import mlperf_loadgen as lg

folder, port, rate, queries = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
local, pool = threading.local(), ThreadPoolExecutor(128)

def ask(sample_id):
    if not hasattr(local, "connection"):
        local.connection = http.client.HTTPConnection("127.0.0.1", port)
    local.connection.request("POST", "/v2/models/net/infer", b"{}")
    local.connection.getresponse().read()
    lg.QuerySamplesComplete([lg.QuerySampleResponse(sample_id, 0, 0)])

def issue(samples):
    for sample in samples:
        pool.submit(ask, sample.id)

settings = lg.TestSettings()
settings.scenario, settings.mode = lg.TestScenario.Server, lg.TestMode.PerformanceOnly
settings.server_target_qps, settings.server_target_latency_ns = rate, 1_000_000_000
settings.min_query_count = settings.max_query_count = queries
settings.min_duration_ms = 0
output = lg.LogOutputSettings()
output.outdir, output.copy_summary_to_stdout = folder, False
log = lg.LogSettings()
log.log_output, log.enable_trace = output, False
system = lg.ConstructSUT(issue, lambda: None)
library = lg.ConstructQSL(16, 16, lambda indices: None, lambda indices: None)
lg.StartTestWithLogSettings(system, library, settings, log)
lg.DestroyQSL(library)
lg.DestroySUT(system)
"""


def percentiles_of_loadgen(server: TimedServer, folder: Path) -> dict[float, float]:
    words = [sys.executable, "-c", DRIVER, str(folder), str(server.port), str(RATE_PER_S), str(REQUESTS)]
    subprocess.run(words, timeout=60, check=True)
    summary = (folder / "mlperf_log_summary.txt").read_text(encoding="utf-8")
    rows = re.findall(r"^([0-9.]+) percentile latency \(ns\)\s*:\s*(\d+)", summary, re.MULTILINE)
    return {float(p) / 100: float(nanoseconds) * 1e-9 for p, nanoseconds in rows}


def test_percentiles_agree_with_loadgen_on_one_system(tmp_path: Path) -> None:
    with timed_server(DELAYS_S) as server:
        theirs_s = percentiles_of_loadgen(server, tmp_path)
        target = OpenInferenceHttp(parse_place(server.url))
        run = run_load(target, Poisson(RATE_PER_S), LoadOptions(requests=REQUESTS))
    latencies_s = [item.latency_s for item in run.sent.items]
    for p in (0.50, 0.90, 0.95, 0.99):
        assert percentile(latencies_s, p) == pytest.approx(theirs_s[p], rel=0.02), f"p{p * 100:g}"
