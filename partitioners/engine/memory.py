"""Memory of contiguous stages, as `multiedge.planning.memory` counts it, for all stages together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from multiedge.profile import Ints, Profile


def result_bytes(profile: Profile) -> Ints:
    """Bytes of the model's outputs that the first p nodes make and send, (n + 1,), in the mean over all items."""
    return _results(profile, lambda name: profile.graph.sent_bytes_of([name]) or 0)


def _results(profile: Profile, size_of: Callable[[str], int]) -> Ints:
    graph = profile.graph
    found = np.zeros(len(profile) + 1, dtype=np.int64)
    for name in graph.outputs:
        if name in graph.producer and name in graph.tensors:
            found[graph.producer[name] + 1] += size_of(name)
    return np.cumsum(found)


def ample_bytes(profile: Profile) -> int:
    """Bytes that no stage exceeds."""
    return int(
        profile.memory_use.stage_bytes(
            parameters=sum(map(profile.graph.size_of, profile.graph.parameters)),
            live=int(profile.live_bytes.max(initial=0)),
            buffers=int(2 * profile.held_cut_bytes.max(initial=0) + _results(profile, profile.graph.size_of)[-1]),
            packing=int(profile.packing_bytes.max(initial=0)),
            folded=int(profile.folded_bytes.sum()),
        )
    )


def memory_rows(profile: Profile) -> Iterator[Ints]:
    """For each start p = 0 ... n-1 the bytes that stages [p, p+1), [p, p+2) ... [p, n) take besides the runtime.

    Parameters count once, where the stage reads them first; live activations by their largest; buffers by what crosses
    either end. Under relay transfers the live set inside a stage is that of the whole model, since a stage holds what it
    only passes on. Linear time and memory per row, so a model of 5,000 nodes needs no 5,000 x 5,000 table.
    """
    cut, live, results = profile.held_cut_bytes, profile.live_bytes, _results(profile, profile.graph.size_of)
    first_reads, next_reads = _parameter_reads(profile)
    for start in range(len(profile)):
        parameters = np.cumsum(first_reads[start:])
        yield profile.memory_use.stage_bytes(
            parameters=parameters,
            live=np.maximum.accumulate(live[start:]),
            buffers=cut[start] + cut[start + 1 :] + results[start + 1 :] - results[start],
            packing=np.maximum.accumulate(profile.packing_bytes[start:]),
            folded=np.cumsum(profile.folded_bytes[start:]),
        )
        for reader, nbytes in next_reads[start]:
            first_reads[reader] += nbytes


def _parameter_reads(profile: Profile) -> tuple[Ints, list[list[tuple[int, int]]]]:
    """Bytes of the parameters that each node is the first of all to read, and for each node the (next reader, bytes) of
    each parameter it reads: who loads it in a stage that starts after the node."""
    graph = profile.graph
    first = np.zeros(len(profile), dtype=np.int64)
    following: list[list[tuple[int, int]]] = [[] for _ in range(len(profile))]
    for name, parameter in graph.parameters.items():
        readers = graph.consumers.get(name, ())
        if readers and parameter.nbytes:
            first[readers[0]] += parameter.nbytes
            for reader, after in pairwise(readers):
                following[reader].append((after, parameter.nbytes))
    return first, following
