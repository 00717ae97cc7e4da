"""Types of hardware that a service may ask for, and which nodes have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from multiedge.fleet import CPU

ARCHITECTURE = "kubernetes.io/arch"
AUTO = "auto"
"""Any hardware: the scheduler chooses the node. As a backend: whichever is the fastest right one on that node."""


@dataclass(frozen=True)
class Platform:
    """A type of hardware.

    Attributes:
        node_labels: Labels of the nodes that have it; those of GPUs and NPUs are set by the maker's feature discovery.
        limits: Resources of Kubernetes that a worker on it takes: a device of the maker's plug-in.
        device_type: `type` of a device that is of this kind, which workers are told.
    """

    node_labels: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    device_type: str = CPU

    def resources(self, stated: Mapping[str, str]) -> dict[str, str]:
        """What a worker takes where so much is stated: one device, unless devices of the same plug-in are stated."""
        vendors = {name.partition("/")[0] for name in stated}
        return {**{name: count for name, count in self.limits.items() if name.partition("/")[0] not in vendors}, **stated}


PLATFORMS: Mapping[str, Platform] = {
    AUTO: Platform(),
    "x86-cpu": Platform({ARCHITECTURE: "amd64"}),
    "arm-cpu": Platform({ARCHITECTURE: "arm64"}),
    "nvidia-gpu": Platform({"nvidia.com/gpu.present": "true"}, {"nvidia.com/gpu": "1"}, "gpu"),
    "intel-gpu": Platform({"intel.feature.node.kubernetes.io/gpu": "true"}, {"gpu.intel.com/i915": "1"}, "intel-gpu"),
    "intel-npu": Platform({"intel.feature.node.kubernetes.io/npu": "true"}, {"npu.intel.com/accel": "1"}, "intel-npu"),
}
