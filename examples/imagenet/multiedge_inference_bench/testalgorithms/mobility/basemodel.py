"""A plan with a trace: devices leave and return, links slow down. Time is simulated, or real with one process per device."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sedna.common.class_factory import ClassFactory, ClassType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from imagenet_bench.pipeline_model import PipelineModel

from multiedge import run
from multiedge.executors import open_pipeline
from multiedge.executors.flow.contract import Result, Tensors
from multiedge.executors.flow.scenarios import scenario
from multiedge.fleet import Fleet
from multiedge.formats.trace import read_trace
from multiedge.measurements import Measurements
from multiedge.onnx_io import read_graph
from multiedge.plan import Manifest
from multiedge.replanning.replan import replan
from multiedge.replanning.replanner import Replanner
from multiedge.simulation.simulate import Load, simulate

TRACES = Path(__file__).resolve().parents[2] / "traces"


@ClassFactory.register(ClassType.GENERAL, alias="Journey")
class Journey(PipelineModel):
    """`adaptive`: whether there is a new plan after each event. `rate_per_s` pictures are due per second, for `seconds`;
    an answer is in time within `deadline_s`.

    With `executor` 'processes' the trace is run: workers end and start at its times, links are emulated, and a static plan
    keeps its cut: the stages of a lost device move to another one. With 'inline' the answers are computed one by one and time
    comes from the simulator, where a static plan waits; events are detected `detect_s` late.
    """

    def __init__(
        self,
        fleet: str,
        strategy: str,
        adaptive: bool,
        executor: str = "inline",
        trace: str = "journey",
        rate_per_s: float = 55.0,
        seconds: float = 30.0,
        deadline_s: float = 0.5,
        detect_s: float = 0.2,
    ) -> None:
        count = round(rate_per_s * seconds)
        super().__init__(fleet=fleet, strategy=strategy, items=count if executor == "processes" else None, executor=executor)
        self.adaptive = adaptive
        self.trace = trace
        self.rate_per_s = rate_per_s
        self.count = count
        self.is_real = executor == "processes"
        self.deadline_s = deadline_s
        self.detect_s = detect_s
        own = {"adaptive": adaptive, "trace": trace, "rate_per_s": rate_per_s, "deadline_s": deadline_s, "detect_s": detect_s}
        self.configuration |= own

    def predict(self, x: Any) -> dict[str, Any]:
        """As for the other jobs, with the deadline."""
        return {**super().predict(x), "deadline_s": self.deadline_s}

    def run_parts(self, manifest: Manifest, fleet: Fleet, source: Iterator[Tensors]) -> tuple[list[Result], Measurements]:
        """The run with the trace if time is real; otherwise without it."""
        if not self.is_real:
            return super().run_parts(manifest, fleet, source)
        trace = read_trace(TRACES / f"{self.trace}.yaml", fleet)
        due = scenario("server", rate_per_s=self.rate_per_s)
        with Replanner(manifest, fleet) as replanner:
            answer = replanner if self.adaptive else None
            with open_pipeline(manifest, fleet, "processes", trace=trace, replan=answer) as pipeline:
                return pipeline.map(source, due)

    def measured(self, measurements: Measurements, manifest: Manifest, fleet: Fleet) -> Measurements:
        """The measurements of the run if time is real, otherwise those of the simulator."""
        if self.is_real:
            return super().measured(measurements, manifest, fleet)
        profile = run.profile_model(read_graph(manifest.model), fleet)
        trace = read_trace(TRACES / f"{self.trace}.yaml", fleet)
        load = Load(items=self.count, interval_s=1.0 / self.rate_per_s)
        answer = replan if self.adaptive else None
        return simulate(manifest.plan, profile, fleet, trace, load, replanner=answer, detect_s=self.detect_s)
