"""A plan in lines of text: its objective and proof, its other estimates, and why devices are left out."""

from __future__ import annotations

from multiedge.plan import Plan
from multiedge.quantity import human_bytes


def plan_lines(plan: Plan) -> list[str]:
    """Objective, bound and gap, then the other estimates, then each device that is left out and why."""
    expected = plan.estimate
    energy = "energy not known (a device declares no power)"
    if expected.energy_j is not None:
        energy = f"{expected.energy_j:.4g} J per item"
    solved = f"; solved in {plan.solve_s:.2f} s" if plan.solve_s else ""
    lines = [
        f"{plan.objective}: {value_text(plan.objective, plan.value)}; {_proof(plan)}{solved}",
        f"at most {expected.fps_bound:.4g} items/s, limited by {expected.bottleneck};"
        f" one item takes {expected.latency_s * 1e3:.4g} ms; {human_bytes(expected.network_bytes)} sent per item; {energy}",
    ]
    lines += [f"left out: {device}: {reason}" for device, reason in plan.left_out.items()]
    return lines + [f"note: {note}" for note in plan.notes]


def _proof(plan: Plan) -> str:
    if plan.lower_bound is None or plan.gap is None:
        return "no bound proven"
    return f"bound {value_text(plan.objective, plan.lower_bound)}, gap {plan.gap:.2%} among {plan.bound_scope}"


def value_text(objective: str, value: float) -> str:
    """A value of the objective with its unit."""
    if objective == "energy":
        return f"{value:.4g} J per item"
    return f"{value * 1e3:.4g} ms" + (" per item" if objective == "throughput" else "")
