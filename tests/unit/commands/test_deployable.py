"""What nodes can be given: which plans and which devices of a devices.yaml are refused, and with which line."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from multiedge.commands._deployable import require_free, require_nodes, require_runtimes
from multiedge.errors import ConfigError, PlanError
from multiedge.fleet import Device, Fleet
from multiedge.network.records import NodeState
from multiedge.plan import Plan, Runtime
from tests.builders.fleets import fleet_of
from tests.builders.flow import chain_manifest
from tests.builders.graphs import chain_graph
from tests.builders.plans import direct_plan, spans
from tests.builders.profiles import profile_of

NODES = {name: NodeState(name, "127.0.0.1:1", backends=("mnn", "onnxruntime", "openvino")) for name in "ab"}


def planned(backend: str, precision: str) -> Plan:
    """A plan on 'a' and 'b', of which 'b' has this runtime."""
    fleet = fleet_of(*"ab", speed=1.0)
    plan = direct_plan(profile_of(chain_graph(2), {"a": 1.0, "b": 1.0}), fleet, *spans(("a", 1), ("b", 1)))
    usual = Runtime("onnxruntime", "1", "float32")
    return replace(plan, runtimes={"a": usual, "b": Runtime(backend, "2", precision)})


@pytest.mark.parametrize(
    ("backend", "precision"),
    [("onnxruntime", "float32"), ("openvino", "bfloat16"), ("mnn", "float32")],
)
def test_a_plan_with_runtimes_that_nodes_have_and_may_choose_is_deployed(backend: str, precision: str) -> None:
    require_runtimes(planned(backend, precision), NODES, "parts")


def test_a_runtime_that_a_node_lacks_is_refused_with_what_it_has() -> None:
    line = (
        "parts: planned with litert 2 float32 on 'b', and that node has mnn, onnxruntime, openvino; install it there,"
        " or deploy the model itself"
    )
    with pytest.raises(PlanError, match=f"^{re.escape(line)}$"):
        require_runtimes(planned("litert", "float32"), NODES, "parts")


def test_a_precision_that_no_node_chooses_by_itself_is_refused() -> None:
    line = (
        "parts: planned with onnxruntime 2 int8 on 'b', and nodes compute with int8 only where they have measured it;"
        " plan without it, or deploy the model itself"
    )
    with pytest.raises(PlanError, match=f"^{re.escape(line)}$"):
        require_runtimes(planned("onnxruntime", "int8"), NODES, "parts")


def test_a_node_that_does_not_say_what_it_has_is_given_any_runtime() -> None:
    silent = {name: replace(node, backends=()) for name, node in NODES.items()}
    require_runtimes(planned("litert", "float32"), silent, "parts")


def test_a_device_that_is_no_node_is_named_with_the_nodes() -> None:
    with pytest.raises(PlanError, match=r"device 'c' is not among the nodes of hub h:1, which are: a, b; start that node"):
        require_nodes(chain_manifest("a", "c"), NODES, "h:1")


@pytest.mark.parametrize(
    ("device", "stated"),
    [
        (Device("a", backend="openvino"), "backend openvino"),
        (Device("a", backend="auto", precision="bfloat16"), "precision bfloat16"),
    ],
)
def test_a_runtime_that_is_stated_of_a_node_is_refused(device: Device, stated: str) -> None:
    line = f"device 'a': {stated} has no effect on a deployment, whose nodes choose their runtimes; leave it out"
    with pytest.raises(ConfigError, match=line):
        require_free(Fleet((device,)), list(NODES.values()))


def test_what_is_stated_of_devices_that_are_no_nodes_does_not_matter() -> None:
    fleet = Fleet((Device("elsewhere", backend="openvino"), Device("a"), Device("b", backend="auto")))
    require_free(fleet, list(NODES.values()))
