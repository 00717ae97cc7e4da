"""The objects of Kubernetes that a service consists of: pods of its workers, and the Service in front of the serving ones."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multiedge.fleet import CPU
from multiedge.serving.kubernetes.actions import CreateWorker, Notify
from multiedge.serving.kubernetes.message import OWNER_KIND
from multiedge.serving.kubernetes.names import (
    API_VERSION,
    ATTEMPT_LABEL,
    KEY_LABEL,
    KIND,
    KIND_LABEL,
    MODELS,
    NAME_VARIABLE,
    NAMESPACE_VARIABLE,
    OWNER_KIND_VARIABLE,
    OWNER_LABEL,
    OWNER_VARIABLE,
    REPLICA_LABEL,
    TARGET_LABEL,
    TOKEN_VARIABLE,
)
from multiedge.serving.kubernetes.platforms import AUTO, PLATFORMS
from multiedge.serving.kubernetes.spec import Hardware, Service, Target, Unreadable
from multiedge.serving.kubernetes.summary import SERVING_PORT
from multiedge.serving.kubernetes.times import time_text
from multiedge.serving.kubernetes.workers import WorkerKind

USER_ID = 10001
"""Whom workers run as: nobody on the node, and the group of what is in the claim."""
DEFAULT_RESOURCES: Mapping[str, str] = {"cpu": "1", "memory": "2Gi"}
GRACE_S = 10
READY_PERIOD_S = 5
ADDRESS_VARIABLE = "POD_IP"
"""Environment of a serving worker: the address of its pod, where it listens."""
COMPONENT = "multiedge-controller"
MOST_EVENT_CHARACTERS = 1024
"""How long the API server lets the message of an event be."""


@dataclass(frozen=True)
class Workplace:
    """What workers are told about the controller: where they report, and the token of this one."""

    report_url: str
    token: str


def worker_pod(service: Service, action: CreateWorker, workplace: Workplace) -> dict[str, Any]:
    """The pod of a new worker. A conversion runs once; a serving worker is started again by its node."""
    target, is_serving = action.target, action.kind is WorkerKind.SERVING
    spec: dict[str, Any] = {
        "restartPolicy": "Always" if is_serving else "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "nodeSelector": {**PLATFORMS[target.type].node_labels, **target.hardware.node_labels},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(service, action, workplace)],
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": target.model.claim}},
            {"name": "temporary", "emptyDir": {}},
        ],
    }
    if not is_serving:
        spec["activeDeadlineSeconds"] = service.timeout_s
    if action.near:
        spec["affinity"] = _near(action.near)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": action.name,
            "namespace": service.namespace,
            "labels": {
                OWNER_LABEL: service.name,
                KIND_LABEL: action.kind.value,
                TARGET_LABEL: target.type,
                KEY_LABEL: target.key,
                REPLICA_LABEL: str(action.replica),
                ATTEMPT_LABEL: str(action.attempt),
            },
            "ownerReferences": [_owner(service)],
        },
        "spec": spec,
    }


def address_service(service: Service) -> dict[str, Any]:
    """The Service of Kubernetes with the address of the serving workers; those that are not ready get no requests."""
    selector = {OWNER_LABEL: service.name, KIND_LABEL: WorkerKind.SERVING.value}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service.address_name,
            "namespace": service.namespace,
            "labels": {OWNER_LABEL: service.name},
            "ownerReferences": [_owner(service)],
        },
        "spec": {
            "selector": selector,
            "ports": [{"name": "grpc", "port": SERVING_PORT, "targetPort": "grpc", "protocol": "TCP"}],
        },
    }


def event_of(service: Service | Unreadable, notice: Notify, now_s: float) -> dict[str, Any]:
    """The event that tells the user of a service what has changed."""
    moment = time_text(round(now_s))
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{service.name}.{secrets.token_hex(8)}", "namespace": service.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": service.name,
            "namespace": service.namespace,
            "uid": service.uid,
        },
        "type": "Warning" if notice.is_warning else "Normal",
        "reason": notice.reason,
        "message": notice.message[:MOST_EVENT_CHARACTERS],
        "source": {"component": COMPONENT},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }


def conversion_arguments(target: Target, timeout_s: int, report_url: str) -> list[str]:
    """The command line of a conversion worker, without the program."""
    hardware = target.hardware
    words = ["--auto", *_type(target)] if hardware.backend == AUTO else ["--backend", hardware.backend]
    settings = [*_settings(hardware, hardware.precision), "--limit", str(timeout_s)]
    return ["convert", _path(target), *words, *settings, "--report", report_url]


def serving_arguments(target: Target, backend: str, precision: str) -> list[str]:
    """The command line of a serving worker, without the program."""
    hardware = target.hardware
    where = ["--host", f"$({ADDRESS_VARIABLE})", "--port", str(SERVING_PORT), "--threads", str(hardware.threads)]
    return ["serve", _path(target), *_type(target), *where, "--backend", backend, *_settings(hardware, precision)]


def _path(target: Target) -> str:
    return f"{MODELS}/{target.model.path}"


def _type(target: Target) -> list[str]:
    """The type of device that a worker computes on, if it is not a CPU."""
    device_type = PLATFORMS[target.type].device_type
    return [] if device_type == CPU else ["--type", device_type]


def _settings(hardware: Hardware, precision: str) -> list[str]:
    words = ["--precision", precision] if precision else []
    for name, value in hardware.options.items():
        words += ["--option", f"{name}={value}"]
    return words


def _container(service: Service, action: CreateWorker, workplace: Workplace) -> dict[str, Any]:
    target = action.target
    resources = {**DEFAULT_RESOURCES, **PLATFORMS[target.type].resources(target.hardware.resources)}
    container: dict[str, Any] = {
        "name": "worker",
        "image": target.image,
        "command": ["multiedge"],
        "env": _environment(service, action, workplace),
        "resources": {"requests": resources, "limits": resources},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "models", "mountPath": MODELS}, {"name": "temporary", "mountPath": "/tmp"}],
    }
    if action.kind is WorkerKind.CONVERSION:
        return {**container, "args": conversion_arguments(target, service.timeout_s, workplace.report_url)}
    return {
        **container,
        "args": serving_arguments(target, action.backend, action.precision),
        "ports": [{"name": "grpc", "containerPort": SERVING_PORT, "protocol": "TCP"}],
        # The port is open once the model is loaded.
        "readinessProbe": {"tcpSocket": {"port": "grpc"}, "periodSeconds": READY_PERIOD_S},
    }


def _environment(service: Service, action: CreateWorker, workplace: Workplace) -> list[dict[str, Any]]:
    # Caches are below the home directory, and the root file system is read-only.
    home = {"name": "HOME", "value": "/tmp"}
    if action.kind is WorkerKind.SERVING:
        return [home, {"name": ADDRESS_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    values = {
        NAME_VARIABLE: action.name,
        NAMESPACE_VARIABLE: service.namespace,
        OWNER_VARIABLE: service.name,
        OWNER_KIND_VARIABLE: OWNER_KIND,
        TOKEN_VARIABLE: workplace.token,
    }
    return [home, *({"name": name, "value": value} for name, value in values.items())]


def _owner(service: Service) -> dict[str, Any]:
    """With this reference Kubernetes removes the object when the service is deleted."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": service.name,
        "uid": service.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _near(node: str) -> dict[str, Any]:
    """A preference for the node where the model was converted: its processor is the one that was converted for."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    preferred = [{"weight": 100, "preference": term}]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
