"""Types of hardware that a service may ask for, and which nodes have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ARCHITECTURE = "kubernetes.io/arch"
AUTO = "auto"
"""Any hardware: the scheduler chooses the node. As a backend: whichever is the fastest right one on that node."""


@dataclass(frozen=True)
class Platform:
    """A type of hardware.

    Attributes:
        node_labels: Labels of the nodes that have it.
        limits: Resources of Kubernetes that a worker on it takes, such as the devices of a plug-in.
    """

    node_labels: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)


PLATFORMS: Mapping[str, Platform] = {
    AUTO: Platform(),
    "x86-cpu": Platform({ARCHITECTURE: "amd64"}),
    "arm-cpu": Platform({ARCHITECTURE: "arm64"}),
}
