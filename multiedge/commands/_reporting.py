"""What `multiedge convert --report` tells the controller of a HeteroInferenceService."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from multiedge.backends.contract import Backend
from multiedge.backends.conversion.record import Conversion, State
from multiedge.backends.stages import device_backend, openable
from multiedge.commands._choosing import Chosen
from multiedge.errors import MultiedgeError
from multiedge.onnx_io.manifest import digest_of
from multiedge.serving.kubernetes.reporter import Reporter
from multiedge.serving.kubernetes.status import Phase
from multiedge.serving.kubernetes.task import TaskInfo

Told = Callable[[TaskInfo], None]
"""Takes the result, to be posted at the end."""


@contextmanager
def conversion_report(url: str | None) -> Iterator[Told]:
    """Posts that a conversion runs, and at the end the result that it is given, or the error that ended it.

    Without a URL nothing is posted. ConfigError for another URL, or where the environment names no worker.
    """
    if url is None:
        yield lambda task: None
        return
    reporter = Reporter.of_environment(url, os.environ)
    started_s = time.time()
    reporter.tell(Phase.RUNNING, TaskInfo(State.RUNNING, started_s))
    results: list[TaskInfo] = []
    try:
        yield results.append
    except MultiedgeError as error:
        reason = TaskInfo(State.FAILED, started_s, time.time(), reason=str(error), is_final=True)
        reporter.tell(Phase.FAILED, reason)
        raise
    for task in results[-1:]:
        reporter.tell(Phase.COMPLETED if task.state is State.SUCCESS else Phase.FAILED, replace(task, started_s=started_s))


def task_of(backend: str, records: Sequence[Conversion], artefact: Path) -> TaskInfo:
    """What is reported of conversions for one backend: of several parts, the worst; `artefact` is of the first."""
    failed = [record for record in records if record.state is not State.SUCCESS]
    first = records[0]
    return TaskInfo(
        state=State.FAILED if failed else State.SUCCESS,
        started_s=min((record.started_s for record in records if record.started_s is not None), default=None),
        finished_s=max((record.finished_s for record in records if record.finished_s is not None), default=None),
        backend=backend,
        version=first.version,
        precision=first.precision,
        artefact="" if failed else str(artefact),
        digest="" if failed else next(iter(first.artefact.values()), ""),
        error=max((record.worst_error for record in records if record.worst_error is not None), default=None),
        latency_ratio=max((record.latency_ratio for record in records if record.latency_ratio is not None), default=None),
        reason=failed[0].reason if failed else "",
        is_final=any(record.is_final for record in failed),
    )


def task_of_chosen(chosen: Chosen) -> TaskInfo:
    """What is reported of a measured choice: the fastest candidate that is right, and the file that it opens."""
    part, best, rows = chosen.task.part, chosen.best(), chosen.choices.rows
    if best is None:
        reasons = "; ".join(f"{row.backend} {row.precision}: {row.reason}" for row in rows if row.reason)
        reason = f"{part}: no runtime can run it: {reasons}"
        return TaskInfo(State.FAILED, finished_s=time.time(), reason=reason, is_final=True)
    backend = device_backend(replace(chosen.task.device, backend=best.backend, precision=best.precision))
    path = openable(backend, part)
    reference_s = chosen.choices.reference_s
    ratio = best.seconds / reference_s if best.seconds and reference_s else None
    known = (best.backend, best.version, best.precision, str(path), digest_of(path))
    return TaskInfo(State.SUCCESS, None, time.time(), *known, error=best.error, latency_ratio=ratio)


def task_of_opened(name: str, backend: Backend, part: Path) -> TaskInfo:
    """What is reported for a runtime that opens such files: the one that it opens, mostly the model as it is."""
    path = openable(backend, part)
    known = (name, backend.version, backend.numbers, str(path), digest_of(path))
    return TaskInfo(State.SUCCESS, None, time.time(), *known)
