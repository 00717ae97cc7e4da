"""A Kubernetes API server without nodes, for tests of the controller: kmock, with what it leaves out.

It gives objects their uid, generation and time, refuses resources that their definition does not permit (422), removes what a
deleted resource owns, and answers kubectl's requests for tables. Nobody runs pods: `Cluster.set_pod` plays the kubelet.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
import yaml

from tests.builders.definitions import DEFINITION, PLURAL, ROOT, VERSION, problems_of
from tests.builders.kubectl import KUBECTL

kmock = pytest.importorskip("kmock", reason="kmock is not installed")
web = pytest.importorskip("aiohttp.web", reason="pip install 'multi-edge-bench[fleet]'")
NAMES = DEFINITION["spec"]["names"]
KNOWN: dict[str, dict[str, Any]] = {
    "v1/events": {"kind": "Event", "namespaced": True},
    "v1/namespaces": {"kind": "Namespace", "namespaced": False},
    "v1/persistentvolumeclaims": {"kind": "PersistentVolumeClaim", "namespaced": True},
    "v1/pods": {"kind": "Pod", "namespaced": True, "subresources": {"status"}},
    "v1/serviceaccounts": {"kind": "ServiceAccount", "namespaced": True},
    "v1/services": {"kind": "Service", "namespaced": True},
    "apps/v1/deployments": {"kind": "Deployment", "namespaced": True},
    "rbac.authorization.k8s.io/v1/clusterroles": {"kind": "ClusterRole", "namespaced": False},
    "rbac.authorization.k8s.io/v1/clusterrolebindings": {"kind": "ClusterRoleBinding", "namespaced": False},
    "apiextensions.k8s.io/v1/customresourcedefinitions": {"kind": "CustomResourceDefinition", "namespaced": False},
    f"sedna.io/v1alpha1/{PLURAL}": {
        "kind": NAMES["kind"],
        "singular": NAMES["singular"],
        "shortnames": set(NAMES["shortNames"]),
        "namespaced": True,
        "subresources": {"status"},
    },
}
"""The kinds of objects that there are."""
OWNER_LABEL = "heteroinferenceservice.sedna.io/name"
PATIENCE_S = 60.0
PARTIAL = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata"}
VERBS = {"fetch": "get", "update": "patch"}
"""What Kubernetes calls the actions of kmock."""
T = TypeVar("T")


def patched(value: Any, patch: Any) -> Any:
    """A JSON merge patch, applied."""
    if not isinstance(patch, dict):
        return patch
    before = value if isinstance(value, dict) else {}
    kept = {key: each for key, each in before.items() if patch.get(key, ...) is not None}
    return {**kept, **{key: patched(before.get(key), each) for key, each in patch.items() if each is not None}}


@dataclass(frozen=True)
class Seen:
    """A request that the API server got."""

    agent: str
    verb: str
    group: str
    resource: str


class ApiServer(kmock.KubernetesEmulator):  # type: ignore[misc]
    """kmock with admission, and with what the API server adds to objects."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.seen: list[Seen] = []
        self.statuses: dict[str, list[dict[str, Any]]] = {}

    async def __call__(self, raw: Any) -> Any:
        """kmock reads no requests for all namespaces."""
        if raw.path == "/api/v1/namespaces" and raw.method == "POST":
            return web.json_response(await raw.json(), status=201)
        return await super().__call__(raw)

    async def _handle(self, request: Any) -> Any:
        action = request.action.value.lower() if request.action else ""
        is_ours = request.resource is not None and request.resource.plural == PLURAL
        if action and request.resource.plural:
            plural = "/".join(filter(None, (request.resource.plural, request.subresource)))
            agent = request.headers.get("User-Agent", "")
            self.seen.append(Seen(agent, VERBS.get(action, action), request.resource.group, plural))
        if action == "create":
            known = {"uid": str(uuid4()), "creationTimestamp": _now(), "resourceVersion": "1", "generation": 1}
            request.data["metadata"] = {**request.data["metadata"], **known}
            if request.namespace:
                request.data["metadata"]["namespace"] = request.namespace
            self._admit(request.data, is_ours)
        if action == "update" and is_ours:
            self._update(request)
        if action == "update" and is_ours and request.subresource == "status":
            self.statuses.setdefault(request.name, []).append(request.data["status"])
        if action in ("list", "fetch") and is_ours and "as=Table" in request.headers.get("Accept", ""):
            return await self._table(request)
        return await super()._handle(request)

    async def _serve_version(self, request: Any) -> Any:
        """The resources of a group; the core group has no name."""
        listed = await super()._serve_version(request)
        return {**listed, "groupVersion": listed["groupVersion"].lstrip("/")}

    def _admit(self, resource: Mapping[str, Any], is_ours: bool) -> None:
        problems = problems_of(resource) if is_ours else []
        if problems:
            name = f'{DEFINITION["spec"]["names"]["kind"]} "{resource["metadata"].get("name")}"'
            raise kmock.KubernetesError(422, "Invalid", f"{name} is invalid: {'; '.join(problems)}", {"name": "", "causes": []})

    def _update(self, request: Any) -> None:
        key = (request.resource, request.namespace, request.name)
        if key not in self.objects or self.objects[key].deleted:
            return
        before = copy.deepcopy(self.objects[key].raw)
        after = patched(before, request.data)
        self._admit(after, True)
        version = str(int(before["metadata"]["resourceVersion"]) + 1)
        generation = before["metadata"]["generation"] + (before["spec"] != after["spec"])
        request.data.setdefault("metadata", {}).update(resourceVersion=version, generation=generation)

    async def _table(self, request: Any) -> Any:
        """What kubectl prints: the columns that the definition states."""
        columns = [{"name": "Name", "jsonPath": ".metadata.name", "type": "string"}, *VERSION["additionalPrinterColumns"]]
        rows = [
            {"cells": [_cell(each.raw, column) for column in columns], "object": {**PARTIAL, "metadata": each.raw["metadata"]}}
            for (resource, namespace, name), each in self.objects.items()
            if resource == request.resource
            and not each.deleted
            and request.namespace in (None, namespace)
            and request.name in (None, name)
        ]
        if request.name and not rows:
            raise kmock.KubernetesError(404, "NotFound", f"{PLURAL} {request.name!r} not found")
        shown = [{"name": c["name"], "type": c["type"], "format": "", "priority": c.get("priority", 0)} for c in columns]
        table = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": shown, "rows": rows}
        return web.json_response(table)


def _cell(value: Any, column: Mapping[str, Any]) -> Any:
    """The value at a JSONPath of names and one kind of filter, as the API server shows it."""
    for name, key, wanted in re.findall(r'\.(\w+)(?:\[\?\(@\.(\w+)=="(\w+)"\)\])?', column["jsonPath"]):
        value = (value or {}).get(name)
        if key:
            value = next((each for each in value or () if each[key] == wanted), None)
    if value is None:
        return ""
    if column["type"] == "date":
        return f"{int(time.time() - datetime.fromisoformat(value.replace('Z', '+00:00')).timestamp())}s"
    return value


class Cluster:
    """An API server that listens in a thread, and kubectl for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._server: Any = None
        self._stop: Any = None
        self.url = ""

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with ApiServer() as server, kmock.Server(server) as listening:
            for resource, info in KNOWN.items():
                server.resources[resource] = {"verbs": {"create", "delete", "get", "list", "patch", "watch"}, **info}
            self._server, self.url = server, str(listening.url).rstrip("/")
            self._ready.set()
            await self._stop.wait()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        cluster = {"name": "mock", "cluster": {"server": self.url}}
        context = {"name": "mock", "context": {"cluster": "mock", "user": "mock", "namespace": "default"}}
        users = [{"name": "mock", "user": {"token": "token"}}]
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "mock"}
        self.kubeconfig.write_text(yaml.safe_dump({**config, "clusters": [cluster], "contexts": [context], "users": users}))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self._folder)}

    def kubectl(self, *words: str, given: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs kubectl; `given` is its standard input."""
        done = subprocess.run(
            [str(KUBECTL), *words], input=given, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the API server, as JSON."""
        data = None if body is None else json.dumps(body).encode()
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(self.url + path, data, {"Content-Type": kind}, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def pods(self, owner: str) -> list[dict[str, Any]]:
        """The pods of a service, by name."""
        items = self.request("GET", "/api/v1/namespaces/default/pods")["items"]
        own = [each for each in items if each["metadata"]["labels"].get(OWNER_LABEL) == owner]
        return sorted(own, key=lambda each: str(each["metadata"]["name"]))

    def set_pod(self, name: str, phase: str, **status: Any) -> None:
        """What the kubelet says of a pod."""
        body = {"status": {"phase": phase, **status}}
        self.request("PATCH", f"/api/v1/namespaces/default/pods/{name}", body)

    def service(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.request("GET", f"/apis/sedna.io/v1alpha1/namespaces/default/{PLURAL}/{name}")
        return found

    def statuses(self, name: str) -> list[dict[str, Any]]:
        """Every status that a service was given."""
        return list(self._server.statuses.get(name, ()))

    def run_pod(self, pod: Mapping[str, Any], models: Path) -> subprocess.CompletedProcess[str]:
        """Runs the command of a pod with the folder in place of its claim, and says of the pod what the kubelet would."""
        name, (container,) = pod["metadata"]["name"], pod["spec"]["containers"]
        self.set_pod(name, "Running", containerStatuses=[_container({"running": {"startedAt": _now()}})])
        words = [word.replace("/models", str(models)) for word in container["args"]]
        given = {each["name"]: each["value"] for each in container["env"] if each["name"] != "HOME"}
        done = subprocess.run(
            [sys.executable, "-m", "multiedge", *words], cwd=ROOT, env={**os.environ, **given}, capture_output=True, text=True
        )
        ended = {"terminated": {"exitCode": done.returncode, "finishedAt": _now()}}
        self.set_pod(name, "Failed" if done.returncode else "Succeeded", containerStatuses=[_container(ended)])
        return done

    def set_ready(self, pod: Mapping[str, Any]) -> None:
        """Says of a serving pod that it answers."""
        ready = [{"type": "Ready", "status": "True"}]
        running = [_container({"running": {"startedAt": _now()}})]
        self.set_pod(pod["metadata"]["name"], "Running", conditions=ready, containerStatuses=running)

    def collect_garbage(self) -> None:
        """Deletes pods and Services whose owner is gone."""
        owners = {each["metadata"]["uid"] for each in self.request("GET", f"/apis/sedna.io/v1alpha1/{PLURAL}")["items"]}
        for plural in ("pods", "services"):
            for each in self.request("GET", f"/api/v1/namespaces/default/{plural}")["items"]:
                references = each["metadata"].get("ownerReferences", ())
                if references and not any(reference["uid"] in owners for reference in references):
                    self.request("DELETE", f"/api/v1/namespaces/default/{plural}/{each['metadata']['name']}")

    def requests(self) -> list[Seen]:
        """Every request for a resource so far."""
        return list(self._server.seen)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def _container(state: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": "worker", "state": state, "lastState": {}, "restartCount": 0}


def until(look: Callable[[], T], what: str) -> T:
    """The first true result of looks; AssertionError that says what was waited for."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        result = look()
        if result:
            return result
        time.sleep(0.05)
    raise AssertionError(f"no {what} within {PATIENCE_S:.0f} s")


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.close()


@contextmanager
def running_controller(cluster: Cluster, *words: str) -> Iterator[str]:
    """`multiedge controller`; the URL to which workers report."""
    command = [sys.executable, "-m", "multiedge", "controller", "--listen", "127.0.0.1:0", "--image", "image:test", *words]
    log = (cluster.kubeconfig.parent / "controller.log").open("a")
    with (
        log,
        subprocess.Popen(command, cwd=ROOT, env=cluster.environment, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
            process.wait(PATIENCE_S)
