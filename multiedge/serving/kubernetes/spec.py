"""What a user asks for: the `spec` of a HeteroInferenceService as values, decoded once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from multiedge.formats.fields import Field
from multiedge.serving.kubernetes.names import KIND, Key
from multiedge.serving.kubernetes.platforms import AUTO, PLATFORMS
from multiedge.serving.kubernetes.status import Status, read_status

KEY_LENGTH = 8
"""Characters of a target's key, which is part of the names of pods."""


@dataclass(frozen=True)
class Model:
    """The raw model: a file in a claim, beside which converted files are kept.

    Attributes:
        claim: Name of the PersistentVolumeClaim.
        path: The file, relative to the claim's root.
        version: Any text; where it changes, the file is converted again.
    """

    claim: str
    path: str
    version: str = ""

    @property
    def name(self) -> str:
        """The name under which it is served."""
        return PurePosixPath(self.path).stem


@dataclass(frozen=True)
class Hardware:
    """One type of hardware to convert for and to serve on.

    Attributes:
        type: A name of `PLATFORMS`.
        backend: Name of the runtime; 'auto' for the fastest right one.
        precision: What to compute with; '' for the runtime's own.
        options: Other options of the runtime.
        threads: Threads that a worker computes with.
        node_labels: Labels of the nodes to use, in addition to those of the type.
        resources: What a worker asks for and is limited to, by Kubernetes' names.
    """

    type: str = AUTO
    backend: str = AUTO
    precision: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    node_labels: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """A model for one type of hardware. Workers belong to a target by its type and key."""

    model: Model
    hardware: Hardware
    image: str

    @property
    def type(self) -> str:
        return self.hardware.type

    @property
    def key(self) -> str:
        """Differs where anything differs that conversion or serving depend on."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


@dataclass(frozen=True)
class Service:
    """A HeteroInferenceService.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        uid: What Kubernetes identifies it by.
        generation: Which version of its spec this is.
        targets: What is to be converted and served.
        replicas: Serving workers for each type of hardware; with 0 the model is converted only.
        retries: How often a conversion is tried again that ended without a result.
        timeout_s: How long a conversion may take.
        is_ending: Whether it has been deleted, and its workers are about to go.
        status: As it was read.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    targets: tuple[Target, ...]
    replicas: int = 1
    retries: int = 3
    timeout_s: int = 3600
    is_ending: bool = False
    status: Status = field(default_factory=Status)

    @property
    def id(self) -> Key:
        return self.namespace, self.name

    @property
    def address_name(self) -> str:
        """Name of the Service of Kubernetes in front of its serving workers."""
        return f"{self.name}-inference"


@dataclass(frozen=True)
class Unreadable:
    """A resource whose spec cannot be decoded; `reason` is the error's line."""

    namespace: str
    name: str
    uid: str
    generation: int
    status: Status
    reason: str

    @property
    def id(self) -> Key:
        return self.namespace, self.name


def read_service(body: Mapping[str, Any], image: str) -> Service:
    """The resource as a value; ConfigError that names the field. `image` is that of workers where the spec names none."""
    data = _root(body)
    meta, spec = data["metadata"], data["spec"]
    spec = spec.record(("model", "hardware", "replicas", "image", "conversion"))
    conversion = spec["conversion"]
    retries, timeout_s = Service.retries, Service.timeout_s
    if conversion.given:
        conversion = conversion.record(("retries", "timeoutSeconds"))
        retries = conversion["retries"].optional(Field.count, retries)
        timeout_s = conversion["timeoutSeconds"].optional(lambda each: each.integer(least=1), timeout_s)
    model = _read_model(spec["model"])
    hardware = spec["hardware"].optional(lambda each: each.list_of(_read_hardware, least=1), (Hardware(),))
    used = spec["image"].optional(Field.name, image)
    return Service(
        namespace=meta["namespace"].name(),
        name=meta["name"].name(),
        uid=meta["uid"].name(),
        generation=meta["generation"].optional(Field.count, 0),
        targets=tuple(Target(model, each, used) for each in hardware),
        replicas=spec["replicas"].optional(Field.count, Service.replicas),
        retries=retries,
        timeout_s=timeout_s,
        is_ending=meta["deletionTimestamp"].given,
        status=read_status(data["status"]),
    )


def unreadable(body: Mapping[str, Any], reason: str) -> Unreadable:
    """What is known of a resource that `read_service` refuses; ConfigError without even a name."""
    data = _root(body)
    meta = data["metadata"]
    generation = meta["generation"].optional(Field.count, 0)
    return Unreadable(meta["namespace"].name(), meta["name"].name(), meta["uid"].name(), generation, Status(), reason)


def _root(body: Mapping[str, Any]) -> Field:
    return Field(body, KIND)


def _read_model(data: Field) -> Model:
    data = data.record(("claimName", "path", "version"))
    path = data["path"].name()
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise data["path"].expected("a path inside the claim, such as 'models/model.onnx'")
    return Model(data["claimName"].name(), path, data["version"].optional(Field.text, ""))


def _read_hardware(data: Field) -> Hardware:
    data = data.record(("type", "backend", "precision", "options", "threads", "nodeSelector", "resources"))
    return Hardware(
        type=data["type"].choice(PLATFORMS),
        backend=data["backend"].optional(Field.name, AUTO),
        precision=data["precision"].optional(Field.text, ""),
        options=data["options"].optional(_texts, {}),
        threads=data["threads"].optional(lambda each: each.integer(least=1), 1),
        node_labels=data["nodeSelector"].optional(_texts, {}),
        resources=data["resources"].optional(lambda each: each.mapping_of(Field.name), {}),
    )


def _texts(data: Field) -> dict[str, str]:
    return data.mapping_of(Field.text)
