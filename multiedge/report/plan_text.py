"""A plan in lines of text: its objective and proof, its other estimates, and why devices are left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from multiedge.fleet import REFERENCE_BACKEND
from multiedge.measurements import RanStage
from multiedge.plan import DeviceMemory, MeasuredAccuracy, Path, Plan, Runtime
from multiedge.quantity import Knowledge, human_bytes, least, number_text

NOTABLE = 0.01
"""A difference of two rates or times that is printed."""
MOST_PATHS = 12
"""Paths that are printed."""


def plan_lines(plan: Plan, shared: SharedRate | None = None) -> list[str]:
    """Objective, bound and gap, then the other estimates, the paths of items, then each device that is left out and why.

    `shared` is the rate with all devices on this machine, None if that is not known.
    """
    expected = plan.estimate
    energy = "energy not known (a device declares no power)"
    if expected.energy_j is not None:
        energy = f"{number_text(expected.energy_j)} J per item"
    solved = f"; solved in {plan.solve_s:.2f} s" if plan.solve_s else ""
    lines = [
        f"{plan.objective}: {value_text(plan.objective, plan.value)}; {_proof(plan)}{solved}",
        f"{rate_text(plan, shared)}; one item takes {latency_text(plan)};"
        f" {human_bytes(expected.network_bytes)} sent per item; {energy}",
    ]
    if plan.reference and plan.known is Knowledge.ESTIMATED:
        lines.append(f"estimated with speed 1 as {plan.reference}")
    lines += runtime_lines(plan.runtimes)
    lines += accuracy_lines(plan.accuracy)
    lines += step_lines(plan)
    lines += [f"path: {text}" for text in path_texts(plan)]
    lines += margin_lines(expected.memory)
    lines += [f"left out: {device}: {reason}" for device, reason in plan.left_out.items()]
    lines += [f"note: {note}" for note in plan.notes]
    return lines + batch_lines(plan.free_batch, plan.batch, expected.fps_bound) + measured_lines(plan.measured_sizes)


def step_lines(plan: Plan) -> list[str]:
    """What the steps of a text take: one line about prompts, and one about further tokens; nothing where it is not known."""
    prompts = sorted((cost for cost in plan.steps if cost.size.is_prompt), key=lambda cost: cost.size)
    tokens = sorted((cost for cost in plan.steps if cost.size.tokens == 1), key=lambda cost: cost.size)
    if not prompts or not tokens:
        return []
    firsts = ", ".join(f"{number_text(cost.latency_s * 1e3)} ms for {cost.size.tokens:,}" for cost in prompts)
    last = tokens[-1]
    later = f"{number_text(tokens[0].latency_s * 1e3)} ms at first, {number_text(last.latency_s * 1e3)} ms"
    count = plan.sequences
    rate = f"{number_text(count / last.time_s(count))} tokens/s of {count} sequences" if count > 1 else ""
    return [
        f"time to first token by tokens of the prompt: {firsts}",
        f"time per further token: {later} at a context of {last.size.context:,}{'; ' if rate else ''}{rate}",
    ]


@dataclass(frozen=True)
class SharedRate:
    """Items per second with all devices of a plan emulated on one machine of so many processors."""

    fps: float
    devices: int
    cores: int


def rate_text(plan: Plan, shared: SharedRate | None = None) -> str:
    """The expected rates where the executor itself or shared processors lower them by more than one percent, then the bound and
    what limits it. `shared` is the rate with all devices on this machine, None if that is not known."""
    expected = plan.estimate
    bound = "estimated" if plan.known is Knowledge.ESTIMATED else "at most"
    own_fps = expected.fps_expected or expected.fps_bound
    rates = []
    if shared and shared.fps < (1.0 - NOTABLE) * own_fps:
        devices = f"{shared.devices} devices" if shared.devices > 1 else "1 device"
        rates.append(
            f"{number_text(shared.fps)} items/s with {devices} and the caller on this machine's {shared.cores} processors"
        )
    if own_fps < (1.0 - NOTABLE) * expected.fps_bound:
        rates.append(f"{number_text(own_fps)} items/s on machines of their own")
    limit = f"{bound} {number_text(expected.fps_bound)} items/s, limited by {expected.bottleneck}"
    return f"expected {', '.join(rates)}; {limit}" if rates else limit


def latency_text(plan: Plan) -> str:
    """The time of one item alone, with what the executor itself takes if that is known and more than one percent."""
    seconds, expected_s = plan.estimate.latency_s, plan.estimate.expected_latency_s
    if expected_s is None or expected_s <= (1.0 + NOTABLE) * seconds:
        return f"{number_text(seconds * 1e3)} ms"
    return f"{number_text(expected_s * 1e3)} ms, {number_text(seconds * 1e3)} ms of them in stages and links"


def runtime_lines(runtimes: Mapping[str, Runtime]) -> list[str]:
    """One line for each runtime with its devices, where a device has another one than the reference with float32."""
    if all((runtime.backend, runtime.precision) == (REFERENCE_BACKEND, "float32") for runtime in runtimes.values()):
        return []
    return _by_runtime((str(runtime), name) for name, runtime in runtimes.items())


def ran_lines(stages: Sequence[RanStage]) -> list[str]:
    """One line for each runtime that computed, with its stages, where one was another than the reference with float32."""
    if all((ran.backend, ran.precision) == (REFERENCE_BACKEND, "float32") for ran in stages):
        return []
    ordered = sorted(stages, key=lambda ran: (ran.stage, ran.device))
    return _by_runtime((ran.runtime, f"{ran.device} (stage {ran.stage + 1})") for ran in ordered)


def _by_runtime(pairs: Iterable[tuple[str, str]]) -> list[str]:
    places: dict[str, list[str]] = {}
    for runtime, place in pairs:
        places.setdefault(runtime, []).append(place)
    return [f"runtime: {runtime} on {', '.join(names)}" for runtime, names in places.items()]


def accuracy_lines(accuracy: MeasuredAccuracy | None) -> list[str]:
    """One line about what the runtimes cost in right answers; nothing where they are those of the devices."""
    if accuracy is None:
        return []
    against = "the model as it is" if accuracy.kind == "agreement" else f"{accuracy.reference:.1%} of the model as it is"
    loss = f"loss {max(0.0, accuracy.loss):.1%} of at most {accuracy.limit:.1%}"
    return [f"{accuracy.kind}: {accuracy.value:.1%} on {accuracy.items} items against {against}; {loss}"]


def path_texts(plan: Plan) -> list[str]:
    """The ways of items with their shares, the most used ones first; empty if every item passes every stage."""
    rate = sum(path.items_per_s for path in plan.paths)
    ordered = sorted(plan.paths, key=lambda path: -path.items_per_s)
    lines = [
        f"{path.items_per_s / rate:.0%} of all items ({number_text(path.items_per_s)} items/s): {_stages_of(plan, path)}"
        for path in ordered[:MOST_PATHS]
    ]
    rest = len(ordered) - len(lines)
    return lines + ([f"{rest} more, listed by --json"] if rest > 0 else [])


def margin_lines(memory: Sequence[DeviceMemory]) -> list[str]:
    """One line about the share of memory that plans leave free, nothing where no device in use has a limit and a margin."""
    margins = sorted({each.margin for each in memory if each.margin and each.limit_bytes is not None})
    percent = " to ".join(f"{100 * margin:.3g}%" for margin in margins[:: max(1, len(margins) - 1)])
    return [f"memory: each figure plus {percent} fits its limit (memory_margin)"] if margins else []


def _stages_of(plan: Plan, path: Path) -> str:
    """Devices and nodes of a path, neighbouring stages of one device together."""
    spans: list[tuple[str, int, int]] = []
    for stage in (plan.stages[number] for number in path.stages):
        first, last = stage.nodes[0], stage.nodes[-1]
        if spans and spans[-1][0] == stage.device:
            first = spans.pop()[1]
        spans.append((stage.device, first, last))
    return ", ".join(f"{device} {first}..{last}" for device, first, last in spans)


def batch_lines(free_batch: Sequence[str], batch: int = 1, fps: float | None = None, *, gives_shapes: bool = True) -> list[str]:
    """One line about the inputs whose batch is open in the model, or about the batch of the plan, with the samples per second
    of `fps` items per second; nothing if there is neither. `gives_shapes` is whether the command has --shape."""
    if batch > 1:
        samples = "" if fps is None else f"; {number_text(fps * batch)} samples/s"
        return [f"batch: {batch} samples in each item, for which all figures are{samples}"]
    names = ", ".join(free_batch)
    remedy = "; --shape gives another" if gives_shapes else ""
    return [f"batch: open in the model, taken as 1 (input {names}){remedy}"] if free_batch else []


def measured_lines(names: Sequence[str]) -> list[str]:
    """One line about sizes that were measured; nothing if there are none."""
    if not names:
        return []
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return [f"sizes: of '{names[0]}'{more} from one run on random inputs; other inputs may give other sizes"]


COSTS = {
    Knowledge.ESTIMATED: "estimated",
    Knowledge.DERIVED: "derived from measured costs",
    Knowledge.MEASURED: "from measured costs",
}
"""What the first line says of its figures, by how the costs are known."""


def gain_line(plan: Plan) -> str | None:
    """What the plan gains over the best single device, and how its costs are known; None if the gain is not known."""
    baseline = plan.baseline
    if baseline is None or not math.isfinite(plan.value):
        return None
    single, value = plan.expected_values
    if baseline.value is None:
        return f"no single device has the memory for the model; {figure_text(plan.objective, value)}, {COSTS[plan.known]}"
    if plan.gain is None:
        return None
    costs = COSTS[least((plan.known, baseline.known))]
    both = _versus(plan.objective, value, baseline.value if single is None else single)
    if {device for stage in plan.stages for device in stage.devices} == {baseline.device}:
        return f"the best single device ({baseline.device}) alone, {figure_text(plan.objective, value)}, {costs}"
    return f"{plan.gain:.2f} x the best single device ({baseline.device}), {both}, {costs}"


def _versus(objective: str, value: float, single: float) -> str:
    number, _, unit = figure_text(objective, value).partition(" ")
    return f"{number} against {figure_text(objective, single).removesuffix(unit).rstrip()} {unit}"


def figure_text(objective: str, value: float) -> str:
    """A value of the objective as people compare it: items/s for throughput.

    >>> figure_text("throughput", 0.0125), figure_text("latency", 0.0125), figure_text("energy", 0.0125)
    ('80 items/s', '12.5 ms', '0.0125 J per item')
    """
    if objective == "throughput":
        return _rate(1 / value) if value > 0 else "unlimited items/s"
    return value_text(objective, value)


def _rate(per_s: float) -> str:
    return f"{number_text(per_s, 3)} items/s"


def _proof(plan: Plan) -> str:
    if plan.lower_bound is None or plan.gap is None:
        return "no bound proven"
    return f"bound {value_text(plan.objective, plan.lower_bound)}, gap {plan.gap:.2%} among {plan.bound_scope}"


def value_text(objective: str, value: float) -> str:
    """A value of the objective with its unit."""
    if objective == "energy":
        return f"{number_text(value)} J per item"
    return f"{number_text(value * 1e3)} ms" + (" per item" if objective == "throughput" else "")
