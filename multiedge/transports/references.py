"""An extension of the Open Inference Protocol: outputs that stay on the server that made them, and inputs that come from there.

A server that has it lists EXTENSION in its metadata. All is in the protocol's own parameters, so that other clients and servers
are not affected:

    requested output, `keep`     the server keeps the tensor, and answers with its description and a `key`, without contents
    input, `kept`                `host:port/key`: the server fetches the tensor there; the request has no contents for it
    request, `release`           keys that nobody fetches any more, separated by commas

    input or output, `absent`    the item does not have it, since a condition of a workflow does not hold; without contents

A kept tensor is fetched by an inference on the model KEPT_MODEL that requests its key as an output. Keys are random, so the
tensor of another run or server is never taken for the one that was meant.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from multiedge.composed import VOID, is_void
from multiedge.errors import MultiedgeError, PipelineError
from multiedge.transports.open_inference import SERVICE, Array, grpc_module, infer_request, messages, unpack

EXTENSION = "multiedge-kept-outputs"
KEPT_MODEL = "multiedge-kept"
MOST_CHANNELS = 32
KEEP, KEPT, KEY, RELEASE, ABSENT = "keep", "kept", "key", "release", "absent"


class FetchError(MultiedgeError):
    """A kept tensor cannot be fetched from its server."""


@dataclass(frozen=True)
class KeptTensor:
    """A tensor that a server keeps: the server as `host:port`, and the key there."""

    address: str
    key: str

    def __str__(self) -> str:
        return f"{self.address}/{self.key}"

    @classmethod
    def parse(cls, text: str) -> KeptTensor:
        """The tensor of a `kept` parameter; PipelineError for a text that is none."""
        address, _, key = text.partition("/")
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not key.isalnum():
            raise PipelineError(f"expected a kept tensor as host:port/key, got '{text[:80]}'")
        return cls(address, key)


Held = Array | KeptTensor


def chained_request(item: int, tensors: Mapping[str, Held], outputs: Iterable[str], kept: Iterable[str]) -> Any:
    """A ModelInferRequest for any model, with arrays and kept tensors as inputs, whose outputs in `kept` stay on the server."""
    here = {name: held for name, held in tensors.items() if not (isinstance(held, KeptTensor) or is_void(held))}
    request = infer_request("", item, here, ())
    for name, held in tensors.items():
        if isinstance(held, KeptTensor):
            request.inputs.add(name=name).parameters.add(key=KEPT).value.string_param = str(held)
        elif name not in here:
            request.inputs.add(name=name).parameters.add(key=ABSENT).value.bool_param = True
    stay = set(kept)
    for name in outputs:
        output = request.outputs.add(name=name)
        if name in stay:
            output.parameters.add(key=KEEP).value.bool_param = True
    return request


def made_outputs(response: Any, address: str) -> dict[str, Held]:
    """The outputs in an answer of the server at that address."""
    kept = {tensor.name: KeptTensor(address, key) for tensor in response.outputs if (key := _text(tensor, KEY))}
    arrays = unpack([tensor for tensor in response.outputs if tensor.name not in kept], response.raw_output_contents)
    absent = dict.fromkeys([tensor.name for tensor in response.outputs if _is_absent(tensor)], VOID)
    return {**arrays, **kept, **absent}


def fetch_request(keys: Iterable[str]) -> Any:
    """The request for kept tensors."""
    return infer_request(KEPT_MODEL, 0, {}, keys)


def add_released(request: Any, keys: Iterable[str]) -> None:
    """Tells the server of a request that these keys are not needed any more."""
    if text := ",".join(keys):
        request.parameters.add(key=RELEASE).value.string_param = text


def _text(message: Any, key: str) -> str:
    return next((str(each.value.string_param) for each in message.parameters if each.key == key), "")


def _is_absent(message: Any) -> bool:
    return any(each.key == ABSENT and each.value.bool_param for each in message.parameters)


class OtherServers:
    """Connections to the servers that keep the inputs of requests."""

    def __init__(self, limit_bytes: int = -1) -> None:
        self._grpc, self._limit_bytes = grpc_module(), limit_bytes
        self._channels: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def fetch(self, kept: Mapping[str, KeptTensor], timeout_s: float) -> dict[str, Array]:
        """The tensors by name of the input; FetchError if one of them is not there, or not in time."""
        until = time.monotonic() + timeout_s
        arrays: dict[str, Array] = {}
        for address in dict.fromkeys(tensor.address for tensor in kept.values()):
            names = {tensor.key: name for name, tensor in kept.items() if tensor.address == address}
            try:
                response = self._ask(address)(fetch_request(names), timeout=max(0.0, until - time.monotonic()))
                made = unpack(response.outputs, response.raw_output_contents)
            except self._grpc.RpcError as error:
                raise FetchError(f"{', '.join(names.values())}: not from {address}: {error.code().name}") from error
            arrays |= {name: made[key] for key, name in names.items()}
        return arrays

    def close(self) -> None:
        with self._lock:
            for channel in self._channels.values():
                channel.close()
            self._channels.clear()

    def _ask(self, address: str) -> Any:
        """The call to a server; the connection that was not used for longest is closed if there are too many."""
        with self._lock:
            if address not in self._channels:
                options = (
                    ("grpc.max_receive_message_length", self._limit_bytes),
                    ("grpc.initial_reconnect_backoff_ms", 50),
                    ("grpc.min_reconnect_backoff_ms", 50),
                    ("grpc.max_reconnect_backoff_ms", 500),
                )
                self._channels[address] = self._grpc.insecure_channel(address, options=options)
            self._channels.move_to_end(address)
            while len(self._channels) > MOST_CHANNELS:
                self._channels.popitem(last=False)[1].close()
            kinds = messages()
            return self._channels[address].unary_unary(
                f"/{SERVICE}/ModelInfer",
                kinds["ModelInferRequest"].SerializeToString,
                kinds["ModelInferResponse"].FromString,
            )
