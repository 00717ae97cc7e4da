"""This machine's name: what measurements are kept under."""

from __future__ import annotations

import os
import platform


def machine_name() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, {cpu_model()}"


def cpu_model() -> str:
    """The processor's name where the operating system states it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "processor unknown"
