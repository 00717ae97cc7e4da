"""Ways to run a plan as a pipeline: one file each, imported only when it is used.

    with open_pipeline("parts", executor="processes") as pipeline:
        results, measurements = pipeline.map({"input": batch} for batch in batches)

An executor is a class as `multiedge.executors.flow.contract.Executor` describes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from multiedge.registry import Registry

if TYPE_CHECKING:
    from multiedge.executors.flow.pipeline import Pipeline, open_pipeline

EXECUTORS = Registry(
    "executor",
    {
        "fleet": "multiedge.executors.fleet:FleetExecutor",
        "inline": "multiedge.executors.inline:InlineExecutor",
        "processes": "multiedge.executors.processes:ProcessesExecutor",
        "ray": "multiedge.executors.ray:RayExecutor",
        "remote": "multiedge.executors.remote:RemoteExecutor",
    },
)

__all__ = ["EXECUTORS", "Pipeline", "open_pipeline"]


def __getattr__(name: str) -> Any:
    if name not in ("Pipeline", "open_pipeline"):
        raise AttributeError(f"module 'multiedge.executors' has no attribute '{name}'")
    from multiedge.executors.flow import pipeline

    return getattr(pipeline, name)
