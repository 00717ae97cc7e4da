"""Our percentiles and early stopping against MLPerf's LoadGen, on the same latencies.

LoadGen drives a system that sleeps a seeded time for each query and traces every latency. Our functions must find in
those very latencies what its summary says of them.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from multiedge.metrics.percentiles import early_stopping_estimate, percentile

pytest.importorskip("mlperf_loadgen", reason="LoadGen is not installed: pip install 'multi-edge-bench[loadgen]'")

# In a process of its own: LoadGen keeps threads and log files of its process.
DRIVER = """
import random, sys, time
import mlperf_loadgen as lg

directory, queries, chance = sys.argv[1], int(sys.argv[2]), random.Random(7)

def issue(samples):
    for sample in samples:
        time.sleep(0.001 + chance.expovariate(1000.0))
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0)])

settings = lg.TestSettings()
settings.scenario, settings.mode = lg.TestScenario.SingleStream, lg.TestMode.PerformanceOnly
settings.min_query_count = settings.max_query_count = queries
settings.min_duration_ms = 0
settings.single_stream_expected_latency_ns = 2_000_000
output = lg.LogOutputSettings()
output.outdir, output.copy_summary_to_stdout = directory, False
log = lg.LogSettings()
log.log_output, log.enable_trace = output, True
system = lg.ConstructSUT(issue, lambda: None)
library = lg.ConstructQSL(64, 64, lambda indices: None, lambda indices: None)
lg.StartTestWithLogSettings(system, library, settings, log)
lg.DestroyQSL(library)
lg.DestroySUT(system)
"""


def summary_ns(text: str, label: str) -> float:
    found = re.search(rf"^{re.escape(label)}\s*:\s*([0-9.]+)", text, re.MULTILINE)
    assert found, f"LoadGen's summary has no '{label}':\n{text}"
    return float(found.group(1))


def traced_latencies_s(trace: str) -> list[float]:
    found = re.findall(r'"name":"Sample".*?"issue_start_ns":(\d+),"complete_ns":(\d+)', trace)
    return [(int(complete) - int(issued)) * 1e-9 for issued, complete in found]


@pytest.mark.parametrize("queries", [80, 700])
def test_percentiles_agree_with_loadgen(tmp_path, queries):
    subprocess.run([sys.executable, "-c", DRIVER, str(tmp_path), str(queries)], timeout=60, check=True)
    seconds = traced_latencies_s((tmp_path / "mlperf_log_trace.json").read_text(encoding="utf-8"))
    summary = (tmp_path / "mlperf_log_summary.txt").read_text(encoding="utf-8")
    assert len(seconds) == queries
    for p in (0.50, 0.90, 0.95, 0.97, 0.99):
        theirs_s = summary_ns(summary, f"{p * 100:.2f} percentile latency (ns)") * 1e-9
        assert percentile(seconds, p) == pytest.approx(theirs_s, rel=0.01), f"p{p * 100:g}"
    for p in (0.90, 0.99):
        found = re.search(rf"Early stopping {p * 100:.1f}th percentile estimate: (\d+)", summary)
        theirs_s = float(found.group(1)) * 1e-9 if found else None
        assert early_stopping_estimate(seconds, p) == (theirs_s and pytest.approx(theirs_s, rel=0.01)), f"p{p * 100:g}"
