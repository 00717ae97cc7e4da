"""The peak that a spawned worker reads of itself, against what /usr/bin/time says of the same worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from multiedge.meters.memory import read_memory, reset_peak

TIME = "/usr/bin/time"

WORKER = """
import sys
from multiedge.meters.memory import read_memory
block = bytearray(int(sys.argv[1]))
block[::4096] = b"x" * len(block[::4096])
del block
print(read_memory().peak_bytes)
"""


@pytest.mark.skipif(not os.path.exists(TIME), reason="GNU time is not installed (apt-get install time)")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
@pytest.mark.parametrize("mebibytes", [32, 160])
def test_worker_peak_is_within_five_percent_of_gnu_time(mebibytes):
    done = subprocess.run(
        [TIME, "-v", sys.executable, "-c", WORKER, str(mebibytes << 20)], capture_output=True, text=True, timeout=60, check=True
    )
    own = int(done.stdout)
    outside = int(re.search(r"Maximum resident set size \(kbytes\): (\d+)", done.stderr).group(1)) * 1024
    assert own > mebibytes << 20
    assert own == pytest.approx(outside, rel=0.05)


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="the kernel offers no clear_refs")
def test_reset_starts_a_phase_of_its_own():
    block = bytearray(96 << 20)
    block[::4096] = b"x" * len(block[::4096])
    before = read_memory()
    del block
    if not reset_peak():
        pytest.skip("this system does not let a process reset its peak")
    after = read_memory()
    assert before.peak_bytes - after.peak_bytes > 64 << 20
