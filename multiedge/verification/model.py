"""What the checker needs to know of a model: who makes and reads each tensor, and how large it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from multiedge.graph import Graph
from multiedge.profile import Profile

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Model:
    """A profile as lists by node.

    Attributes:
        profile: Costs of the model; only its fields are used.
        excluded: Nodes that a device must not hold, by its name.
    """

    profile: Profile
    excluded: Mapping[str, frozenset[int]] = field(default_factory=dict, hash=False)

    def pinned(self, first_on: str, last_on: str) -> Model:
        """The model for plans whose inputs go to one device alone and whose results come from one alone; '' for any.

        Where stages hand on what they do not use, the first node gets all inputs, so that it counts as their reader; what comes
        after the last maker of a result would be a later stage.
        """
        inputs, outputs = set(self.graph.inputs), set(self.graph.outputs)
        readers = {node for node, names in enumerate(self.reads) if names & inputs} or {0}
        makers = {node for node, names in enumerate(self.writes) if names & outputs} or {self.count - 1}
        ends = (
            (first_on, readers | set(range(min(readers)))),
            (last_on, makers | set(range(max(makers), self.count))),
        )
        excluded = {
            name: frozenset().union(*(nodes for device, nodes in ends if device not in ("", name)))
            for name in self.profile.seconds
        }
        return replace(self, excluded=excluded)

    def is_excluded(self, device: str) -> Bools:
        """Whether a device must not hold each node, (n,)."""
        excluded = self.excluded.get(device, frozenset())
        return np.array([node in excluded for node in range(self.count)], dtype=np.bool_)

    @property
    def graph(self) -> Graph:
        """The model."""
        return self.profile.graph

    @property
    def count(self) -> int:
        """Number of nodes."""
        return len(self.graph.nodes)

    @cached_property
    def span_s(self) -> dict[str, Floats]:
        """Seconds of each span [b, e) on the devices whose times do not add up, (n + 1, n + 1); inf where there is no time."""
        ends = range(self.count + 1)
        return {
            name: np.array([[cost.seconds(b, e) if b < e else np.inf for e in ends] for b in ends])
            for name, cost in self.profile.spans.items()
        }

    @cached_property
    def least_s(self) -> dict[str, Floats]:
        """The least time that each node can take on each device, (n,): its own, or its least share of a span; inf if it has no
        time there."""
        least = {name: self._least_shares(name) if name in self.span_s else own for name, own in self.profile.seconds.items()}
        return {name: np.where(self.is_excluded(name), np.inf, each) for name, each in least.items()}

    def _least_shares(self, name: str) -> Floats:
        work, least = self.profile.seconds[name], np.full(self.count, np.inf)
        for first in range(self.count):
            whole = self.span_s[name][first, first + 1 :]
            done = np.cumsum(work[first:])
            idle = done <= 0
            # A node takes part in every span that ends after it: the least of those, from the last one back.
            per_work = np.minimum.accumulate(np.where(idle, np.inf, whole / np.where(idle, 1.0, done))[::-1])[::-1]
            per_node = np.minimum.accumulate(np.where(idle, whole / np.arange(1, len(done) + 1), np.inf)[::-1])[::-1]
            has_time = np.isfinite(per_work)
            shares = np.where(has_time, np.where(has_time, per_work, 0.0) * work[first:], np.inf)
            least[first:] = np.minimum(least[first:], np.minimum(shares, per_node))
        return least

    @cached_property
    def reads(self) -> list[set[str]]:
        """Activations that each node reads."""
        return [self._named((*node.inputs, *node.captures)) for node in self.graph.nodes]

    @cached_property
    def state_nodes(self) -> dict[str, set[int]]:
        """The nodes that read or make each state, by the name of its input."""
        states = {state.input: state.output for state in self.graph.states}
        return {
            name: {
                index
                for index, node in enumerate(self.graph.nodes)
                if name in (*node.inputs, *node.captures) or output in node.outputs
            }
            for name, output in states.items()
        }

    @cached_property
    def writes(self) -> list[set[str]]:
        """Activations that each node makes."""
        return [self._named(node.outputs) for node in self.graph.nodes]

    def _named(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if name and name not in self.graph.parameters}

    @cached_property
    def parameters(self) -> list[set[str]]:
        """Parameters that each node reads."""
        known = self.graph.parameters
        return [{name for name in (*node.inputs, *node.captures) if name in known} for node in self.graph.nodes]

    @cached_property
    def maker(self) -> dict[str, int]:
        """The node that makes each activation; inputs of the model have none."""
        return {name: node for node, names in enumerate(self.writes) for name in names}

    @cached_property
    def readers(self) -> dict[str, list[int]]:
        """The nodes that read each activation, ascending."""
        found: dict[str, list[int]] = {}
        for node, names in enumerate(self.reads):
            for name in names:
                found.setdefault(name, []).append(node)
        return found

    def nbytes(self, names: Iterable[str]) -> int:
        """Bytes of activations or parameters together."""
        graph = self.graph
        sizes = ((graph.parameters.get(name) or graph.tensors[name]).nbytes for name in names)
        return sum(size or 0 for size in sizes)

    def sent_bytes(self, names: Iterable[str]) -> float:
        """Bytes of activations together that are sent for an item, in the mean over all items."""
        return sum((self.graph.tensors[name].nbytes or 0) * self.graph.tensors[name].rate for name in names)

    @cached_property
    def written_bytes(self) -> Ints:
        """Bytes of activations that each node makes, (n,)."""
        return np.array([self.nbytes(names) for names in self.writes], dtype=np.int64)

    @cached_property
    def crossing_bytes(self) -> Ints:
        """Bytes of activations that are made before each boundary and read after it, (n + 1,)."""
        return self._crossing(lambda name: self.nbytes([name])).astype(np.int64)

    @cached_property
    def crossing_sent_bytes(self) -> Floats:
        """The same in the mean over all items."""
        return self._crossing(lambda name: self.sent_bytes([name]))

    def _crossing(self, size_of: Callable[[str], float]) -> Floats:
        change = np.zeros(self.count + 2)
        for name, nodes in self.readers.items():
            size = size_of(name)
            change[self.maker.get(name, -1) + 1] += size
            change[nodes[-1] + 1] -= size
        return np.cumsum(change)[: self.count + 1]

    @cached_property
    def returned_bytes(self) -> Ints:
        """Bytes of the model's outputs that are made before each boundary, (n + 1,)."""
        outputs = set(self.graph.outputs)
        return np.cumsum([0, *(self.nbytes(names & outputs) for names in self.writes)])

    @cached_property
    def returned_sent_bytes(self) -> Floats:
        """The same in the mean over all items."""
        outputs = set(self.graph.outputs)
        return np.cumsum([0.0, *(self.sent_bytes(names & outputs) for names in self.writes)])

    @cached_property
    def outputs_from(self) -> Ints:
        """Number of the model's outputs that are made from each boundary on, (n + 1,)."""
        outputs = set(self.graph.outputs)
        made = np.cumsum([0, *(len(names & outputs) for names in self.writes)])
        return np.asarray(made[-1] - made)

    @cached_property
    def is_open(self) -> npt.NDArray[np.bool_]:
        """Whether a stage may end at each boundary, (n + 1,): no fused tensor crosses it."""
        is_open = np.ones(self.count + 1, dtype=np.bool_)
        for name in self.profile.fused:
            is_open[self.maker[name] + 1 : self.readers[name][-1] + 1] = False
        is_open[list(self.graph.closed_boundaries)] = False
        return is_open

    def loading_bytes(self, node: int) -> tuple[int, int]:
        """Bytes of the copies of the node's largest parameter while it is packed, and of its second version if the next
        operator is folded into it."""
        use, written = self.profile.memory_use, self.graph.nodes[node].writes
        op_type = self.graph.nodes[node].op_type
        largest = max((self.nbytes([name]) for name in self.parameters[node]), default=0)
        readers = [self.graph.nodes[reader].op_type for name in written for reader in self.readers.get(name, ())]
        is_folded = op_type in use.folded and readers == [use.folded[op_type]]
        packed = [use.packing_copies.get(op_type, 0) * largest, *map(self._packed_inside, self.graph.nodes[node].bodies)]
        return max(packed), largest if is_folded else 0

    def _packed_inside(self, body: Mapping[str, tuple[str, ...]]) -> int:
        """Bytes of the copies of a sub-graph's parameters until all of them are packed."""
        use, counted = self.profile.memory_use, dict[str, int]()
        for op_type, names in body.items():
            counted.update((name, use.body_copies.get(op_type, 0)) for name in names if name in self.graph.parameters)
        return sum(copies * self.nbytes([name]) for name, copies in counted.items())
