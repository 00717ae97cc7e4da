"""What nodes can be given: plans for nodes that are alive, with runtimes that they have and choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multiedge.backends import BACKENDS
from multiedge.backends.loading import load_backend
from multiedge.composed import DOMAIN, segment_of
from multiedge.errors import ConfigError, PlanError
from multiedge.fleet import AUTO_BACKEND, REFERENCE_BACKEND, Fleet
from multiedge.graph import Graph
from multiedge.network.records import NodeState
from multiedge.plan import Manifest, Plan, Runtime


def require_nodes(manifest: Manifest, nodes: Mapping[str, NodeState], hub: str) -> None:
    """PlanError for a plan on a device that is none of the nodes."""
    absent = {name for part in manifest.parts for name in part.devices} - nodes.keys()
    if absent:
        names = ", ".join(sorted(nodes)) or "none"
        raise PlanError(
            f"{manifest.directory}: device '{min(absent)}' is not among the nodes of hub {hub}, which are: {names};"
            " start that node, or deploy the model itself"
        )


def require_runtimes(plan: Plan, nodes: Mapping[str, NodeState], directory: str) -> None:
    """PlanError for a runtime that a node does not have, and for a precision that it does not choose by itself: int8, int4."""
    for name, runtime in plan.runtimes.items():
        obstacle = _obstacle(runtime, nodes[name])
        if obstacle:
            raise PlanError(f"{directory}: planned with {runtime} on '{name}', {obstacle}, or deploy the model itself")


def _obstacle(runtime: Runtime, node: NodeState) -> str:
    """Why the node does not compute with it, and what to do; '' where it may."""
    if node.backends and runtime.backend not in node.backends:
        return f"and that node has {', '.join(node.backends)}; install it there"
    if BACKENDS.is_own(runtime.backend) and runtime.precision in load_backend(runtime.backend).approximate:
        return f"and nodes compute with {runtime.precision} only where they have measured it; plan without it"
    return ""


def require_free(declared: Fleet, nodes: Sequence[NodeState]) -> None:
    """ConfigError for a runtime or a precision that is stated of a node: nodes choose theirs."""
    for device in (declared.by_name[node.name] for node in nodes if node.name in declared.by_name):
        stated = [f"precision {device.precision}"] if device.precision else []
        stated += [f"backend {device.backend}"] if device.backend not in (AUTO_BACKEND, REFERENCE_BACKEND) else []
        if stated:
            raise ConfigError(
                f"{declared.name}: device '{device.name}': {stated[0]} has no effect on a deployment, whose nodes choose their"
                " runtimes; leave it out"
            )


def require_installed(graph: Graph) -> None:
    """ConfigError for a function of a file: no code is sent to nodes."""
    for node in graph.nodes:
        if node.domain == DOMAIN and node.attributes.get("source"):
            step, name = segment_of(node.name), node.attributes["function"]
            raise ConfigError(
                f"{graph.name}: step '{step}' calls {name}() of a file, and no code is sent to nodes; install a package"
                f" there that has it as an entry point of the group 'multiedge.transforms', and write 'MODULE:{name}'"
            )
