"""The grid of a benchmark: every strategy, with its options and seeds, on every model and fleet.

Costs are the static profile's with its fixed reference, whatever machine this is: equal rows come out on every machine, apart
from `planning_s`. A strategy that a time limit of its own stops is the exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from multiedge.bench.rows import FAILED, MEASURES, PLANNED, REFUSED, Figures, Row
from multiedge.bench.suite import Devices, Model
from multiedge.errors import ConfigError, MultiedgeError, one_line
from multiedge.formats.documents import parse_yaml
from multiedge.options import option_names, require_options
from multiedge.plan import Plan
from multiedge.planning.baseline import best_single
from multiedge.profile import Profile
from multiedge.registry import entry_points
from multiedge.report.environment import versions
from multiedge.run import plan_model, profile_model
from partitioners import PARTITIONERS
from profilers.engine.roofline import REFERENCE

PACKAGES = ("multiedge", "python", "numpy", "onnx", "scipy")
"""What the values of a row depend on."""
SEED = "seed"

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Choice:
    """A strategy with options; `label` is how it was written."""

    label: str
    name: str
    options: Mapping[str, Any]
    versions: str

    def seeds(self, wanted: Sequence[int]) -> tuple[int | None, ...]:
        """The seeds to run it with: (None,) if it takes none, or has one among its options."""
        takes_seed = SEED not in self.options and SEED in option_names(PARTITIONERS, self.name)
        return tuple(wanted) if takes_seed else (None,)


@dataclass(frozen=True)
class Case:
    """A model on a fleet, with its costs and the best single device's cost by measure."""

    model: Model
    devices: Devices
    profile: Profile
    single: Mapping[str, float | None]

    @property
    def suite(self) -> str:
        """The version of the suite that has both; '' if one of them is a file of the user."""
        return self.model.suite if self.devices.suite else ""

    @property
    def digests(self) -> tuple[tuple[str, str, str], ...]:
        """Kind, name and digest of the model and of the fleet."""
        return ("model", self.model.name, self.model.digest), ("fleet", self.devices.name, self.devices.digest)


GridCell = tuple[Case, Choice, int | None]
"""A case, a strategy, and a seed where the strategy takes one."""


def parse_choices(texts: Sequence[str]) -> list[Choice]:
    """Strategies from texts such as 'exact:time_limit_s=10:gap=0'; ConfigError for an unknown strategy or option."""
    choices = [_choice(text) for text in texts]
    if not choices:
        raise ConfigError("--strategies: expected at least one, such as throughput or exact:gap=0")
    labels = [choice.label for choice in choices]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise ConfigError(f"--strategies: '{twice}' is given twice")
    return choices


def _choice(text: str) -> Choice:
    name, *pairs = text.strip().split(":")
    PARTITIONERS.find(name, "--strategies: ")
    options = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise ConfigError(f"--strategies: expected NAME:KEY=VALUE such as exact:time_limit_s=10, got '{text}'")
        options[key] = parse_yaml(value, f"--strategies: {name}: {key}").data()
    require_options(PARTITIONERS, name, options)
    return Choice(text.strip(), name, options, _versions_of(name))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from '0-4' or '1,7,9'; ConfigError for anything else.

    >>> parse_seeds("0-2,7")
    (0, 1, 2, 7)
    """
    seeds: list[int] = []
    try:
        for piece in text.split(","):
            first, _, last = piece.partition("-")
            seeds.extend(range(int(first), int(last or first) + 1))
    except ValueError:
        seeds = []
    if not seeds:
        raise ConfigError(f"--seeds: expected whole numbers such as 0-4 or 1,7,9, got '{text}'")
    return tuple(dict.fromkeys(seeds))


def make_cases(models: Sequence[Model], fleets: Sequence[Devices]) -> list[Case]:
    """Each model on each fleet; ConfigError for two of one name, and what the profiler raises."""
    for names in ([model.name for model in models], [fleet.name for fleet in fleets]):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ConfigError(f"two entries are called '{twice}'; rows need different names")
    return [_case(model, fleet) for model in models for fleet in fleets]


def _case(model: Model, devices: Devices) -> Case:
    profile = profile_model(model.graph, devices.fleet, "static", reference=REFERENCE)
    single = {measure: best_single(profile, devices.fleet, measure).value for measure in MEASURES}
    known = {measure: value if value is None or value < float("inf") else None for measure, value in single.items()}
    return Case(model, devices, profile, known)


def grid(cases: Sequence[Case], choices: Sequence[Choice], seeds: Sequence[int]) -> Iterator[GridCell]:
    """Every cell, instance by instance."""
    for case in cases:
        for choice in choices:
            for seed in choice.seeds(seeds):
                yield case, choice, seed


def run_grid(
    cells: Sequence[GridCell],
    known: Mapping[tuple[str, ...], Row],
    progress: Progress = lambda step, share: None,
) -> Iterator[Row]:
    """The row of each cell, in order; one that is `known` by its key is not run again."""
    for number, (case, choice, seed) in enumerate(cells):
        start = _row(case, choice, seed, REFUSED, 0.0)
        progress(f"{start.model} on {start.fleet}: {start.strategy}", number / len(cells))
        yield known.get(start.key) or run_cell(case, choice, seed)


def run_cell(case: Case, choice: Choice, seed: int | None) -> Row:
    """Plans once. No plan is a row as well: 'refused' with the strategy's reason, 'failed' with the error of a strategy."""
    options = dict(choice.options) if seed is None else {**choice.options, SEED: seed}
    start = perf_counter()
    try:
        plan = plan_model(case.profile, case.devices.fleet, choice.name, **options)
    except MultiedgeError as error:
        return _row(case, choice, seed, REFUSED, perf_counter() - start, reason=str(error))
    except Exception as error:  # a strategy from a package: its fault is its row's, not the benchmark's
        return _row(case, choice, seed, FAILED, perf_counter() - start, reason=f"{type(error).__name__}: {one_line(error)}")
    return _row(case, choice, seed, PLANNED, perf_counter() - start, figures=_figures(case, plan))


def _row(
    case: Case,
    choice: Choice,
    seed: int | None,
    status: str,
    planning_s: float,
    reason: str = "",
    figures: Figures | None = None,
) -> Row:
    return Row(
        suite=case.suite,
        model=case.model.name,
        model_digest=case.model.digest,
        fleet=case.devices.name,
        fleet_digest=case.devices.digest,
        strategy=choice.label,
        options=choice.options,
        seed=seed,
        status=status,
        planning_s=planning_s,
        versions=choice.versions,
        reason=reason,
        figures=figures,
        single=case.single,
        free_batch=case.profile.graph.free_batch,
    )


def _figures(case: Case, plan: Plan) -> Figures:
    expected = plan.estimate
    return Figures(
        objective=plan.objective,
        value=plan.value,
        lower_bound=plan.lower_bound,
        bound_scope=plan.bound_scope,
        gap=plan.gap,
        bottleneck_s=expected.bottleneck_s,
        latency_s=expected.latency_s,
        energy_j=expected.energy_j,
        sent_bytes=expected.network_bytes,
        memory_bytes=max(expected.planned_bytes.values()),
        stages=len(plan.stages),
    )


def _versions_of(strategy: str) -> str:
    """The packages that a row of the strategy depends on, with the one that it is from."""
    installed = versions()
    named = [f"{name} {installed[name]}" for name in PACKAGES if name in installed]
    sources = [point.dist for point in entry_points(PARTITIONERS.group) if point.name == strategy and point.dist]
    return ", ".join([*named, *(f"{dist.name} {dist.version}" for dist in sources)])
