"""HeteroInferenceServices, their pods and messages, as values and as the API server sends them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from multiedge.backends.conversion.record import State
from multiedge.serving.kubernetes.actions import CreateWorker
from multiedge.serving.kubernetes.manifests import Workplace, worker_pod
from multiedge.serving.kubernetes.message import WorkerMessage
from multiedge.serving.kubernetes.names import NAME_VARIABLE, NAMESPACE_VARIABLE, OWNER_VARIABLE, TOKEN_VARIABLE
from multiedge.serving.kubernetes.reconcile import Decision, Observation, reconcile
from multiedge.serving.kubernetes.spec import Hardware, Model, Service, Target
from multiedge.serving.kubernetes.status import Phase, Status
from multiedge.serving.kubernetes.task import TaskInfo
from multiedge.serving.kubernetes.workers import Worker, WorkerKind

NOW_S = 1_700_000_000.0
IMAGE = "multi-edge-bench:test"
TOKEN = "token of the worker"
MODEL = Model("models", "net.onnx")
X86 = Target(MODEL, Hardware("x86-cpu", "openvino"), IMAGE)
ARM = Target(MODEL, Hardware("arm-cpu", "mnn"), IMAGE)
ENVIRONMENT = {NAME_VARIABLE: "w", NAMESPACE_VARIABLE: "default", OWNER_VARIABLE: "classify", TOKEN_VARIABLE: "secret"}
"""Of a conversion worker."""
OWNER = ("default", "classify")


def service(*targets: Target, **changes: Any) -> Service:
    """A service for the targets, by default x86."""
    made = Service(*OWNER, uid="uid-1", generation=1, targets=targets or (X86,))
    return replace(made, **changes)


def body(**spec: Any) -> dict[str, Any]:
    """A resource as the API server sends it."""
    return {
        "apiVersion": "sedna.io/v1alpha1",
        "kind": "HeteroInferenceService",
        "metadata": {"name": "classify", "namespace": "default", "uid": "uid-1", "generation": 1},
        "spec": {"model": {"claimName": "models", "path": "net.onnx"}, **spec},
    }


def conversion_worker(target: Target = X86, attempt: int = 0, **changes: Any) -> Worker:
    """The pod of a conversion, just created."""
    name = f"classify-{target.type}-{target.key}-convert-{attempt}"
    return replace(Worker(OWNER, name, WorkerKind.CONVERSION, target.type, target.key, attempt=attempt, token=TOKEN), **changes)


def serving_worker(target: Target = X86, replica: int = 0, attempt: int = 0, **changes: Any) -> Worker:
    """The pod of a serving worker, just created."""
    name = f"classify-{target.type}-{target.key}-serve-{replica}-{attempt}"
    return replace(Worker(OWNER, name, WorkerKind.SERVING, target.type, target.key, replica, attempt), **changes)


def running(worker: Worker, *, is_ready: bool = False) -> Worker:
    return replace(worker, phase=Phase.RUNNING, started_s=NOW_S - 60, node="edge-1", is_ready=is_ready)


def ended(worker: Worker, phase: Phase = Phase.COMPLETED, reason: str = "", finished_s: float = NOW_S - 1) -> Worker:
    return replace(running(worker), phase=phase, is_over=True, finished_s=finished_s, reason=reason)


def message(worker: Worker, state: State = State.SUCCESS, **task: Any) -> WorkerMessage:
    """What a conversion worker posts."""
    status = {State.SUCCESS: Phase.COMPLETED, State.FAILED: Phase.FAILED}.get(state, Phase.RUNNING)
    info = TaskInfo(state, NOW_S - 60, NOW_S - 2 if status is not Phase.RUNNING else None, "openvino", "2026.4", "float32")
    if state is State.SUCCESS:
        info = replace(info, artefact="/models/.converted/net-1/net.xml", digest="ab" * 32, error=1e-6, latency_ratio=0.8)
    return WorkerMessage(worker.name, *OWNER, status, replace(info, **task))


def decide(
    of: Service,
    *workers: Worker,
    messages: Sequence[WorkerMessage] = (),
    status: Status | None = None,
    has_address: bool = True,
    now_s: float = NOW_S,
) -> Decision:
    """What is decided for a service with these pods and messages."""
    seen = Observation(workers, {each.name: each for each in messages}, has_address, now_s)
    return reconcile(of if status is None else replace(of, status=status), seen)


def pod(action: CreateWorker | None = None, status: Mapping[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    """A worker's pod as the API server sends it."""
    action = action or CreateWorker("classify-0", WorkerKind.CONVERSION, X86)
    made = worker_pod(service(), action, Workplace("http://controller:8480", TOKEN))
    made["metadata"] |= meta
    return made if status is None else {**made, "status": dict(status)}


@contextmanager
def listening_controller(*statuses: int) -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """URL of a server that answers with these statuses in turn; path, authorization and body of each request."""
    left, seen = list(statuses), []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Authorization"], body))
            self.send_response(left.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()
