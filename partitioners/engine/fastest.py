"""The contiguous plan of least latency, under any limit on the bottleneck."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multiedge.errors import InfeasibleError
from multiedge.plan import Estimate, relay_transfers
from multiedge.planning import cost
from multiedge.quantity import at_least
from partitioners.engine.chain import Chain, Placed
from partitioners.engine.cheapest import Cheapest, Prices, cheapest
from partitioners.engine.search import SLACK, States
from partitioners.engine.suffixes import Best, Question, best_within


def fastest(chain: Chain, most_s: float = np.inf, *, deadline_s: float = np.inf) -> Cheapest:
    """The path of least latency of those with a bottleneck of at most `most_s`, and a bound on the latency of all.

    Prices leave out results that stages before the last one return; where there are some, the search that counts them follows.
    After `deadline_s` (of perf_counter) the path may be slower than the bound.
    """
    states, prices = States(chain), latency_prices(chain)
    least = cheapest(chain, states, prices, most_s)
    if not least.path or not chain.early_results:
        return least
    exact = best_within(chain, states, Question(prices, most_s=most_s), deadline_s)
    return Cheapest(exact.bound, list(exact.path) or least.path)


def fast_enough(chain: Chain, most_s: float, most_latency_s: float, *, deadline_s: float = np.inf) -> Best:
    """A path with a bottleneck of at most `most_s` and a latency of at most `most_latency_s`.

    The bound is inf if there is none; without a path and with a finite bound the time was over before either was certain.
    """
    states, prices = States(chain), latency_prices(chain)
    least = cheapest(chain, states, prices, most_s)
    if least.price > most_latency_s * SLACK:
        return Best(np.inf)
    if not chain.early_results or expected(chain, least.path).latency_s <= most_latency_s * SLACK:
        return Best(least.price, tuple(least.path))
    return best_within(chain, states, Question(prices, most_s=most_s, most_latency_s=most_latency_s), deadline_s)


def expected(chain: Chain, path: Sequence[Placed]) -> Estimate:
    """What the path is expected to give."""
    stages = chain.stages(path)
    transfers = relay_transfers(chain.profile.graph, stages, chain.profile.cut_bytes.tolist())
    return cost.estimate(chain.profile, chain.fleet, stages, transfers)


def too_slow(chain: Chain, most_latency_s: float, *, deadline_s: float = np.inf) -> InfeasibleError:
    """The error for a latency that no plan of the chain keeps, with one that the fastest of them does."""
    latency_s = expected(chain, fastest(chain, deadline_s=deadline_s).path).latency_s
    where = f"{chain.profile.graph.name} on {chain.fleet.name}"
    return InfeasibleError(
        f"no contiguous plan of {where} within {most_latency_s * 1e3:.6g} ms was found: allow {at_least(latency_s * 1e3)} ms"
    )


def latency_prices(chain: Chain) -> Prices:
    """Seconds on the way of one item: its stages, its hand-overs, and its results back to where items arise."""
    group = [way.group for way in chain.ways]
    nodes = chain.seconds[group]
    finite = np.where(np.isfinite(chain.per_byte_s), chain.per_byte_s, 0.0)
    # A hand-over goes over one link whatever the number of replicas, so their shares are undone.
    members = np.array([way.replicas for way in chain.ways])
    sending = (finite * members[:, None] * members)[:, :, None] * chain.cut
    return Prices(
        nodes=nodes,
        last_nodes=nodes + (chain.leave_per_byte_s * members)[:, None] * chain.results,
        stage=chain.overhead_s[group],
        enter=chain.enter_latency_s + chain.enter_per_byte_s * members * chain.cut[0],
        hand_over=chain.latency_s[:, :, None] + sending,
        last_stage=chain.leave_latency_s,
        excess=tuple(chain.times[index].excess for index in group),
    )
