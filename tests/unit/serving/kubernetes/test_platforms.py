"""Types of hardware: which nodes have them, what a worker takes there, and what it is told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from multiedge import cli
from multiedge.serving.kubernetes.actions import CreateWorker
from multiedge.serving.kubernetes.manifests import DEFAULT_RESOURCES, Workplace, worker_pod
from multiedge.serving.kubernetes.platforms import ARCHITECTURE, AUTO, PLATFORMS
from multiedge.serving.kubernetes.workers import WorkerKind
from tests.builders.services import TOKEN, X86, service

DOCS = Path(__file__).parents[4] / "docs" / "kubernetes.md"
WORKPLACE = Workplace("http://controller:8480", TOKEN)
PLACES: dict[str, tuple[dict[str, str], dict[str, str], list[str]]] = {
    AUTO: ({}, {}, []),
    "x86-cpu": ({ARCHITECTURE: "amd64"}, {}, []),
    "arm-cpu": ({ARCHITECTURE: "arm64"}, {}, []),
    "nvidia-gpu": ({"nvidia.com/gpu.present": "true"}, {"nvidia.com/gpu": "1"}, ["--type", "gpu"]),
    "intel-gpu": (
        {"intel.feature.node.kubernetes.io/gpu": "true"},
        {"gpu.intel.com/i915": "1"},
        ["--type", "intel-gpu"],
    ),
    "intel-npu": (
        {"intel.feature.node.kubernetes.io/npu": "true"},
        {"npu.intel.com/accel": "1"},
        ["--type", "intel-npu"],
    ),
}
"""Node selector, what a worker takes besides processors and memory, and what it is told."""


def pod_spec(kind: WorkerKind, hardware_type: str, **hardware: Any) -> dict[str, Any]:
    target = replace(X86, hardware=replace(X86.hardware, type=hardware_type, backend=AUTO, **hardware))
    action = CreateWorker("w", kind, target, backend="onnxruntime")
    spec: dict[str, Any] = worker_pod(service(target), action, WORKPLACE)["spec"]
    return spec


def test_every_type_is_in_the_table() -> None:
    assert set(PLACES) == set(PLATFORMS)


@pytest.mark.parametrize("kind", list(WorkerKind))
@pytest.mark.parametrize("name", PLACES)
def test_a_worker_is_placed_on_its_hardware_takes_it_and_is_told_of_it(kind: WorkerKind, name: str) -> None:
    labels, devices, words = PLACES[name]
    spec = pod_spec(kind, name)
    (container,) = spec["containers"]
    assert spec["nodeSelector"] == labels
    assert container["resources"]["limits"] == container["resources"]["requests"] == {**DEFAULT_RESOURCES, **devices}
    told = container["args"]
    assert told[told.index("--type") : told.index("--type") + 2] == words if words else "--type" not in told
    cli.build_parser(told[0]).parse_args(told)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"nvidia.com/gpu": "2"}, {"nvidia.com/gpu": "2"}),
        ({"nvidia.com/mig-1g.5gb": "1"}, {"nvidia.com/mig-1g.5gb": "1"}),
        ({"cpu": "4"}, {"cpu": "4", "nvidia.com/gpu": "1"}),
    ],
)
def test_stated_devices_of_the_plug_in_replace_the_one_of_the_type(stated: dict[str, str], expected: dict[str, str]) -> None:
    (container,) = pod_spec(WorkerKind.SERVING, "nvidia-gpu", resources=stated)["containers"]
    assert container["resources"]["limits"] == {**DEFAULT_RESOURCES, **expected}


def test_the_docs_have_the_table() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.*?) \| ?(.*?) ?\|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    shown = {name: (nodes, takes) for name, nodes, takes in rows if name in PLATFORMS}
    for name, platform in PLATFORMS.items():
        nodes = ", ".join(f"`{key}={value}`" for key, value in platform.node_labels.items())
        takes = ", ".join(f"`{key}: {count}`" for key, count in platform.limits.items())
        assert shown[name] == (nodes or "any: the scheduler chooses", takes)
