"""Split any ONNX model over heterogeneous devices, run it as a pipeline, measure it honestly.

    import multiedge as me

    graph, fleet = me.read_graph("model.onnx"), me.read_fleet("devices.yaml")
    profile = me.profile_model(graph, fleet)
    plan = me.plan_model(profile, fleet, strategy="throughput")
    manifest = me.write_parts(graph, plan, "parts")
    answers, run = me.run_plan(manifest, fleet, [me.random_inputs(graph, seed=n) for n in range(20)])
    me.write_report([run], "report.html")

Names are resolved on first use, so `import multiedge` loads no runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from multiedge.errors import MultiedgeError
    from multiedge.executors import open_pipeline
    from multiedge.fleet import Device, Fleet, Link, PartitionPoint, Power
    from multiedge.formats.devices import read_fleet
    from multiedge.formats.profile import load_profile, save_profile
    from multiedge.graph import Cut, Graph, Node, Tensor
    from multiedge.measurements import Measurements
    from multiedge.onnx_io import random_inputs, read_graph, read_manifest, write_parts
    from multiedge.plan import Manifest, Plan, Stage, Transfer
    from multiedge.planning.checks import violations
    from multiedge.planning.cost import estimate
    from multiedge.profile import Profile
    from multiedge.report.page import write_report
    from multiedge.report.results import RunResult, load_results
    from multiedge.run import partition, plan_by_hand, plan_model, profile_model, run_plan
    from multiedge.workflows import compose

_HOMES = {
    "multiedge.planning.checks": ("violations",),
    "multiedge.planning.cost": ("estimate",),
    "multiedge.formats.devices": ("read_fleet",),
    "multiedge.errors": ("MultiedgeError",),
    "multiedge.executors": ("open_pipeline",),
    "multiedge.fleet": ("Device", "Fleet", "Link", "PartitionPoint", "Power"),
    "multiedge.graph": ("Cut", "Graph", "Node", "Tensor"),
    "multiedge.measurements": ("Measurements",),
    "multiedge.onnx_io": ("random_inputs", "read_graph", "read_manifest", "write_parts"),
    "multiedge.plan": ("Manifest", "Plan", "Stage", "Transfer"),
    "multiedge.profile": ("Profile",),
    "multiedge.formats.profile": ("load_profile", "save_profile"),
    "multiedge.report.page": ("write_report",),
    "multiedge.report.results": ("RunResult", "load_results"),
    "multiedge.run": ("partition", "plan_by_hand", "plan_model", "profile_model", "run_plan"),
    "multiedge.workflows": ("compose",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Cut",
    "Device",
    "Fleet",
    "Graph",
    "Link",
    "Manifest",
    "Measurements",
    "MultiedgeError",
    "Node",
    "PartitionPoint",
    "Plan",
    "Power",
    "Profile",
    "RunResult",
    "Stage",
    "Tensor",
    "Transfer",
    "compose",
    "estimate",
    "load_profile",
    "load_results",
    "open_pipeline",
    "partition",
    "plan_by_hand",
    "plan_model",
    "profile_model",
    "random_inputs",
    "read_fleet",
    "read_graph",
    "read_manifest",
    "run_plan",
    "save_profile",
    "violations",
    "write_parts",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'multiedge' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
