"""The controller as an operator on kopf, which watches resources, pods and Services of Kubernetes, and keeps indices."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multiedge.errors import ConfigError, MissingDependencyError, NetworkError, one_line
from multiedge.network.identity import join_address
from multiedge.serving.aio import web
from multiedge.serving.kubernetes.cluster import ApiCluster
from multiedge.serving.kubernetes.controller import LOGGER, Controller
from multiedge.serving.kubernetes.names import GROUP, OWNER_LABEL, PLURAL, VERSION, Key
from multiedge.serving.kubernetes.reports import application
from multiedge.serving.kubernetes.spec import Service, Unreadable, read_service, unreadable
from multiedge.serving.kubernetes.workers import Worker, read_worker

try:
    import kopf
except ImportError:
    raise MissingDependencyError("kopf", extra="kubernetes") from None

Index = Mapping[Key, Any]


@dataclass(frozen=True)
class OperatorOptions:
    """How the controller runs.

    Attributes:
        host: Address that it listens on for the messages of workers.
        port: Port; 0 is a free one.
        url: Where workers reach it; '' is where it listens.
        image: Image of workers where the spec names none.
        namespaces: Where it looks for resources; none for all.
    """

    host: str
    port: int
    url: str
    image: str
    namespaces: Sequence[str] = ()


async def serve(options: OperatorOptions, listens: Callable[[str, str], None]) -> None:
    """Runs the controller until SIGINT or SIGTERM. `listens` is told its address and the URL for workers.

    NetworkError if no cluster is configured or it cannot be reached, or if the port is taken.
    """
    cluster = await ApiCluster.connected()
    try:
        with _listening(options) as listening:
            address = join_address(*listening.getsockname()[:2])
            url = options.url or f"http://{address}"
            handlers = Handlers(options.image)
            controller = Controller(cluster, handlers, url)
            handlers.controller = controller
            runner = web.AppRunner(application(controller), access_log=None)
            await runner.setup()
            await web.SockSite(runner, listening).start()
            listens(address, url)
            try:
                await _operate(handlers, options.namespaces)
            finally:
                await controller.close()
                await runner.cleanup()
    finally:
        await cluster.close()


async def _operate(handlers: Handlers, namespaces: Sequence[str]) -> None:
    try:
        await kopf.operator(registry=handlers.registry(), standalone=True, clusterwide=not namespaces, namespaces=namespaces)
    except OSError as error:  # those of aiohttp are of this class, too
        raise NetworkError(f"kubernetes: {one_line(error)}") from error


def _listening(options: OperatorOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family)
    except OSError as error:
        raise NetworkError(f"--listen: {join_address(options.host, options.port)}: {one_line(error)}") from error


class Handlers:
    """The handlers of kopf, and what its watches have seen: the indices are complete before an event is handled."""

    controller: Controller

    def __init__(self, image: str) -> None:
        self._image = image
        self._resources: Index = {}
        self._workers: Index = {}
        self._addresses: Index = {}

    def registry(self) -> kopf.OperatorRegistry:
        """All handlers."""
        registry = kopf.OperatorRegistry()
        resources, pods, services = (GROUP, VERSION, PLURAL), ("", "v1", "pods"), ("", "v1", "services")
        ours = {"labels": {OWNER_LABEL: kopf.PRESENT}, "registry": registry}
        kopf.on.login(registry=registry)(kopf.login_via_async_client)
        kopf.on.startup(registry=registry)(self.start)
        kopf.index(*resources, id="seen_resources", registry=registry)(self.index_resource)
        kopf.index(*pods, id="seen_workers", **ours)(index_worker)
        kopf.index(*services, id="seen_addresses", **ours)(index_address)
        kopf.on.event(*resources, registry=registry)(self.resource_changed)
        kopf.on.event(*pods, **ours)(self.pod_changed)
        kopf.on.event(*services, **ours)(self.address_changed)
        return registry

    def service(self, key: Key) -> Service | Unreadable | None:
        return next(iter(self._resources.get(key, ())), None)

    def workers(self, owner: Key) -> tuple[Worker, ...]:
        return tuple(self._workers.get(owner, ()))

    def has_address(self, owner: Key) -> bool:
        return owner in self._addresses

    async def start(self, settings: Any, seen_resources: Index, seen_workers: Index, seen_addresses: Index, **_: Any) -> None:
        """Takes the indices, which kopf keeps up to date."""
        settings.scanning.disabled = True  # so that no permission to watch namespaces and definitions is needed
        settings.posting.enabled = False
        self._resources, self._workers, self._addresses = seen_resources, seen_workers, seen_addresses

    async def index_resource(self, body: Mapping[str, Any], **_: Any) -> dict[Key, Service | Unreadable]:
        try:
            service: Service | Unreadable = read_service(body, self._image)
        except ConfigError as error:
            service = unreadable(body, str(error))
        return {service.id: service}

    async def resource_changed(self, event: Mapping[str, Any], namespace: str, name: str, uid: str, **_: Any) -> None:
        if event["type"] == "DELETED":
            self.controller.forget_service((namespace, name), uid)
        else:
            await self.controller.look((namespace, name))

    async def pod_changed(
        self, event: Mapping[str, Any], namespace: str, name: str, labels: Mapping[str, str], **_: Any
    ) -> None:
        if event["type"] == "DELETED":
            self.controller.forget_worker((namespace, name))
        await self.controller.look((namespace, labels[OWNER_LABEL]))

    async def address_changed(self, namespace: str, labels: Mapping[str, str], **_: Any) -> None:
        await self.controller.look((namespace, labels[OWNER_LABEL]))


async def index_worker(body: Mapping[str, Any], **_: Any) -> dict[Key, Worker] | None:
    """A pod with the labels of a worker; others are left out."""
    try:
        worker = read_worker(body)
    except ConfigError as error:
        LOGGER.warning("%s", error)
        return None
    return {worker.owner: worker}


async def index_address(namespace: str, name: str, labels: Mapping[str, str], **_: Any) -> dict[Key, str]:
    return {(namespace, labels[OWNER_LABEL]): name}
