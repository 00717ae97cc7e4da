"""The steps from model and devices to a plan, parts, a running pipeline and its results.

`partition` does all steps from files to parts; the Ianvs paradigm and notebooks use it. Strategies, profilers and executors are
chosen by name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from multiedge.backends.stages import memory_use_of, pass_on, require_backends, resolved_fleet, runtime_of
from multiedge.defaults import DEFAULT_PROFILER, DEFAULT_STRATEGY
from multiedge.errors import ConfigError, MultiedgeError, PipelineError
from multiedge.files import cache_folder
from multiedge.fleet import Device, Fleet
from multiedge.formats.devices import read_fleet
from multiedge.formats.profile import load_profile, require_fits
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph, read_runnable, write_parts
from multiedge.onnx_io.manifest import read_profile
from multiedge.options import build, option_names, require_options
from multiedge.plan import Manifest, Plan, Runtime, Stage, direct_transfers, relay_transfers, require, unestimated_plan
from multiedge.planning import cost
from multiedge.planning.baseline import best_single
from multiedge.planning.checks import encoding_violations, memory_violations, structural_violations, violations
from multiedge.planning.kept import with_kept_states
from multiedge.planning.pins import Pins, plan_pinned
from multiedge.planning.rates import with_rates
from multiedge.planning.routes import routed
from multiedge.profile import Profile
from partitioners import PARTITIONERS
from partitioners.engine.contract import Pinnable
from profilers import PROFILERS

if TYPE_CHECKING:
    from multiedge.executors.flow.contract import Result, Source
    from multiedge.executors.flow.drive import Progress, ScenarioRun
    from multiedge.measurements import Measurements
    from multiedge.report.results import RunResult

PathLike = str | os.PathLike[str]


def profile_model(
    graph: Graph, fleet: Fleet, profiler: str = DEFAULT_PROFILER, *, sequences: int = 1, **options: Any
) -> Profile:
    """Costs of every node of a model on every device.

    Args:
        graph: The model.
        fleet: The devices.
        profiler: Name of a profiler: 'static', 'measured', 'segments', or one from a package.
        sequences: Of a model with states, the sequences that are to be kept at the same time.
        **options: Options of the profiler.

    Returns:
        The Profile.

    Raises:
        ConfigError: If there is no such profiler, backend or option.
        UnknownSizeError: If the size of a tensor is not known; the message has the shapes to give.
        ProfileError: If costs cannot be found, for instance because only some devices state a speed.
    """
    require_backends(fleet)
    graph.require_inputs()
    profile: Profile = build(PROFILERS, profiler, options).profile(graph, fleet)
    return _completed(profile, fleet, options.get("reference"), sequences)


def node_costs(
    graph: Graph, fleet: Fleet, path: PathLike | None = None, reference: str | None = None, sequences: int = 1
) -> Profile:
    """The profile in the file, checked against model and fleet, or one by the default profiler, relative to `reference`."""
    if path is None:
        return profile_model(graph, fleet, sequences=sequences, **({"reference": reference} if reference else {}))
    profile = load_profile(path)
    require_fits(profile, graph, fleet)
    return _completed(profile, fleet, reference, sequences)


def _completed(profile: Profile, fleet: Fleet, reference: str | None, sequences: int = 1) -> Profile:
    """The profile with how workers hold memory and states, and what the executor itself takes on this machine."""
    from profilers.engine.reference import is_declared

    memory_use = profile.memory_use.at_least(memory_use_of(resolved_fleet(fleet, profile.graph.path)))
    profile = with_rates(with_kept_states(profile, fleet, sequences))
    if profile.pipeline is None and not is_declared(reference):
        from multiedge.calibration import kept_pipeline_cost  # starts processes: not for those who take declared figures

        profile = replace(profile, pipeline=kept_pipeline_cost())
    notes = dict.fromkeys((*profile.notes, *_assumptions(profile.graph)))
    return replace(profile, memory_use=memory_use, notes=tuple(notes))


def _assumptions(graph: Graph) -> list[str]:
    """What is taken for the rates of conditions that nobody has given or measured."""
    steps = graph.composition.assumed if graph.composition else ()
    return [f"rate of step '{step}' not known, taken as 1; add 'rate' to the workflow" for step in steps]


def segment_costs(
    graph: Graph,
    fleet: Fleet,
    strategy: str,
    options: Mapping[str, Any],
    progress: Callable[[str, float], None],
    sequences: int = 1,
) -> Profile:
    """Costs by timing the parts that `strategy` would make, again until the plan stays the same; times are kept on disk.

    `progress` is called with the step and the share of it that is done.
    """
    cache = str(cache_folder("segments"))
    given = {"strategy": strategy, "options": options, "cache": cache, "progress": progress}
    return profile_model(graph, fleet, "segments", sequences=sequences, **given)


def choose_strategy(strategy: str | None, objective: str | None, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A strategy and its options: the one of the objective's name, or the named one, which gets the objective as an option.

    Raises ConfigError for a strategy or an option that does not exist, and for a strategy with one objective only.
    """
    name = strategy or objective or DEFAULT_STRATEGY
    require_options(PARTITIONERS, name, options)
    if objective in (None, name):
        return name, dict(options)
    if "objective" not in option_names(PARTITIONERS, name):
        raise ConfigError(
            f"objective '{objective}': strategy '{name}' has one objective only; use strategy '{objective}', or leave one out"
        )
    return name, {**options, "objective": objective}


def plan_model(
    profile: Profile,
    fleet: Fleet,
    strategy: str = DEFAULT_STRATEGY,
    *,
    first_on: str = "",
    last_on: str = "",
    **options: Any,
) -> Plan:
    """A plan of the strategy of that name.

    Args:
        profile: Costs of the model.
        fleet: The devices.
        strategy: Name of a strategy, such as 'throughput', 'latency' or 'energy'.
        first_on: The device that must take the inputs: all nodes that read them are there. '' for any.
        last_on: The device that must give the results: all nodes that make them are there. '' for any.
        **options: Options of the strategy.

    Returns:
        The Plan, with its estimate and proof.

    Raises:
        ConfigError: If there is no such strategy, backend, option or device, or the strategy knows no `first_on` and `last_on`.
        InfeasibleError: If no plan fits the fleet.
        PlanError: If the plan of the strategy cannot run; it lists all errors.
    """
    require_backends(fleet)
    fleet = resolved_fleet(fleet, profile.graph.path)
    partitioner = build(PARTITIONERS, strategy, options)
    start = perf_counter()
    pins = Pins(first_on, last_on)
    if pins and not isinstance(partitioner, Pinnable):
        raise ConfigError(f"first_on, last_on: strategy '{strategy}' cannot keep stages on a device; use {_pinnable()}")
    plan: Plan = plan_pinned(partitioner.plan, profile, fleet, pins) if pins else partitioner.plan(profile, fleet)
    if plan.solve_s == 0:
        # A strategy from a package may leave its time out, as `plan_by_hand` does.
        plan = replace(plan, solve_s=perf_counter() - start)
    require(violations(profile, fleet, plan.stages, plan.transfers, plan.paths), f"plan of strategy '{strategy}'")
    return replace(
        plan,
        baseline=best_single(profile, fleet, plan.objective),
        options=options,
        runtimes=_runtimes(plan, fleet),
    )


def _runtimes(plan: Plan, fleet: Fleet) -> dict[str, Runtime]:
    """What computes the stages of each device that the plan uses."""
    names = dict.fromkeys(name for stage in plan.stages for name in stage.devices)
    return {name: runtime_of(fleet.device(name)) for name in names}


def _pinnable() -> str:
    """The strategies that keep pins, in words."""
    names = []
    for name in PARTITIONERS.names():
        with suppress(ConfigError):
            if issubclass(PARTITIONERS.load(name), Pinnable):
                names.append(f"'{name}'")
    return f"{', '.join(names[:-1])} or {names[-1]}"


def plan_by_hand(
    profile: Profile,
    fleet: Fleet,
    stages: Sequence[Stage],
    *,
    strategy: str = "custom",
    objective: str = "throughput",
    lower_bound: float | None = None,
) -> Plan:
    """The plan of given stages; each tensor is sent once to each stage that reads it.

    Args:
        profile: Costs of the model.
        fleet: The devices.
        stages: The placement, in topological order.
        strategy: The name that the plan shows.
        objective: 'throughput', 'latency' or 'energy'.
        lower_bound: A value that no plan is below, in the unit of the objective; None if nothing is proven.

    Returns:
        The Plan, with its estimate.

    Raises:
        PlanError: If the plan cannot run; it lists all errors.
    """
    require(structural_violations(profile.graph, fleet, stages), "plan by hand")
    transfers = direct_transfers(profile.graph, stages)
    wrong = encoding_violations(profile.graph, fleet, stages, transfers)
    require([*wrong, *memory_violations(profile, fleet, stages, transfers)], "plan by hand")
    plan = cost.make_plan(strategy, objective, profile, fleet, stages, transfers, lower_bound=lower_bound)
    return replace(plan, baseline=best_single(profile, fleet, objective))


def plan_cuts(graph: Graph, boundaries: Sequence[int]) -> Plan:
    """A plan with one part between each two boundaries (numbers of nodes), each on a device of its own.

    Its estimates are counted, as if every device were one core of a common server; without known sizes there are none.
    """
    ends = (0, *boundaries, len(graph.nodes))
    names = [f"part_{number + 1}" for number in range(len(ends) - 1)]
    stages = [Stage.span(name, *span) for name, span in zip(names, pairwise(ends), strict=True)]
    if graph.unsized:
        return unestimated_plan("split", graph, stages)
    fleet = Fleet(tuple(Device(name) for name in names), name="parts")
    profile = profile_model(graph, fleet, reference="declared")
    transfers = relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())
    return cost.make_plan("split", "throughput", profile, fleet, stages, transfers)


def partition(
    model: PathLike,
    devices: PathLike | Fleet,
    *,
    directory: PathLike,
    strategy: str = DEFAULT_STRATEGY,
    options: Mapping[str, Any] | None = None,
    profiler: str = DEFAULT_PROFILER,
    shapes: Mapping[str, Sequence[int]] | None = None,
    copy_weights: bool = False,
) -> Manifest:
    """Reads a model and a fleet, plans, and writes the parts.

    Args:
        model: The ONNX file.
        devices: A Fleet, or a devices.yaml.
        directory: The folder for parts and manifest.
        strategy: Name of a strategy.
        options: Options of the strategy.
        profiler: Name of a profiler.
        shapes: Example shapes, by name, for inputs with dynamic dimensions.
        copy_weights: Whether each part has its own copy of its weights.

    Returns:
        The Manifest.

    Raises:
        MultiedgeError: If a file, name or option is wrong, or no plan fits; one line.
    """
    fleet = devices if isinstance(devices, Fleet) else read_fleet(devices)
    graph = read_graph(model, shapes)
    profile = profile_model(graph, fleet, profiler)
    plan = plan_model(profile, fleet, strategy, **(options or {}))
    manifest = write_parts(graph, plan, directory, copy_weights=copy_weights, profile=profile)
    pass_on(manifest, fleet, graph.path)
    return manifest


class PlanRun:
    """A plan that is run as a pipeline: iterate over it for the results, in the order of the items, as they come.

    No answer is kept. `result` is there once the timed window has begun, also of an iteration that ended early.

    Args:
        plan: A plan folder or its manifest.
        fleet: The devices; by default every device is this machine, and links cost nothing.
        items: Arrays by input name, one mapping for each item.
        executor: Name of an executor: 'processes', 'inline', 'remote', 'ray', or one from a package.
        scenario: 'offline', 'singlestream', 'multistream' or 'server'.
        rate_per_s: Items per second, for 'server'.
        latency_bound_s: Limit of the p99 latency, for 'server'.
        name: Name of the run; by default that of the folder.
        configuration: What a report shows as the options of the run.
        progress: Called with the number of items that were answered since the last call.
        **options: Options of the executor, as for `open_pipeline`.

    Raises:
        ConfigError: If there is no such scenario; of an executor or its options when the iteration begins.
        PipelineError: When the iteration begins, if a stage cannot start.
    """

    def __init__(
        self,
        plan: PathLike | Manifest,
        fleet: Fleet | None = None,
        items: Source = (),
        *,
        executor: str = "processes",
        scenario: str = "offline",
        rate_per_s: float | None = None,
        latency_bound_s: float | None = None,
        name: str = "",
        configuration: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> None:
        from multiedge.executors.flow.pipeline import local_fleet
        from multiedge.executors.flow.scenarios import scenario as scenario_of

        self._manifest = plan if isinstance(plan, Manifest) else read_runnable(plan)
        self._fleet = fleet or local_fleet(self._manifest)
        self._load = scenario_of(scenario, rate_per_s=rate_per_s, latency_bound_s=latency_bound_s)
        self._items, self._executor, self._options, self._progress = items, executor, options, progress
        self._name = name or Path(self._manifest.directory).name
        self._configuration = {"executor": executor, "scenario": scenario} if configuration is None else configuration
        self._stream: ScenarioRun | None = None

    def __iter__(self) -> Generator[Result, None, None]:
        from multiedge.executors.flow.pipeline import open_pipeline

        with open_pipeline(self._manifest, self._fleet, self._executor, **self._options) as pipeline:
            self._stream = pipeline.stream(self._items, self._load, progress=self._progress)
            yield from self._stream

    @property
    def has_begun(self) -> bool:
        """Whether the timed window has begun."""
        return self._stream is not None and self._stream.has_begun

    @property
    def stream(self) -> ScenarioRun:
        """The run of the scenario; PipelineError before the iteration."""
        if self._stream is None:
            raise PipelineError("the plan has not been run; iterate over the results first")
        return self._stream

    def unanswered(self) -> list[Result]:
        """Items that were issued and not answered before the iteration ended.

        Returns:
            A Result for each, with that as its error.

        Raises:
            PipelineError: Before the iteration.
        """
        return self.stream.unanswered()

    def measurements(self) -> Measurements:
        """What was recorded until now.

        Returns:
            The Measurements, with the energy of devices that declare their watts.

        Raises:
            PipelineError: Before the timed window has begun.
        """
        from multiedge.meters.modelled import with_energy

        return with_energy(self.stream.measurements(), self._fleet)

    def result(self) -> RunResult:
        """The figures of what was answered until now.

        Returns:
            The RunResult for `write_report`.

        Raises:
            PipelineError: Before the timed window has begun.
        """
        from multiedge.report.results import make_result

        measurements = self.measurements()
        transport = str(measurements.settings.get("transport", ""))
        return make_result(
            self._name,
            measurements,
            plan=self._manifest.plan,
            configuration=self._configuration,
            graph=graph_of(self._manifest),
            predicted=expected_plan(self._manifest, self._fleet, measurements.by_caller, transport),
        )


def run_plan(
    plan: PathLike | Manifest, fleet: Fleet | None = None, items: Source = (), **values: Any
) -> tuple[list[Result], RunResult]:
    """Runs a plan as a pipeline and keeps the answers.

    Args:
        plan: A plan folder or its manifest.
        fleet: The devices; by default every device is this machine, and links cost nothing.
        items: Arrays by input name, one mapping for each item.
        **values: Further arguments of `PlanRun`: the executor, the scenario, and options of the executor.

    Returns:
        The results, in the order of the items, and the RunResult for `write_report`. An item that failed has `tensors` None and
        an `error`.

    Raises:
        ConfigError: If there is no such executor, scenario or option.
        PipelineError: If a stage cannot start.
        RunInterrupted: On Ctrl-C; it has the results and the Measurements of what was answered until then.
    """
    from multiedge.executors.flow.drive import collected

    run = PlanRun(plan, fleet, items, **values)
    return collected(run)[0], run.result()


def expected_plan(manifest: Manifest, fleet: Fleet, by_caller: Collection[tuple[int, int]], transport: str = "") -> Plan | None:
    """The plan with the estimate that holds on an executor.

    Args:
        manifest: The plan's folder.
        fleet: The devices.
        by_caller: The (source, target) of the transfers that go by way of the caller.
        transport: How messages go. What that takes on this machine counts if it was measured.

    Returns:
        None for a folder without a plan. Without an estimate if transfers go by way of the caller and the folder has no
        profile.
    """
    from multiedge.calibration import known_pipeline_cost

    plan = manifest.plan
    if plan is None:
        return None
    pipeline = known_pipeline_cost(transport) if transport and plan.estimate.pipeline else None
    if not by_caller and pipeline is None:
        return plan
    profile = read_profile(manifest)
    if profile is None and not by_caller:
        return plan
    if profile is None:
        return replace(plan, estimate=replace(plan.estimate, bottleneck_s=math.inf, bottleneck="not known", latency_s=math.inf))
    return routed(plan, profile, fleet, by_caller, pipeline)


def graph_of(manifest: Manifest) -> Graph | None:
    """The graph of the planned model: from the profile in the plan's folder, or else from the model's file; None if neither is
    there, or if the file holds another model by now."""
    profile = read_profile(manifest)
    if profile:
        return profile.graph
    if not Path(manifest.model).is_file():
        return None
    try:
        graph = read_graph(manifest.model, manifest.input_shapes, manifest.state_pairs)
    except MultiedgeError:  # a run does not need the file, so what is wrong with it does not concern the run
        return None
    return graph if graph.model_hash == manifest.model_hash else None
