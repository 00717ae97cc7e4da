"""How fast a node's processor is, by the calibration of `multiedge calibrate`, in a process of its own.

`python -m multiedge.serving.node.speed THREADS` prints it: the agent itself then needs no runtime, and stays small.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from multiedge.errors import PipelineError
from multiedge.formats.documents import parse_json
from multiedge.formats.records import reader_of

CALIBRATION_S = 120.0
"""Far more than calibrating takes; a machine that takes longer has other things to do."""
LOOK_S = 0.2


@dataclass(frozen=True)
class Speed:
    """Sustained rates of `threads` threads."""

    threads: int
    flops_per_s: float
    memory_bytes_per_s: float


def measure_speed(threads: int, is_cancelled: Callable[[], bool] = lambda: False) -> Speed:
    """The speed of this machine, as it was calibrated before, otherwise calibrated now, in a few seconds.

    PipelineError if it cannot be calibrated, or soon after `is_cancelled` returns True.
    """
    command = [sys.executable, "-m", __name__, str(threads)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    ) as process:
        until_s = time.monotonic() + CALIBRATION_S
        while not (is_cancelled() or time.monotonic() > until_s):
            try:
                output, errors = process.communicate(timeout=LOOK_S)
            except subprocess.TimeoutExpired:
                continue
            if process.returncode == 0:
                speed: Speed = reader_of(Speed)(parse_json(output, "calibration"))
                return speed
            lines = errors.strip().splitlines() or [f"status {process.returncode}"]
            raise PipelineError(f"this machine cannot be calibrated: {lines[-1]}")
        process.kill()
    raise PipelineError(f"this machine was not calibrated: it took more than {CALIBRATION_S:.0f} s, or was ended")


def main(threads: str) -> None:
    from profilers.engine.reference import calibrated

    able = calibrated(int(threads))
    print(json.dumps(asdict(Speed(int(threads), able.flops_per_s, able.memory_bytes_per_s))))


if __name__ == "__main__":
    main(*sys.argv[1:])
