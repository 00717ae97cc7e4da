"""A front end with its server: what `multiedge node` and `multiedge hub run` have beside their own work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from multiedge.serving.front.front import FrontEnd, FrontOptions
from multiedge.serving.front.offload import OffloadView
from multiedge.serving.front.openers import HubAccess, ThisDevice
from multiedge.serving.inference.repository import ModelRepository
from multiedge.serving.inference.server import InferenceServer, ServerOptions
from multiedge.serving.seeing.prometheus import inference_metrics
from multiedge.serving.text.service import text_routes

if TYPE_CHECKING:
    from prometheus_client import Metric


class MountedFront:
    """Serves the deployments of a hub until it is closed.

    Args:
        server: Where it listens.
        front: How it serves.
        hub: The hub, and as whom pipelines are opened.
        device: The node in whose process it is; None at the hub.
        look: What is seen of the device.
        set_silent: Called with whether this device is to send nothing at all.

    Raises:
        ConfigError: If it cannot listen there, or its folder cannot be used.
        PipelineError: If a port is taken.
    """

    def __init__(
        self,
        server: ServerOptions,
        front: FrontOptions,
        hub: HubAccess,
        device: ThisDevice | None = None,
        look: Callable[[], OffloadView] = OffloadView,
        set_silent: Callable[[bool], None] = lambda is_silent: None,
    ) -> None:
        self.repository = ModelRepository()
        with ExitStack() as stack:
            stack.callback(self.repository.close)
            self.front = stack.enter_context(FrontEnd(self.repository, hub, front, device, look, set_silent))
            routes = text_routes(lambda: self.front.texts)
            self.server = stack.enter_context(InferenceServer(self.repository, server, add_routes=routes))
            self._stack = stack.pop_all()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, with the protocol of each, for a person."""
        named = (("gRPC", self.server.grpc_address), ("HTTP", self.server.http_address))
        return tuple(f"{address} {name}" for name, address in named if address)

    def metrics(self) -> Iterator[Metric]:
        """What requests took, by deployment."""
        return inference_metrics((model.name, taken) for model, taken in self.repository.statistics())

    def close(self) -> None:
        """Ends the server, then all pipelines. May be called twice."""
        self._stack.close()
