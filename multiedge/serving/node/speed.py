"""How fast a node's processor is, by the calibration of `multiedge calibrate`, in a process of its own.

`python -m multiedge.serving.node.speed THREADS` prints it: the agent itself then needs no runtime, and stays small.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

from multiedge.errors import PipelineError
from multiedge.formats.documents import parse_json
from multiedge.formats.records import reader_of

CALIBRATION_S = 120.0
"""Far more than calibrating takes; a machine that takes longer has other things to do."""


@dataclass(frozen=True)
class Speed:
    """Sustained rates of `threads` threads."""

    threads: int
    flops_per_s: float
    memory_bytes_per_s: float


def measure_speed(threads: int) -> Speed:
    """The speed of this machine, as it was calibrated before, otherwise calibrated now, in a few seconds.

    PipelineError if it cannot be calibrated.
    """
    command = [sys.executable, "-m", __name__, str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CALIBRATION_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PipelineError(f"this machine cannot be calibrated: {error}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise PipelineError(f"this machine cannot be calibrated: {lines[-1]}")
    speed: Speed = reader_of(Speed)(parse_json(done.stdout, "calibration"))
    return speed


def main(threads: str) -> None:
    from profilers.engine.reference import calibrated

    able = calibrated(int(threads))
    print(json.dumps(asdict(Speed(int(threads), able.flops_per_s, able.memory_bytes_per_s))))


if __name__ == "__main__":
    main(*sys.argv[1:])
