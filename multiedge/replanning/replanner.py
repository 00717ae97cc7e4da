"""New parts for a fleet that has changed under a running pipeline: what an executor calls when devices leave or return,
links fade or speeds change."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from multiedge.backends.stages import pass_on, resolved_fleet
from multiedge.errors import PlanError
from multiedge.files import make_owned_folder
from multiedge.fleet import Fleet
from multiedge.onnx_io import read_graph, write_parts
from multiedge.onnx_io.manifest import read_profile, require_unchanged
from multiedge.plan import LINKED, Manifest, Plan
from multiedge.planning.pins import Pins, pinned_profile
from multiedge.profile import Profile
from multiedge.replanning.replan import replan
from multiedge.run import profile_model

FOLDER = ".replan"
"""In the plan's folder, so that parts can be linked to its weights; each run has a folder of its own in it."""


class Replanner:
    """Called with the fleet as it is now, gives the manifest of the plan that suits it: least change first.

    Starts from the plan of `manifest`. Costs are `profile`'s, those kept in the plan's folder, or counted ones
    scaled so that each stage of the plan costs what the plan says. New parts lie in a hidden folder in the plan's own. It is
    this run's alone: `close` removes it, or, if this process is killed, the next run that makes one.
    """

    def __init__(self, manifest: Manifest, fleet: Fleet, profile: Profile | None = None) -> None:
        self._folder = Path(manifest.directory)
        self._fleet = fleet
        if manifest.plan is None:
            raise PlanError(f"{manifest.directory}/plan.json: expected a plan to start from, got none; write the parts again")
        manifest.require_uncalibrated("those of a new plan would not be calibrated; give --no-replan")
        self._plan = manifest.plan
        self._first = self._current = manifest
        resolved = resolved_fleet(fleet, planned=self._plan.runtimes)
        self._runtime_bytes = {device.name: device.runtime_bytes for device in resolved.devices}
        self._graph = read_graph(manifest.model, manifest.input_shapes, manifest.state_pairs)
        # Scaled to the plan, so that the machine needs no calibration, which would take time from the run.
        self._profile = (
            profile or read_profile(manifest) or self._scaled_to_plan(profile_model(self._graph, fleet, reference="declared"))
        )
        scope = self._plan.scope
        if scope is not None:
            self._profile = pinned_profile(self._profile, Pins(scope.first_on, scope.last_on))
        self._made = 0
        self._own: Path | None = None
        self._lock = threading.Lock()
        self._is_closed = False

    def __call__(self, fleet: Fleet) -> Manifest:
        """The manifest in force if its plan is still nearly as good as any; otherwise a new one.

        Raises InfeasibleError if nothing fits what is left, and PlanError or OSError if parts cannot be written; the one in
        force is then that of the call before.
        """
        usual = self._fleet.by_name
        factors = {
            device.name: device.speed / normal
            for device in fleet.devices
            if device.speed is not None and (normal := usual[device.name].speed)
        }
        found = replan(self._plan, self._profile.with_speed(factors), self._with_runtimes(fleet))
        if found.changed:
            with self._lock:
                self._write(found.plan)
        return self._current

    def _with_runtimes(self, fleet: Fleet) -> Fleet:
        """The fleet with the memory of the runtimes that `auto` stands for."""
        known = self._runtime_bytes
        devices = (replace(each, runtime_bytes=known.get(each.name, each.runtime_bytes)) for each in fleet.devices)
        return replace(fleet, devices=tuple(devices))

    def _write(self, plan: Plan) -> None:
        if self._is_closed:
            raise PlanError(f"{self._folder}: no parts are written any more: the run has ended")
        self._require_same_weights()
        self._made += 1
        self._current = write_parts(self._graph, plan, self._own_folder() / str(self._made))
        pass_on(self._current, self._fleet, self._first.model)
        self._plan = plan

    def _require_same_weights(self) -> None:
        """ChangedError if the weights to which parts are linked have been written to since the run began: parts that are made
        now would be linked to others."""
        for part in self._first.parts:
            require_unchanged(self._folder, {name: known for name, known in part.files.items() if known.startswith(LINKED)})

    def close(self) -> None:
        """Removes the parts that were made on the way. A plan that is still being made is given up; parts that are being
        written are waited for."""
        with self._lock:
            self._is_closed = True
            if self._own is not None:
                shutil.rmtree(self._own, ignore_errors=True)
                with suppress(OSError):  # another run has parts there
                    self._own.parent.rmdir()
                self._own = None

    def _own_folder(self) -> Path:
        if self._own is None:
            root = self._folder / FOLDER
            root.mkdir(exist_ok=True)
            self._own = make_owned_folder(root)
        return self._own

    def __enter__(self) -> Replanner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _scaled_to_plan(self, profile: Profile) -> Profile:
        """Times of all devices changed by what the plan knows better, stage by stage."""
        seconds = {name: values.copy() for name, values in profile.seconds.items()}
        for stage, expected in zip(self._plan.stages, self._plan.estimate.stages, strict=True):
            nodes = list(stage.nodes)
            counted_s = float(profile.seconds_on(stage.device)[nodes].sum()) if stage.device in profile.seconds else 0.0
            if counted_s > 0 and expected.compute_s > 0:
                for values in seconds.values():
                    values[nodes] *= expected.compute_s / counted_s
        for name, values in seconds.items():
            profile = profile.with_seconds(name, values, f"{profile.sources.get(name, 'counted')}, scaled to the plan")
        return profile
