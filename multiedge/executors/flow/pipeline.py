"""A plan folder as something that maps items to results."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from multiedge.backends.stages import device_backend, require_backends, resolved
from multiedge.errors import ConfigError
from multiedge.executors import EXECUTORS
from multiedge.executors.flow.contract import Executor, Result, RunOptions, Source
from multiedge.executors.flow.drive import Progress, ScenarioRun, collected
from multiedge.executors.flow.feedback import Feedback, run_feedback
from multiedge.executors.flow.scenarios import Scenario
from multiedge.fleet import AUTO_BACKEND, Device, Encoding, Fleet
from multiedge.measurements import Measurements
from multiedge.meters.devices import open_meters
from multiedge.options import build_options
from multiedge.plan import Manifest, Plan
from multiedge.transports.coding import require_zstandard

log = logging.getLogger(__name__)


class Pipeline:
    """A running plan; a context manager. Warm-up items are run before the first `map` only."""

    def __init__(
        self, executor: Executor, options: RunOptions, devices: Sequence[Device] = (), plan: Plan | None = None
    ) -> None:
        self.executor = executor
        self.options = options
        self._devices = devices
        self._planned_bytes = plan.estimate.planned_bytes if plan else {}
        self._warm = False

    def map(
        self, items: Source, scenario: Scenario | None = None, *, progress: Progress | None = None
    ) -> tuple[list[Result], Measurements]:
        """Runs items through the pipeline.

        Args:
            items: Arrays by input name, one mapping for each item.
            scenario: When items are issued; by default as soon as the pipeline has room.
            progress: Called with the number of items that were answered since the last call.

        Returns:
            The results, in the order of the items, and the Measurements. An item that failed has `tensors` None and an
            `error`; the others are not affected.

        Raises:
            RunInterrupted: On Ctrl-C; it has the results and the Measurements of what was answered until then.
        """
        return collected(self.stream(items, scenario, progress=progress))

    def stream(self, items: Source, scenario: Scenario | None = None, *, progress: Progress | None = None) -> ScenarioRun:
        """Runs items through the pipeline, and keeps no answer.

        Args:
            items: Arrays by input name, one mapping for each item.
            scenario: When items are issued; by default as soon as the pipeline has room.
            progress: Called with the number of items that were answered since the last call.

        Returns:
            What to iterate over for the results, in the order of the items, as they come: the time until the next one is asked
            for counts. Its `measurements()` are those of the items that were answered by then.
        """
        warmup = 0 if self._warm else self.options.warmup_items
        self._warm = True
        metered = self._devices if self.executor.on_this_machine else ()
        return ScenarioRun(
            self.executor,
            items,
            scenario or Scenario("Offline"),
            warmup_items=warmup,
            seed=self.options.seed,
            progress=progress,
            meters=open_meters(metered, is_emulated=self.executor.slows_down),
            finish=self._with_plan,
        )

    def follow(self, sources: Iterable[Feedback]) -> Measurements:
        """Runs items that depend on answers, such as the steps of sequences, all sources at the same time.

        Args:
            sources: Generators that yield items and are sent the outputs of each. There is no warm-up.

        Returns:
            The Measurements.

        Raises:
            StageError: For an item that failed, if its source does not handle that.
        """
        metered = self._devices if self.executor.on_this_machine else ()
        meters = open_meters(metered, is_emulated=self.executor.slows_down)
        return self._with_plan(run_feedback(self.executor, sources, meters=meters))

    def _with_plan(self, measurements: Measurements) -> Measurements:
        """The same, with what the plan expects and the providers of devices whose workers do not report them."""
        memory = tuple(replace(each, planned_bytes=self._planned_bytes.get(each.device)) for each in measurements.memory)
        settings = {
            **measurements.settings,
            "providers": {**providers(self._devices), **measurements.settings.get("providers", {})},
        }
        return replace(measurements, memory=memory, settings=settings)

    def close(self) -> None:
        self.executor.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_pipeline(
    plan: str | os.PathLike[str] | Manifest,
    fleet: Fleet | None = None,
    executor: str = "processes",
    *,
    options: RunOptions | None = None,
    **values: Any,
) -> Pipeline:
    """Starts a pipeline.

    Args:
        plan: A plan folder or its manifest.
        fleet: The devices; by default every device is this machine with one thread, and links cost nothing.
        executor: Name of an executor: 'processes', 'inline', 'remote', 'ray', or one from a package.
        options: The executor's options as one value, such as ProcessesOptions.
        **values: Single options, fields of that value; they replace those in `options`.

    Returns:
        The running Pipeline, a context manager.

    Raises:
        ConfigError: If there is no such executor, backend or option.
        PlanError: If the plan has chosen precisions and the executor computes elsewhere.
        PipelineError: If a stage cannot start.
    """
    chosen = build_options(EXECUTORS, executor, values, options)
    if not isinstance(chosen, RunOptions):
        raise ConfigError(
            f"executor '{executor}': expected an `options_type` that extends {RunOptions.__module__}.RunOptions,"
            f" got {type(chosen).__name__}; correct the package that it is from"
        )
    manifest = plan if isinstance(plan, Manifest) else _read(plan)
    _require_encodings(manifest, executor, chosen)
    fleet = fleet or local_fleet(manifest)
    if manifest.plan is not None:
        fleet = manifest.plan.with_runtimes(fleet)
    require_backends(fleet)
    running: Executor = EXECUTORS.load(executor)(manifest, fleet, chosen)
    if not running.on_this_machine:
        manifest.require_uncalibrated(
            f"executor '{executor}' computes elsewhere; use 'processes' or 'inline', or plan without --max-accuracy-loss"
        )
    running.start()
    return Pipeline(running, chosen, [fleet.device(name) for name in device_names(manifest)], manifest.plan)


def _require_encodings(manifest: Manifest, executor: str, options: RunOptions) -> None:
    """ConfigError for a plan whose links encode tensors, if the executor does not; MissingDependencyError for zstd without its
    package."""
    used = sorted({move.encoding.value for move in manifest.transfers if move.encoding is not Encoding.NONE})
    if Encoding.ZSTD.value in used and options.sends_encoded:
        require_zstandard()
    if used and not options.sends_encoded:
        raise ConfigError(
            f"{manifest.directory}: the plan sends {' and '.join(used)} between devices, which executor '{executor}' does not;"
            " use 'processes' or 'fleet', or remove `encoding` from the links and plan again"
        )


def local_fleet(manifest: Manifest) -> Fleet:
    """A fleet of this machine under each of the plan's device names."""
    names = device_names(manifest)
    if not names:
        raise ConfigError(f"{manifest.directory}: the plan has no parts")
    return Fleet(tuple(Device(name, backend=AUTO_BACKEND) for name in names), name="this machine")


def providers(devices: Iterable[Device]) -> dict[str, str]:
    """The provider of each device that declares a GPU; a warning where its backend has none for that GPU."""
    names = {}
    for device in devices:
        if device.gpu is not None:
            used = resolved(device)
            provider = device_backend(used).provider(used)
            names[device.name] = provider.name
            if provider.processor != "gpu":
                log.warning(
                    "device '%s' is a GPU, but %s has none to use here: its stages run on the %s",
                    device.name,
                    used.backend,
                    provider.processor.upper(),
                )
    return names


def device_names(manifest: Manifest) -> tuple[str, ...]:
    """The devices that the plan uses, in order of first use."""
    return tuple(dict.fromkeys(device for part in manifest.parts for device in part.devices))


def _read(directory: str | os.PathLike[str]) -> Manifest:
    from multiedge.onnx_io import read_runnable

    return read_runnable(directory)
