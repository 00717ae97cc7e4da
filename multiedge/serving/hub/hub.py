"""What a hub knows and decides, without a network: nodes, plans, deployments, models and results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import psutil

from multiedge import __version__
from multiedge.errors import ConfigError, NetworkError
from multiedge.files import lock_folder
from multiedge.network.encoding import require_name, require_sha256
from multiedge.network.identity import is_unspecified, join_address, parse_address
from multiedge.network.records import (
    Assignment,
    Deployment,
    HeartbeatReply,
    HubState,
    ModelRecord,
    NodeState,
    PlanRecord,
    ResultRecord,
)
from multiedge.network.runs import RunReport
from multiedge.quantity import human_bytes
from multiedge.serving.hub.authority import REMEDY, Authority, Token, check_token, require_holder
from multiedge.serving.hub.deployer import Wanted, assignments_of, progress_of
from multiedge.serving.hub.joining import JoinReply, JoinRequest
from multiedge.serving.hub.log import LOGGER
from multiedge.serving.hub.pool import Pool
from multiedge.serving.hub.registry import Registry
from multiedge.serving.hub.store import Store
from multiedge.serving.seeing.entries import Snapshot
from multiedge.serving.seeing.snapshot import snapshot
from multiedge.serving.seeing.watch import Watch, heard_run, looked

NOT_FOUND, REFUSED, CONFLICT = 404, 403, 409
KEEP_PLAN_S = 7 * 24 * 3600.0
"""How long a plan that has no deployment is kept after it was last sent: runs use plans without one."""
KEEP_FILE_S = 24 * 3600.0
"""How long a file is kept that nothing refers to: a plan is sent after its files."""


class Hub:
    """A hub in its data folder.

    Args:
        folder: The data folder.
        most_file_bytes: The largest file that the pool takes.
        authority: Who signs certificates; None without TLS.
        clock: Seconds of a clock that does not go back.
    """

    def __init__(
        self,
        folder: Path,
        most_file_bytes: int,
        *,
        authority: Authority | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = lock_folder(folder, "hub")
        self.store, self.pool, self.authority = Store(folder), Pool(folder / "pool", most_file_bytes), authority
        self._clock, self._began_s = clock, clock()
        self._registry, self._watch = Registry(), Watch()
        self._known = {state.name: state for state in self.store.nodes()}
        self._wanted = {each.name: self._with_stages(each) for each in self.store.deployments()}
        self._process = psutil.Process()
        self._cpu_before_s = self._cpu_s()

    def close(self) -> None:
        self.store.close()
        self._lock.close()

    def _cpu_s(self) -> float:
        used = self._process.cpu_times()
        return float(used.user + used.system)

    def state(self, connections: int) -> HubState:
        return HubState(
            version=__version__,
            uptime_s=self._clock() - self._began_s,
            cpu_s=self._cpu_s() - self._cpu_before_s,
            resident_bytes=self._process.memory_info().rss,
            nodes=len(self.nodes()),
            deployments=len(self._wanted),
            pool_bytes=self.pool.nbytes,
            connections=connections,
        )

    # -- nodes

    def admit(self, request: JoinRequest, peer: str) -> JoinReply:
        """The certificate for who has a token. ConfigError or NetworkError of one line for who has none that is good."""
        if self.authority is None:
            raise NetworkError("join: this hub runs without TLS, so there is nothing to join", status=REFUSED)
        token, holder = Token.parse(request.token), require_holder(request.holder)
        reason = check_token(self.store.token(token.number), token, holder, time.time(), is_known=self.store.is_known(holder))
        if reason:
            raise NetworkError(reason, status=REFUSED)
        certificate = self.authority.sign(request.request.encode(), holder)
        if not self.store.use_token(token.number, holder):
            raise NetworkError(f"token: was used at the same time; {REMEDY}", status=REFUSED)
        LOGGER.info("%s: '%s' joined", peer, holder)
        return JoinReply(certificate.decode())

    def hear(self, state: NodeState, host: str) -> HeartbeatReply:
        """Takes the state of a node, which came from `host`; what the node is to hold."""
        require_name("node: name", state.name)
        state = replace(state, address=_reachable(state.address, host))
        self._drop_lost()
        if state.name not in self._registry.heard_of:
            LOGGER.info("node '%s' at %s is here", state.name, state.address)
        known = self._known.get(state.name)
        if known is None or known.address != state.address:
            self._known[state.name] = state
            self.store.put_node(state)
        self._registry = self._registry.heard(state, self._clock())
        peers = {each.name: each.address for each in self.nodes() if each.name != state.name}
        return HeartbeatReply(self.assignments(state.name), peers)

    def assignments(self, node: str) -> tuple[Assignment, ...]:
        """All that the node is to hold."""
        return assignments_of(self._wanted.values(), node)

    def nodes(self) -> tuple[NodeState, ...]:
        """The nodes that are alive, by name."""
        self._drop_lost()
        return self._registry.alive(self._clock())

    def known_nodes(self) -> Iterable[NodeState]:
        """All nodes that have ever been there, with their last address."""
        return tuple(self._known.values())

    def _drop_lost(self) -> None:
        now_s = self._clock()
        self._registry, lost = self._registry.looked(now_s).without_lost(now_s)
        for name in lost:
            LOGGER.warning("node '%s' is lost: it missed its heartbeats", name)

    # -- what people and programs see

    def hear_run(self, report: RunReport, caller: str) -> None:
        """Takes a report of a run of `caller`."""
        self._watch = heard_run(self._watch, report.of(caller), self._clock(), time.time())

    def watch(self) -> tuple[Watch, float]:
        """What was seen of nodes and runs up to now, and the time of its clock. Who is lost is logged."""
        alive, now_s = self.nodes(), self._clock()
        ages_s = {name: now_s - heard.at_s for name, heard in self._registry.heard_of.items()}
        self._watch = looked(self._watch, ages_s, alive, now_s, time.time())
        return self._watch, now_s

    def snapshot(self) -> Snapshot:
        """What the live page shows now."""
        watch, now_s = self.watch()
        return snapshot(watch, self.deployments(), now_s)

    # -- plans and deployments

    def put_plan(self, digest: str, record: PlanRecord) -> None:
        """Keeps a plan whose files are all in the pool; NetworkError if one is not, or if the digest is of another plan."""
        if record.digest != require_sha256("plan", digest):
            raise NetworkError(f"plan {digest[:12]}: its content has another digest, {record.digest[:12]}", status=400)
        for file in {file.sha256: file for part in record.parts for file in part.files}.values():
            self._require_file(f"plan {digest[:12]}: file '{file.name}'", file.sha256)
        self.store.put_plan(digest, record)

    def plan(self, digest: str) -> PlanRecord:
        record = self.store.plan(require_sha256("plan", digest))
        if record is None:
            raise NetworkError(f"plan {digest[:12]}: is not in the pool", status=NOT_FOUND)
        return record

    def deploy(self, deployment: Deployment) -> Deployment:
        """Keeps a deployment of plans in the pool, in place of an earlier one of its name."""
        require_name("deployment", deployment.name)
        _require_rows(deployment)
        rows = tuple(replace(row, phase="pending", reason="") for row in deployment.rows)
        for name, digest in deployment.text.items():
            require_name("deployment: text", name)
            self._require_file(f"deployment '{deployment.name}': file '{name}'", digest)
        asked = Deployment(
            deployment.name, deployment.plan, deployment.model, deployment.expected, rows=rows, text=deployment.text
        )
        wanted = self._with_stages(asked)
        kept = self.store.put_deployment(asked)
        self._wanted[kept.name] = replace(wanted, deployment=replace(wanted.deployment, created_s=kept.created_s))
        LOGGER.info("deployment '%s': plan %s", kept.name, ", ".join(digest[:12] for digest in kept.plans))
        return self.deployment(kept.name)

    def undeploy(self, name: str) -> None:
        if not self.store.remove_deployment(name):
            raise self._no_deployment(name)
        del self._wanted[name]
        LOGGER.info("deployment '%s' is removed", name)

    def deployment(self, name: str) -> Deployment:
        if name not in self._wanted:
            raise self._no_deployment(name)
        return progress_of(self._wanted[name], {state.name: state for state in self.nodes()})

    def deployments(self) -> tuple[Deployment, ...]:
        alive = {state.name: state for state in self.nodes()}
        return tuple(progress_of(self._wanted[name], alive) for name in sorted(self._wanted))

    def _with_stages(self, deployment: Deployment) -> Wanted:
        return Wanted.of(deployment, {digest: self.plan(digest) for digest in deployment.plans})

    def _no_deployment(self, name: str) -> NetworkError:
        names = ", ".join(sorted(self._wanted)) or "none"
        return NetworkError(f"deployment '{name}' does not exist; there are: {names}", status=NOT_FOUND)

    # -- models and results

    def put_model(self, model: ModelRecord) -> ModelRecord:
        require_name("model", model.name)
        for name, digest in model.files.items():
            self._require_file(f"model '{model.name}': file '{name}'", digest)
        return self.store.put_model(model)

    def put_result(self, result: ResultRecord) -> ResultRecord:
        require_name("result", result.name)
        self._require_file(f"result '{result.name}'", result.sha256)
        return self.store.put_result(result)

    def remove_model(self, name: str, version: str) -> None:
        if not version.isdecimal() or not self.store.remove_model(name, int(version)):
            raise NetworkError(f"model '{name}': there is no version {version[:20]}", status=NOT_FOUND)
        LOGGER.info("model '%s': version %s is removed", name, version)

    def sweep(self) -> None:
        """Removes plans without a deployment after KEEP_PLAN_S, and files that no plan, model, result or deployment has."""
        plans = self.store.drop_plans(KEEP_PLAN_S)
        used = {file.sha256 for plan in self.store.plans() for part in plan.parts for file in part.files}
        used |= {digest for model in self.store.models() for digest in model.files.values()}
        used |= {result.sha256 for result in self.store.results()}
        used |= {digest for deployment in self.store.deployments() for digest in deployment.text.values()}
        removed = self.pool.remove_unused(used, KEEP_FILE_S)
        if plans or removed:
            LOGGER.info("removed %d plans without a deployment, and %s of the pool", plans, human_bytes(removed))

    def _require_file(self, what: str, digest: str) -> None:
        if not self.pool.state(digest).complete:
            raise NetworkError(f"{what} is not in the pool; upload it first", status=CONFLICT)


def _require_rows(deployment: Deployment) -> None:
    """NetworkError for rows without names of their own, or of which the first is not the deployment's plan."""
    names = [require_name("deployment: rows: name", row.name) for row in deployment.rows]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise NetworkError(f"deployment '{deployment.name}': rows: expected different names, got '{twice}' twice", status=400)
    if deployment.rows and deployment.rows[0].plan != deployment.plan:
        raise NetworkError(f"deployment '{deployment.name}': rows: expected its plan in the first row, got another", status=400)


def _reachable(address: str, host: str) -> str:
    """The address of a node; the host from which it came where it listens on all of its addresses."""
    try:
        stated, port = parse_address(address, "node: address")
    except ConfigError as error:
        raise NetworkError(str(error), status=400) from None
    return join_address(host, port) if is_unspecified(stated) else address
