"""What Ianvs reads: the items of all workflows in one index, and algorithm files with the workflows that were made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from multiedge.files import write_text
from workflow_bench import BENCH, EXAMPLES
from workflow_bench.folder import INDEX, read_items

WHOLE = "workflow"
"""Name of the document of a workflow; documents beside it have one of its models alone."""


def write_jobs(cache: Path, workflows: Sequence[str]) -> Path:
    """Writes the index and the algorithm files into `cache`; returns the index."""
    rows = [(path, answer) for name in workflows for path, answer in read_items(cache / name)]
    lines = [f"{path.relative_to(cache)} {','.join(map(str, answer))}\n" for path, answer in rows]
    documents = [f"{name}/{path.stem}" for name in workflows for path in sorted((cache / name).glob("*.yaml"))]
    whole = [document for document in documents if document.endswith(f"/{WHOLE}")]
    for name, content in (
        ("algorithm-alone.yaml", algorithm(documents, ["board"], ["single"])),
        ("algorithm-split.yaml", algorithm(whole, ["camera-and-board"], ["throughput"])),
    ):
        write_text(cache / name, yaml.safe_dump(content, sort_keys=False))
    return write_text(cache / INDEX, "".join(lines))


def algorithm(documents: Sequence[str], fleets: Sequence[str], strategies: Sequence[str]) -> dict[str, Any]:
    """The content of an algorithm file with a row for each document, fleet and strategy."""
    grid = {"workflow": documents, "fleet": fleets, "strategy": strategies}
    module = {
        "type": "basemodel",
        "name": "WorkflowPipeline",
        "url": f"./{(BENCH / 'testalgorithms' / 'workflow' / 'basemodel.py').relative_to(EXAMPLES.parent)}",
        "hyperparameters": [{name: {"values": list(values)}} for name, values in grid.items()],
    }
    return {"algorithm": {"paradigm_type": "multiedgeinference", "modules": [module]}}
