"""What no plan can beat: bounds on the time per item that hold for every placement."""

from __future__ import annotations

import numpy as np

from multiedge.profile import Floats


def load_bound(seconds: Floats) -> float:
    """The least T at which the nodes, split at will, fit devices that each work T seconds per item.

    `seconds` is (nodes, devices). The linear program min T, sum_d x[v, d] = 1, sum_v seconds[v, d] x[v, d] <= T: every
    plan, interleaved and replicated ones included, is one of its points. Nodes in equal proportions (all times those of
    one device times a factor) leave sum of work / sum of speeds. The returned value is the dual one, recomputed from the
    multipliers, so that the solver's tolerance cannot make it too high.
    """
    total = seconds.sum(axis=0)
    simple = weighted_bound(seconds, speed_weights(total))
    proportional = np.allclose(seconds * total[:1], seconds[:, :1] * total, rtol=1e-9, atol=0.0)
    return simple if proportional else max(simple, weighted_bound(seconds, _multipliers(seconds)))


def heaviest_node_bound(seconds: Floats) -> float:
    """The heaviest node on its fastest device: a bound where stages are not replicated."""
    return float(seconds.min(axis=1).max(initial=0.0))


def speed_weights(total_s: Floats) -> Floats:
    """Multipliers of the devices in proportion to their speed on the whole model, which sum to 1."""
    speed = 1.0 / np.maximum(total_s, 1e-300)
    weights: Floats = speed / speed.sum()
    return weights


def weighted_bound(seconds: Floats, weights: Floats) -> float:
    """sum over nodes of min over devices of weight * seconds: a bound for any weights that sum to 1 (weak duality)."""
    return float((seconds * weights).min(axis=1).sum())


def _multipliers(seconds: Floats) -> Floats:
    import scipy.optimize
    import scipy.sparse

    nodes, devices = seconds.shape
    scale = seconds.sum() / devices or 1.0
    rows = np.tile(np.arange(devices), nodes)
    columns = np.arange(nodes * devices)
    loads = scipy.sparse.coo_matrix((seconds.ravel() / scale, (rows, columns)), shape=(devices, nodes * devices))
    loads = scipy.sparse.hstack([loads, -np.ones((devices, 1))]).tocsr()
    once = scipy.sparse.coo_matrix(
        (np.ones(nodes * devices), (columns // devices, columns)), shape=(nodes, nodes * devices + 1)
    )
    aim = np.zeros(nodes * devices + 1)
    aim[-1] = 1.0
    found = scipy.optimize.linprog(aim, A_ub=loads, b_ub=np.zeros(devices), A_eq=once.tocsr(), b_eq=np.ones(nodes))
    if found.status != 0:
        return speed_weights(seconds.sum(axis=0))
    weights = np.maximum(-found.ineqlin.marginals, 0.0)
    multipliers: Floats = weights / weights.sum() if weights.sum() > 0 else speed_weights(seconds.sum(axis=0))
    return multipliers
