"""A front end: serves the deployments of a hub, at the hub or on a node, as models of the Open Inference Protocol."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from multiedge.decoding.inputs import signature_of
from multiedge.decoding.text_model import TextModel
from multiedge.errors import MultiedgeError
from multiedge.network.client import HubClient
from multiedge.network.records import Deployment, PlanRecord, PlanRow
from multiedge.serving.front.breaker import BreakerRules
from multiedge.serving.front.callbacks import CallbackRules, Callbacks, Receivers
from multiedge.serving.front.model import DeployedModel, ModelRules
from multiedge.serving.front.offload import OffloadRules, OffloadView
from multiedge.serving.front.once import OnceById
from multiedge.serving.front.openers import HubAccess, ThisDevice, open_locally, open_on_fleet
from multiedge.serving.front.requests import RequestStore, Retention
from multiedge.serving.front.row_sequences import RowsModel
from multiedge.serving.front.rows import ServingRow
from multiedge.serving.front.served import Served, fetch_served, key_of, load, manifest_of, save
from multiedge.serving.front.switch import OffloadSwitch
from multiedge.serving.front.text_files import TextFiles
from multiedge.serving.inference.contract import InferReply, InferRequest
from multiedge.serving.inference.http_codec import encode_reply
from multiedge.serving.inference.http_codec import error as encode_error
from multiedge.serving.inference.repository import ModelRepository
from multiedge.serving.inference.wire import MadeOutput, WireReply, WireRequest
from multiedge.serving.text.served import ServedText

log = logging.getLogger(__name__)

LOOK_S = 0.25
HUB_S = 1.0
"""How often the hub is asked for its deployments."""
SETTLE_S = 60.0
"""A device whose switch is off stays heard for so long after a new deployment, until all nodes of it are ready."""
SERVED_FILE, TEXT_FOLDER = "served.json", "text"


@dataclass(frozen=True)
class FrontOptions:
    """How a front end serves.

    Attributes:
        folder: For stored requests, and what it serves.
        model: How deployments answer.
        breaker: Of their rows.
        offload: Whether requests may leave the device.
        retention: How long answers are kept.
        callbacks: When results are sent again.
        receivers: Where they may be sent.
    """

    folder: Path
    model: ModelRules = field(default_factory=ModelRules)
    breaker: BreakerRules = field(default_factory=BreakerRules)
    offload: OffloadRules = field(default_factory=OffloadRules)
    retention: Retention = field(default_factory=Retention)
    callbacks: CallbackRules = field(default_factory=CallbackRules)
    receivers: Receivers = field(default_factory=Receivers)


class FrontEnd:
    """Puts the deployments of a hub into a repository while it runs; a context manager.

    Args:
        repository: What a server answers from.
        hub: The hub.
        options: How it serves.
        device: The node in whose process it is; None at the hub.
        look: What is seen of the device.
        set_silent: Called with whether this device is to send nothing at all: while its switch is off, once it can answer.
    """

    def __init__(
        self,
        repository: ModelRepository,
        hub: HubAccess,
        options: FrontOptions,
        device: ThisDevice | None = None,
        look: Callable[[], OffloadView] = OffloadView,
        set_silent: Callable[[bool], None] = lambda is_silent: None,
    ) -> None:
        self.repository, self._hub, self._options, self._device = repository, hub, options, device
        self._look, self._charge = look, look().battery
        self.switch = OffloadSwitch(options.offload, lambda: replace(look(), link_s=self._others_s()))
        self.store = RequestStore(options.folder, options.retention)
        self._callbacks = Callbacks(self.store, options.callbacks)
        self._once = OnceById(self.store, encoded, self._callbacks.wake)
        self._path = options.folder / SERVED_FILE
        self._served: dict[str, Served] = {}
        self._models: dict[str, DeployedModel] = {}
        self._text_files, self._texts = TextFiles(options.folder / TEXT_FOLDER), dict[str, ServedText]()
        self._failure, self._settles_s = "", 0.0
        self._is_silent, self._set_silent = False, set_silent
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="front", daemon=True)

    def __enter__(self) -> FrontEnd:
        for served in load(self._path):
            self._serve(served)
        self._callbacks.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def models(self) -> tuple[DeployedModel, ...]:
        """Those that are served, by name."""
        return tuple(model for _, model in sorted(self._models.items()))

    @property
    def texts(self) -> Mapping[str, ServedText]:
        """The language models of these that have a tokenizer, by name."""
        return dict(self._texts)

    def close(self) -> None:
        """Ends all pipelines; what is to be computed or sent is done after the next start."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._once.close()
        self._callbacks.close()
        for name in list(self._models):
            self._forget(name)
        self.store.close()

    def _run(self) -> None:
        asked_s = -HUB_S
        while not self._closed.wait(LOOK_S):
            self.switch.look()
            self._charge = self._look().battery
            self._follow_switch()
            if not self._is_silent and time.monotonic() - asked_s >= HUB_S:
                asked_s = time.monotonic()
                self._ask()
            for model in self.models:
                model.tend()
            self._once.resume(self._compute_of)

    def _follow_switch(self) -> None:
        """A device whose switch is off sends nothing, not even a question to its hub; but first it learns what to answer."""
        is_prepared = (
            bool(self._models) and time.monotonic() >= self._settles_s and all(each.answers_alone for each in self.models)
        )
        can_be = self._is_silent or is_prepared
        is_silent = self._device is not None and not self.switch.is_on and can_be
        if is_silent != self._is_silent:
            self._is_silent = is_silent
            self._set_silent(is_silent)

    def _ask(self) -> None:
        """Serves what the hub has now; a hub that is away changes nothing."""
        try:
            with self._hub.client() as client:
                deployments = {each.name: each for each in client.deployments()}
                removed = self._served.keys() - deployments.keys()
                for name in removed:
                    self._forget(name)
                changed = [each for each in deployments.values() if self._is_new(each)]
                if changed:
                    self._settles_s = time.monotonic() + SETTLE_S
                elif all(each.phase == "ready" for each in deployments.values()):
                    self._settles_s = 0.0
                failures = [failure for each in changed if (failure := self._take(client, each))]
        except MultiedgeError as error:
            self._note(str(error))
            return
        self._note("; ".join(failures))
        if len(failures) < len(changed) or removed:
            save(self._path, self._served.values())
            self._text_files.keep(served.deployment.text for served in self._served.values())

    def _take(self, client: HubClient, deployment: Deployment) -> str:
        """Serves a deployment as it is now; why it could not, '' if it does. One that fails holds up no other."""
        try:
            self._text_files.fetch(client, deployment.text)
            self._serve(fetch_served(client, deployment))
        except MultiedgeError as error:
            return f"deployment '{deployment.name}': {error}"
        return ""

    def _note(self, failure: str) -> None:
        if failure and failure != self._failure:
            log.warning("serves what it served before: %s", failure)
        self._failure = failure

    def _is_new(self, deployment: Deployment) -> bool:
        """Whether a row of a deployment is ready, and it is not served as it is now."""
        known = self._served.get(deployment.name)
        is_same = known is not None and known.key == key_of(deployment)
        return not is_same and any(row.phase == "ready" for row in deployment.rows)

    def _serve(self, served: Served) -> None:
        model = DeployedModel(
            served.name,
            served.signature,
            [self._row(row, served.plans[row.plan]) for row in served.deployment.rows],
            device=self._device.name if self._device else "",
            rules=self._options.model,
            switch=self.switch,
            once=self._once,
            refusal_of=self._options.receivers.refusal_of,
            version=served.deployment.plan,
            battery=lambda: self._charge,
        )
        self._served[served.name], self._models[served.name] = served, model
        model.tend()
        self.repository.put(model)
        log.info("serves '%s': %s", served.name, ", ".join(row.name for row in model.rows))
        self._serve_text(served, model)

    def _serve_text(self, served: Served, model: DeployedModel) -> None:
        """Serves a deployment with a tokenizer in OpenAI's protocol, too."""
        self._texts.pop(served.name, None)
        if not served.deployment.text:
            return
        try:
            text = TextModel(self._steps(served, model), self._text_files.tokenizer(served.deployment.text))
        except MultiedgeError as error:
            log.warning("answers no clients of OpenAI's protocol for '%s': %s", served.name, error)
            return
        hold = partial(self.repository.using, served.name)
        self._texts[served.name] = ServedText.of(served.name, text, sum(served.sequences.values()), hold)

    def _steps(self, served: Served, model: DeployedModel) -> RowsModel:
        parts = manifest_of(served.plans[served.deployment.plan]).parts
        states = [state for part in parts for state in part.states]
        extended = [each for part in parts for each in part.extended]
        ends = served.signature
        signature = signature_of(served.name, ends.inputs, ends.outputs, states, extended)
        return RowsModel(served.name, signature, served.sequences, model.rows_for_sequence, self._options.model.attempts)

    def _row(self, row: PlanRow, plan: PlanRecord) -> ServingRow:
        device = self._device
        if device is not None and set(row.nodes) == {device.name}:
            return ServingRow(row, partial(open_locally, plan, device), self._options.breaker, is_local=True)
        at = device.name if device else ""
        return ServingRow(row, partial(open_on_fleet, plan, self._hub, at), self._options.breaker)

    def _others_s(self) -> float | None:
        """What a request to other devices lately took at best; None if none was seen."""
        rows = [row for model in self.models for row in model.rows if not row.is_local]
        return min((seen for row in rows if (seen := row.state().seen_latency_s) is not None), default=None)

    def _forget(self, name: str) -> None:
        self._served.pop(name, None)
        self._models.pop(name, None)
        self._texts.pop(name, None)
        self.repository.remove(name)

    def _compute_of(self, name: str) -> Callable[[InferRequest], InferReply] | None:
        model = self._models.get(name)
        return model.compute if model else None


def encoded(request: InferRequest, outcome: InferReply | MultiedgeError) -> bytes:
    """The body that a callback gets: a reply of the protocol over HTTP in JSON, or its error."""
    if isinstance(outcome, MultiedgeError):
        return encode_error(outcome)
    made = tuple(MadeOutput(name, array) for name, array in outcome.outputs.items())
    wire = WireRequest(request.model, request.version, request.id, (), (), {})
    try:
        return encode_reply(WireReply(request.model, outcome.version, request.id, made, outcome.parameters), wire).content
    except MultiedgeError as error:  # values that JSON cannot state
        return encode_error(error)
