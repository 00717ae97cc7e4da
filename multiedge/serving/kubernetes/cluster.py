"""Requests to the API server, and what it answers, as the controller needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from multiedge import __version__
from multiedge.errors import MissingDependencyError, NetworkError, one_line
from multiedge.serving.kubernetes.names import GROUP, PLURAL, VERSION, Key

REQUEST_TIMEOUT_S = 30.0
NOT_FOUND, CONFLICT = 404, 409


class Cluster(Protocol):
    """What the controller changes. Each raises NetworkError where the API server refuses or cannot be reached."""

    async def create_pod(self, pod: Mapping[str, Any]) -> None:
        """Creates a pod; nothing if there is one of its name."""
        ...

    async def delete_pod(self, pod: Key) -> None:
        """Deletes a pod; nothing if there is none."""
        ...

    async def create_service(self, service: Mapping[str, Any]) -> None:
        """Creates a Service of Kubernetes; nothing if there is one of its name."""
        ...

    async def create_event(self, event: Mapping[str, Any]) -> None:
        """Creates an event, which `kubectl describe` shows."""
        ...

    async def set_status(self, resource: Key, status: Mapping[str, Any]) -> None:
        """Replaces what the keys of the status say; nothing if the resource is gone."""
        ...


class ApiCluster:
    """The cluster that the environment names: that of this pod, otherwise that of the kubeconfig file.

    Made by `connected`, inside the event loop that uses it.
    """

    def __init__(self, client: Any, errors: Any) -> None:
        self._api, self._errors = client, errors

    @classmethod
    async def connected(cls) -> ApiCluster:
        """Reads addresses and credentials; NetworkError if there are none, MissingDependencyError without the package."""
        try:
            from kubernetes_asyncio import client, config
        except ImportError as error:
            raise MissingDependencyError("kubernetes_asyncio", extra="kubernetes") from error
        try:
            try:
                config.load_incluster_config()
            except config.ConfigException:
                await config.load_kube_config()
        except config.ConfigException as error:
            raise NetworkError(f"kubernetes: no cluster is configured: {one_line(error)}; set KUBECONFIG") from error
        api = client.ApiClient()
        api.user_agent = f"multiedge/{__version__}"
        return cls(api, client.ApiException)

    async def close(self) -> None:
        await self._api.close()

    async def create_pod(self, pod: Mapping[str, Any]) -> None:
        await self._create("pods", pod)

    async def delete_pod(self, pod: Key) -> None:
        namespace, name = pod
        await self._request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", None, ignored=NOT_FOUND)

    async def create_service(self, service: Mapping[str, Any]) -> None:
        await self._create("services", service)

    async def create_event(self, event: Mapping[str, Any]) -> None:
        await self._create("events", event)

    async def set_status(self, resource: Key, status: Mapping[str, Any]) -> None:
        namespace, name = resource
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}/status"
        await self._request("PATCH", path, {"status": status}, ignored=NOT_FOUND)

    async def _create(self, plural: str, body: Mapping[str, Any]) -> None:
        namespace = body["metadata"]["namespace"]
        await self._request("POST", f"/api/v1/namespaces/{namespace}/{plural}", body, ignored=CONFLICT)

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None, *, ignored: int) -> None:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            await self._api.call_api(
                path,
                method,
                header_params={"Accept": "application/json", "Content-Type": kind},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=REQUEST_TIMEOUT_S,
            )
        except self._errors as error:
            if error.status != ignored:
                raise NetworkError(f"kubernetes: {method} {path}: {_reason(error)}", status=error.status) from error
        except (OSError, TimeoutError) as error:
            raise NetworkError(f"kubernetes: {method} {path}: {one_line(error) or type(error).__name__}") from error


def _reason(error: Any) -> str:
    """The message of the API server's Status, otherwise its reason phrase."""
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return f"{error.status} {' '.join(str(message).split())}"
