"""A plan on a journey: devices leave and return, links fade. Answers are computed, time is simulated."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sedna.common.class_factory import ClassFactory, ClassType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from imagenet_bench.pipeline_model import PipelineModel

from multiedge import run
from multiedge.fleet import Fleet
from multiedge.measurements import Measurements
from multiedge.onnx_io import read_graph
from multiedge.plan import Manifest
from multiedge.plan_file import plan_from_json
from multiedge.simulate import Load, simulate
from multiedge.trace_file import read_trace
from partitioners.replan import replan

TRACES = Path(__file__).resolve().parents[2] / "traces"


@ClassFactory.register(ClassType.GENERAL, alias="Journey")
class Journey(PipelineModel):
    """`adaptive`: whether the fleet answers each event with a new plan, `detect_s` after it. A picture is due every
    `1 / rate_per_s` seconds for `seconds`; `deadline_s` is how late its answer may come."""

    def __init__(
        self,
        fleet: str,
        strategy: str,
        adaptive: bool,
        trace: str = "journey",
        rate_per_s: float = 55.0,
        seconds: float = 30.0,
        deadline_s: float = 0.5,
        detect_s: float = 0.2,
    ) -> None:
        super().__init__(fleet=fleet, strategy=strategy, executor="inline")
        self.adaptive = adaptive
        self.trace = trace
        self.rate_per_s = rate_per_s
        self.count = round(rate_per_s * seconds)
        self.deadline_s = deadline_s
        self.detect_s = detect_s
        own = {"adaptive": adaptive, "trace": trace, "rate_per_s": rate_per_s, "deadline_s": deadline_s, "detect_s": detect_s}
        self.configuration |= own

    def predict(self, x: Any) -> dict[str, Any]:
        """As for the other jobs, with the journey's measurements and the deadline in place of a real run's."""
        return {**super().predict(x), "deadline_s": self.deadline_s}

    def measured(self, measurements: Measurements, manifest: Manifest, fleet: Fleet) -> Measurements:
        """The journey of this plan, by the simulator."""
        profile = run.profile_model(read_graph(manifest.model), fleet)
        trace = read_trace(TRACES / f"{self.trace}.yaml", fleet)
        load = Load(items=self.count, interval_s=1.0 / self.rate_per_s)
        answer = replan if self.adaptive else None
        return simulate(plan_from_json(manifest.plan), profile, fleet, trace, load, replanner=answer, detect_s=self.detect_s)
