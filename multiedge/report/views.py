"""The contents of the page for each run, as plain values for the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from multiedge.graph import Graph
from multiedge.measurements import Measurements
from multiedge.metrics import MetricValue, known_metrics
from multiedge.metrics.run import latencies_s
from multiedge.plan import CALLER, Plan
from multiedge.report import curves, gantt
from multiedge.report.blocks import Block, blocks
from multiedge.report.graph_svg import draw_graph
from multiedge.report.plan_text import batch_lines, gain_line, measured_lines, path_texts
from multiedge.report.results import RunResult
from multiedge.report.summary import host_line
from multiedge.report.svg import NARROW, by_width
from multiedge.report.units import human
from multiedge.report.workflow_svg import draw_workflow

BARS_IN_ALL = 1100
"""The most Gantt bars on one page, which keep it below a megabyte."""

DRAWN_RUNS = 12
"""The most runs with charts on one page, the fastest; `multiedge report` of a single file draws any other."""

GRAPH_CHARACTERS = 100_000
"""The most characters of drawings of graphs on one page; the first runs of the leaderboard get theirs."""

TILES = ("fps", "latency_mean_s", "peak_memory_bytes", "energy_per_item_j", "accuracy_top1", "fidelity")


@dataclass(frozen=True)
class Tile:
    """One figure in large type: the number, its unit, and a note."""

    label: str
    number: str
    unit: str
    note: str


@dataclass(frozen=True)
class DeviceRow:
    """One device of one run. Shares are from 0 to 1 (None: not known)."""

    name: str
    colour: int
    busy_share: float | None
    memory: str
    memory_share: float | None
    planned_share: float | None
    limit: str
    memory_parts: str
    energy: str
    energy_note: str
    runtimes: Sequence[str] = ()


@dataclass(frozen=True)
class Prediction:
    """The plan's estimate of a figure and the measured one; `error` is (seen - expected) / expected, None if one is missing."""

    what: str
    expected: str
    seen: str
    error: float | None


@dataclass(frozen=True)
class StageCard:
    """One stage in the picture of the plan; `sends` are its transfers as texts, `blocks` its part of a model that is known."""

    number: int
    devices: str
    colour: int
    nodes: str
    compute: str
    sends: tuple[str, ...]
    blocks: Sequence[Block] = ()


@dataclass(frozen=True)
class RunView:
    """One run's section of the page."""

    number: int
    result: RunResult
    tiles: Sequence[Tile]
    stages: Sequence[StageCard]
    entering: str
    lanes: Sequence[gantt.Lane]
    gantts: Sequence[tuple[str, Markup]]
    small_gantts: Sequence[tuple[str, Markup]]
    throughput: Markup
    cdf: Markup
    devices: Sequence[DeviceRow]
    predictions: Sequence[Prediction]
    quantiles: Sequence[tuple[str, str]]
    paths: Sequence[str] = ()
    graph: str = ""
    workflow: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    host: str = ""

    @property
    def has_runtimes(self) -> bool:
        """Whether it is known what computed on some device."""
        return any(device.runtimes for device in self.devices)

    @property
    def strategy(self) -> str:
        return self.result.plan.strategy if self.result.plan else ""

    @property
    def gain(self) -> str:
        """What the plan gains over the best single device; '' if that is not known."""
        return (gain_line(self.result.plan) if self.result.plan else None) or ""

    @property
    def batch(self) -> str:
        """What the plan took the batch for, if it is open in the model."""
        plan = self.result.plan
        return ". ".join((*batch_lines(plan.free_batch, plan.batch), *measured_lines(plan.measured_sizes))) if plan else ""


def view(number: int, result: RunResult, runs: int, graph: str = "") -> RunView:
    """One run's section of a page that shows `runs` runs."""
    run = result.measurements
    colours = colours_of(result)
    lanes = gantt.lanes(run, colours) if run else []
    drawn = run if number <= DRAWN_RUNS else None
    return RunView(
        number,
        result,
        tiles=[tile for name in TILES if (tile := _tile(result, name))],
        stages=_stage_cards(result.plan, colours, result.graph) if result.plan else [],
        entering=_bytes_between(result.plan, CALLER, 0) if result.plan else "",
        lanes=lanes,
        gantts=_gantts(drawn, colours, runs) if drawn else [],
        small_gantts=_gantts(drawn, colours, runs, NARROW) if drawn else [],
        throughput=by_width(curves.throughput(drawn), curves.throughput(drawn, NARROW)) if drawn else Markup(""),
        cdf=_cdf(number, result.name, drawn) if drawn else Markup(""),
        devices=_device_rows(run, colours) if run else [],
        predictions=_predictions(result),
        quantiles=_quantiles(result),
        paths=path_texts(result.plan) if result.plan else (),
        graph=graph,
        workflow=_workflow(result),
        settings={**result.configuration, **(run.settings if run else {})},
        host=host_line(run.host) if run and run.host else "",
    )


def _workflow(result: RunResult) -> Markup:
    """The steps of a workflow, and where the plan has each of them; '' for a model that is none."""
    if not (result.graph and result.graph.composition and result.plan and _is_of(result.graph, result.plan)):
        return Markup("")
    return draw_workflow(result.graph, result.plan.stages)


def colours_of(result: RunResult) -> dict[str, int]:
    """The number of each device's colour, in the order of the plan's stages and then of the run."""
    planned = [stage.device for stage in result.plan.stages] if result.plan else []
    seen = result.measurements.devices if result.measurements else ()
    return {name: number % gantt.COLOURS for number, name in enumerate(dict.fromkeys([*planned, *seen]))}


def graphs(results: Sequence[RunResult]) -> list[Markup]:
    """The model coloured by device for each run; '' where there is none, or beyond GRAPH_CHARACTERS."""
    drawn, left = [], GRAPH_CHARACTERS
    for result in results:
        drawing = Markup("")
        if result.graph and result.plan and left > 0 and _is_of(result.graph, result.plan):
            drawing = draw_graph(result.graph, result.plan.stages, result.plan.transfers)
        if len(drawing) > left:
            drawing = Markup("")
        left -= len(drawing)
        drawn.append(drawing)
    return drawn


def _cdf(number: int, name: str, run: Measurements) -> Markup:
    curve = [(number, name, latencies_s(run))]
    return by_width(curves.latency_cdf(curve), curves.latency_cdf(curve, NARROW))


def _gantts(run: Measurements, colours: Mapping[str, int], runs: int, width: float = gantt.WIDTH) -> list[tuple[str, Markup]]:
    """Titles and charts; a narrow chart has fewer items."""
    share = width / gantt.WIDTH
    most = int(share * min(400, BARS_IN_ALL // min(runs, DRAWN_RUNS)))
    windows = gantt.windows(run, int(share * gantt.ITEMS))
    drawn = [(window.title, gantt.draw(run, window, colours, most, width)) for window in windows]
    return [(title, drawing) for title, drawing in drawn if drawing]


def _tile(result: RunResult, name: str) -> Tile | None:
    figure = result.results.get(name)
    if figure is None or (figure.value is None and name not in known_metrics()):
        return None
    text, _, unit = human(figure.value, figure.unit).partition(" ")
    known = {"fps": "throughput", "latency_mean_s": "mean latency", "peak_memory_bytes": "peak memory"}
    label = known.get(name, name).removesuffix("_j").replace("_", " ")
    if figure.value is None:
        return Tile(label, "–", "", f"not measured: {figure.note}" if figure.note else "not measured")
    note = figure.note if figure.method == "measured" else f"{figure.method}; {figure.note}".rstrip("; ")
    return Tile(label, text, unit, note)


def _stage_cards(plan: Plan, colours: Mapping[str, int], graph: Graph | None) -> list[StageCard]:
    cards = []
    contents = blocks(graph, plan.stages) if graph and _is_of(graph, plan) else [[] for _ in plan.stages]
    for index, (stage, expected) in enumerate(zip(plan.stages, plan.estimate.stages, strict=True)):
        following = CALLER if index + 1 == len(plan.stages) else index + 1
        is_only = not plan.paths  # where items take one of several paths, each target is named
        sends = [
            ("unknown size" if move.nbytes is None else human(move.nbytes, "B"))
            + ("" if is_only and move.target == following else f" to {_end_name(move.target)}")
            for move in plan.transfers
            if move.source == index
        ]
        cards.append(
            StageCard(
                number=index + 1,
                devices=", ".join(stage.devices),
                colour=colours.get(stage.device, index % 8),
                nodes=f"{len(stage.nodes)} nodes",
                compute=human(expected.compute_s, "s"),
                sends=tuple(sends),
                blocks=contents[index],
            )
        )
    return cards


def _is_of(graph: Graph, plan: Plan) -> bool:
    """False for a graph and a plan that were put together by mistake."""
    return sorted(node for stage in plan.stages for node in stage.nodes) == list(range(len(graph.nodes)))


def _end_name(stage: int) -> str:
    return "the caller" if stage == CALLER else f"stage {stage + 1}"


def _bytes_between(plan: Plan, source: int, target: int) -> str:
    sizes = [move.nbytes for move in plan.transfers if (move.source, move.target) == (source, target)]
    known = [size for size in sizes if size is not None]
    return human(sum(known), "B") if known and len(known) == len(sizes) else ""


def _device_rows(run: Measurements, colours: Mapping[str, int]) -> list[DeviceRow]:
    memory = {entry.device: entry for entry in run.memory}
    energy = {entry.device: entry for entry in run.energy}
    computed = {event.device for event in run.events if event.kind == "compute"}
    rows = []
    for name in run.devices:
        held, drawn = memory.get(name), energy.get(name)
        peak, planned, limit = (held.peak_bytes, held.planned_bytes, held.limit_bytes) if held else (None, None, None)
        full = limit or max(peak or 0, planned or 0) or None
        rows.append(
            DeviceRow(
                name,
                colours[name],
                run.busy_s(name) / run.wall_s if run.wall_s > 0 and name in computed else None,
                human(peak, "B"),
                peak / full if peak is not None and full else None,
                planned / full if planned is not None and full else None,
                f"of {human(limit, 'B')}" if limit else "no limit declared",
                _memory_parts(held.anonymous_bytes, held.file_bytes, held.method) if held else "",
                human(drawn.joules if drawn else None, "J"),
                _energy_note(drawn.method, drawn.source, drawn.peak_w, drawn.window_s) if drawn else "",
                runtimes_of(run, name),
            )
        )
    return rows


def runtimes_of(run: Measurements, device: str) -> list[str]:
    """What computed on a device, with the stages where it was not the same for all; empty if that is not known."""
    stages: dict[str, list[int]] = {}
    for ran in run.runtimes:
        if ran.device == device:
            stages.setdefault(ran.runtime, []).append(ran.stage + 1)
    if len(stages) < 2:
        return list(stages)
    return [f"stage {', '.join(map(str, sorted(numbers)))}: {runtime}" for runtime, numbers in stages.items()]


def _memory_parts(anonymous: int | None, file: int | None, method: str) -> str:
    parts = [f"{human(value, 'B')} {what}" for value, what in ((anonymous, "anonymous"), (file, "file")) if value is not None]
    return ", ".join([*parts, method])


def _energy_note(method: str, source: str, peak_w: float | None, window_s: float | None) -> str:
    peak = f"peak {human(peak_w, 'W')} over {human(window_s, 's')}" if peak_w is not None else ""
    return ", ".join(part for part in (method if method != "none" else "", source, peak) if part)


def _predictions(result: RunResult) -> list[Prediction]:
    """The plan's expectations and the run's figures: of the whole pipeline, then of each stage."""
    plan, figures = result.plan, result.results
    if plan is None:
        return []
    expected = plan.estimate

    def seen(name: str) -> float | None:
        figure = figures.get(name)
        return figure.value if figure else None

    at_pace = seen("fps_predicted_at_pace")
    whole = [
        ("throughput", seen("fps_predicted"), seen("fps"), "items/s"),
        *([("throughput at the pace measured", at_pace, seen("fps"), "items/s")] if at_pace is not None else []),
        # the plan's latency is that of a single item; in other scenarios items wait for each other
        *([("mean latency", expected.latency_s, seen("latency_mean_s"), "s")] if _one_at_a_time(result) else []),
        ("energy per item", expected.energy_j, seen("energy_per_item_j"), "J"),
        ("network per item", expected.network_bytes, seen("network_bytes"), "B"),
    ]
    means = gantt.stage_means(result.measurements) if result.measurements else []
    for index, (stage, costs) in enumerate(zip(plan.stages, expected.stages, strict=True)):
        mean = means[index] if index < len(means) else None
        whole.append((f"stage {index + 1} on {stage.device}", costs.compute_s, mean, "s"))
    if result.measurements:
        whole += [(f"memory of {m.device}", m.planned_bytes, m.peak_bytes, "B") for m in result.measurements.memory]
    if all(row[2] is None for row in whole):
        return []
    return [_prediction(*row) for row in whole if row[1] is not None or row[2] is not None]


def _one_at_a_time(result: RunResult) -> bool:
    return result.measurements is not None and result.measurements.settings.get("scenario") == "SingleStream"


def _prediction(what: str, expected: float | None, observed: float | None, unit: str) -> Prediction:
    error = (observed - expected) / expected if expected and observed is not None else None
    return Prediction(what, "–" if expected is None else human(expected, unit), human(observed, unit), error)


def _quantiles(result: RunResult) -> list[tuple[str, str]]:
    figures = {name: result.results.get(f"latency_{name}_s") for name in ("mean", "p50", "p90", "p99", "max")}
    return [(name, _quantile(figure)) for name, figure in figures.items() if figure]


def _quantile(figure: MetricValue) -> str:
    if figure.value is None:
        return f"n<{figure.samples_needed}" if figure.samples_needed else figure.note or human(None, "s")
    return human(figure.value, "s")
