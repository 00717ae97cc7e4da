"""Memory that is freed while stages are loaded goes back to the system, seen in a process of its own."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys

import pytest

SCRIPT = """
import contextlib, json, sys
import numpy as np
from multiedge.backends.heap import memory_returned
from multiedge.meters.memory import resident_bytes

MIB = 1 << 20

def load():
    np.ones(16 * MIB, np.uint8)  # freed: from now on, glibc would keep blocks of this size
    blocks = [np.ones(8 * MIB, np.uint8) for _ in range(8)]
    kept = blocks.pop()
    return kept

before = resident_bytes()
with memory_returned() if sys.argv[1] == "inside" else contextlib.nullcontext():
    kept = load()
print(json.dumps((resident_bytes() - before) / MIB))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_what_loading_frees_is_returned_although_a_later_block_stays() -> None:
    def grown_mib(where: str) -> float:
        printed = subprocess.run([sys.executable, "-c", SCRIPT, where], capture_output=True, text=True, check=True).stdout
        return float(json.loads(printed))

    assert grown_mib("inside") < 16 < 32 < grown_mib("outside")
