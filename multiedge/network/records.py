"""What hub, nodes and callers tell each other, as values; `multiedge.network.encoding` makes JSON of them.

In all of them None is: not known. Sizes are bytes, times seconds, rates bytes or operations per second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from multiedge.fleet import REFERENCE_BACKEND
from multiedge.network.encoding import encode

HEARTBEAT_S = 0.5
"""How often a node tells the hub its state."""

StagePhase = Literal["waiting", "fetching", "loading", "ready", "failed"]
Phase = Literal["pending", "distributing", "loading", "ready", "failed"]

# -- nodes --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LinkState:
    """What a node measured of its connection to another: the rate at which it sends, and the time of a round trip."""

    peer: str
    bytes_per_s: float | None = None
    rtt_s: float | None = None


@dataclass(frozen=True)
class HeldStage:
    """A stage of a deployment on a node.

    Attributes:
        deployment: Name of the deployment.
        stage: Number of the stage.
        plan: Digest of the deployment's plan.
        phase: What the node does for it; 'ready' is fetched, verified and loaded once without an error.
        done_bytes: Bytes of its files that are there and verified.
        total_bytes: Bytes of its files.
        memory_bytes: What the worker took with it.
        reason: Why it failed; '' otherwise.
    """

    deployment: str
    stage: int
    plan: str = ""
    phase: StagePhase = "ready"
    done_bytes: int | None = None
    total_bytes: int | None = None
    memory_bytes: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class NodeState:
    """A node as it describes itself.

    Attributes:
        name: Its name, which is that of a device in plans.
        address: 'HOST:PORT' where it listens.
        memory_bytes: What its workers may take together.
        free_bytes: What new stages may take of it now.
        threads: Threads of its runtime.
        cpu_share: Share of the time of these threads that its workers may take.
        load: Share of its processors that is busy.
        battery: Share of the battery's charge; None also without a battery.
        backends: Names of the runtimes that it has.
        flops_per_s: What it sustained in the calibration, with its threads and its share.
        memory_bytes_per_s: Its memory bandwidth in the calibration.
        stages: What it holds of deployments.
        links: What it measured to others.
        version: That of its library.
        started_s: When its agent began (UNIX time); a node that began anew holds no worker of before.
    """

    name: str
    address: str
    memory_bytes: int | None = None
    free_bytes: int | None = None
    threads: int = 1
    cpu_share: float = 1.0
    load: float | None = None
    battery: float | None = None
    backends: tuple[str, ...] = (REFERENCE_BACKEND,)
    flops_per_s: float | None = None
    memory_bytes_per_s: float | None = None
    stages: tuple[HeldStage, ...] = ()
    links: tuple[LinkState, ...] = ()
    version: str = ""
    started_s: float | None = None


@dataclass(frozen=True)
class Assignment:
    """The stages of a deployment that a node is to hold: it fetches and loads them."""

    deployment: str
    plan: str
    stages: tuple[int, ...]


@dataclass(frozen=True)
class GetState:
    """The hub asks a node for its NodeState, and tells it all that it is to hold (state by pull)."""

    assignments: tuple[Assignment, ...] = ()


@dataclass(frozen=True)
class HeartbeatReply:
    """The hub's answer to a NodeState (state by push): all that the node is to hold; what is not in it may be removed.

    `peers` are the addresses of the other nodes that are alive, by name.
    """

    assignments: tuple[Assignment, ...] = ()
    peers: Mapping[str, str] = field(default_factory=dict)


# -- plans and deployments ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ByteRange:
    """Bytes [offset, offset + length) of a file, and their digest."""

    offset: int
    length: int
    sha256: str


@dataclass(frozen=True)
class PlanFile:
    """A file of a part: `sha256` of the whole file is its name in the pool. A part with `ranges` reads these bytes alone."""

    name: str
    size: int
    sha256: str
    ranges: tuple[ByteRange, ...] = ()

    @property
    def needed_bytes(self) -> int:
        """Bytes that a node fetches of it."""
        return sum(each.length for each in self.ranges) if self.ranges else self.size


@dataclass(frozen=True)
class PlanPart:
    """The files of a stage, and the names of the nodes that hold it."""

    stage: int
    devices: tuple[str, ...]
    files: tuple[PlanFile, ...]


@dataclass(frozen=True)
class PlanRecord:
    """A plan's folder as it travels.

    Attributes:
        manifest: The text of plan.json.
        parts: One for each stage, in order.
    """

    manifest: str
    parts: tuple[PlanPart, ...]

    @property
    def digest(self) -> str:
        """The SHA-256 of its content, which is its name everywhere."""
        return hashlib.sha256(encode(self)).hexdigest()

    def stages_of(self, node: str) -> tuple[int, ...]:
        """Numbers of the stages that the plan gives to the node."""
        return tuple(part.stage for part in self.parts if node in part.devices)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes of the plan, in the order of its stages."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.devices))


@dataclass(frozen=True)
class NodeMemory:
    """What a plan takes on a node; `limit_bytes` None is no limit."""

    node: str
    planned_bytes: int
    limit_bytes: int | None = None


@dataclass(frozen=True)
class NodeWork:
    """What an item takes of a node: seconds of computing, bytes that it sends, and joules beyond those of waiting; `energy_j`
    None: the node states no power."""

    node: str
    busy_s: float
    sent_bytes: float = 0.0
    energy_j: float | None = None


@dataclass(frozen=True)
class Expected:
    """What a plan promises.

    Attributes:
        items_per_s: The highest rate.
        latency_s: The latency of one item alone.
        memory: The memory of each node.
        energy_j: Joules per item at the highest rate, of all nodes of the plan.
        accuracy: The share of right answers as somebody measured it, from 0 to 1.
        work: What an item takes of each node that computes or sends; empty if not known.
    """

    items_per_s: float | None = None
    latency_s: float | None = None
    memory: tuple[NodeMemory, ...] = ()
    energy_j: float | None = None
    accuracy: float | None = None
    work: tuple[NodeWork, ...] = ()

    def work_of(self, node: str) -> NodeWork | None:
        """What an item takes of a node, nothing if others do all; None if that is not known."""
        return next((each for each in self.work if each.node == node), NodeWork(node, 0.0, 0.0, 0.0)) if self.work else None


ONLY_ROW = "plan"
"""Name and kind of the row of a plan that the user chose, or of a deployment with one plan alone."""


@dataclass(frozen=True)
class PlanRow:
    """One of the plans of a deployment. Who deploys gives all but the last two fields, which the hub adds.

    Attributes:
        name: Unique in the deployment.
        kind: Why it is there, such as 'local', 'fastest' or 'fallback'.
        plan: Digest of its PlanRecord.
        expected: What it promises.
        nodes: All nodes that it needs.
        first: The nodes whose stages take the inputs; empty if not known.
        last: The nodes whose stages give the results; empty if not known.
        is_approximate: Whether it rounds tensors, or runs another variant of the model, only to be faster.
        phase: 'ready' once every stage is loaded on all of its nodes.
        reason: What it waits for, or why it failed.
    """

    name: str
    kind: str
    plan: str
    expected: Expected = field(default_factory=Expected)
    nodes: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    is_approximate: bool = False
    phase: Phase = "pending"
    reason: str = ""


@dataclass(frozen=True)
class StagePlace:
    """A stage of a deployment on one of its nodes, as the hub sees it. `node_is_alive` False: its last state is old."""

    node: str
    held: HeldStage
    node_is_alive: bool = True


@dataclass(frozen=True)
class Deployment:
    """Plans of a model that nodes are to hold. Who asks for it gives the first four, `rows` and `text`; the hub adds the rest.

    Attributes:
        name: Unique at the hub; the same name again replaces the plan.
        plan: Digest of the PlanRecord of its first row.
        model: Name of the model.
        expected: What this plan promises.
        phase: 'ready' once every stage of every row is loaded on all of its nodes.
        reason: What it waits for, or why it failed.
        places: Every stage of every row on every node of it.
        created_s: UNIX time.
        rows: Its plans, of which a request takes one; a deployment from the hub has one at least.
        text: Of a language model, digests of the files of its tokenizer by name, which are in the pool; empty for others.
    """

    name: str
    plan: str
    model: str = ""
    expected: Expected = field(default_factory=Expected)
    phase: Phase = "pending"
    reason: str = ""
    places: tuple[StagePlace, ...] = ()
    created_s: float | None = None
    rows: tuple[PlanRow, ...] = ()
    text: Mapping[str, str] = field(default_factory=dict)

    @property
    def plans(self) -> tuple[str, ...]:
        """Digests of all its plans."""
        return tuple(dict.fromkeys((self.plan, *(row.plan for row in self.rows))))

    def places_of(self, row: PlanRow) -> tuple[StagePlace, ...]:
        """Every stage of a row on every node of it."""
        return tuple(place for place in self.places if place.held.plan == row.plan)


# -- pool ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelRecord:
    """A version of a model in the pool: `files` are the digests of its files by name; the hub numbers versions from 1."""

    name: str
    model_hash: str
    files: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0
    created_s: float | None = None


@dataclass(frozen=True)
class ResultRecord:
    """Results of a run in the pool: a document of the digest `sha256`."""

    name: str
    sha256: str
    deployment: str = ""
    created_s: float | None = None


@dataclass(frozen=True)
class BlobState:
    """What the pool has of a file: all of it, or its first `stored_bytes` from an upload that was not finished."""

    stored_bytes: int
    complete: bool


@dataclass(frozen=True)
class HubState:
    """The hub as it describes itself."""

    version: str
    uptime_s: float
    cpu_s: float
    resident_bytes: int | None
    nodes: int
    deployments: int
    pool_bytes: int
    connections: int
