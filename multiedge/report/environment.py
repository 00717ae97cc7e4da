"""The environment of a run: machine, versions, commit; without names of users, hosts or paths."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from multiedge import __version__

PACKAGES = ("numpy", "onnx", "onnxruntime", "scipy", "ray", "torch")


def versions() -> dict[str, str]:
    """Versions of this project, of Python and of the installed packages that figures depend on."""
    installed = {"multiedge": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory and system."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    named = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return named[0] if named else platform.processor() or "unknown"


def commit(directory: str | os.PathLike[str] | None = None) -> str | None:
    """The commit of the checkout around `directory` (this package), with '+' if files differ from it.

    None outside a checkout, or where git is not installed.
    """
    place = Path(directory) if directory else Path(__file__).resolve().parents[2]
    if not (place / ".git").exists():  # an installed package may be inside another project's checkout
        return None
    try:
        head = _git(place, "rev-parse", "--short=12", "HEAD")
        return f"{head}+" if _git(place, "status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return None


def _git(place: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(place), *words], capture_output=True, text=True, timeout=10, check=True
    ).stdout.strip()
