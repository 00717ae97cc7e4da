"""The target of the executor `fleet`: nodes in network namespaces, with a hub, and a new plan whenever one is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.executors import open_pipeline
from multiedge.executors.flow.contract import Executor
from multiedge.fleet import CALLER_NAME
from multiedge.network.identity import HUB
from multiedge.replanning.replanner import Replanner
from multiedge.serving.sandbox import Sandbox
from tests.builders.pipelines import small_plan, vectors
from tests.chaos import traces
from tests.chaos.processes import DISTINCT, PATIENCE
from tests.chaos.schedule import FaultEvent, Kind, Schedule
from tests.chaos.target import Answers, Work


class RunningNodes:
    """Kills, stops and cuts off nodes, and the hub as one of them; what is killed is started again when the fault ends."""

    def __init__(self, executor: Executor, work: Work, sandbox: Sandbox) -> None:
        self.executor, self.work = executor, work
        self._sandbox = sandbox

    def inject(self, event: FaultEvent) -> bool:
        member = self._member(event)
        if event.kind is Kind.KILL:
            self._sandbox.kill(member)
            self._sandbox.start(member)
        elif event.kind is Kind.STOP:
            self._sandbox.stop(member)
        elif event.kind is Kind.CUT:
            for source, target in self._ways(member):
                self._sandbox.network.drop(source, target)
        else:
            return False
        return True

    def restore(self, event: FaultEvent) -> None:
        if event.kind is Kind.STOP:
            self._sandbox.resume(self._member(event))
        elif event.kind is Kind.CUT:
            for source, target in self._ways(self._member(event)):
                self._sandbox.network.deliver(source, target)

    def _member(self, event: FaultEvent) -> str:
        names = (*self._sandbox.fleet.names, HUB)
        return names[event.place % len(names)]

    def _ways(self, member: str) -> Iterator[tuple[str, str]]:
        for other in {*self._sandbox.fleet.names, HUB, CALLER_NAME} - {member}:
            yield member, other
            yield other, member


class Nodes:
    name = "fleet"
    kinds = frozenset({Kind.KILL, Kind.STOP, Kind.CUT, Kind.POISON_INPUT})

    @contextmanager
    def open(self, folder: Path, schedule: Schedule) -> Iterator[RunningNodes]:
        manifest, fleet = small_plan(folder)
        inputs = vectors(DISTINCT, schedule.seed)
        whole = OnnxRuntimeBackend().open(folder / "small.onnx")
        work = Answers(inputs, [whole.run(each) for each in inputs], {"x": np.zeros((1, 3), np.float32)})
        with ExitStack() as stack:
            sandbox = stack.enter_context(Sandbox(fleet, folder / "fleet"))
            options = {"hub": sandbox.address, "identity": str(sandbox.identity.folder), "record_events": False}
            replanner = stack.enter_context(Replanner(manifest, fleet))
            deadlines = replace(PATIENCE, heartbeat_s=0.7, link_s=0.6)
            pipeline = stack.enter_context(
                open_pipeline(manifest, fleet, "fleet", replan=replanner, deadlines=deadlines, **options)
            )
            yield RunningNodes(pipeline.executor, work, sandbox)

    def left(self) -> frozenset[str]:
        return frozenset([*traces.processes(), *traces.folders(), *traces.networks(), *traces.sockets()])
