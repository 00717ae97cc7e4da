"""The modules of the benchmark of workflows, which stand outside of packages."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "examples" / "workflows" / "multiedge_inference_bench"


def importable() -> Path:
    """Makes `workflow_bench` importable; returns the folder of the benchmark."""
    if str(BENCH) not in sys.path:
        sys.path.insert(0, str(BENCH))
    return BENCH


def transforms(workflow: str) -> ModuleType:
    """The transforms of a workflow."""
    importable()
    from workflow_bench.transforms import load_transforms

    return load_transforms(workflow)
