"""Execution providers of onnxruntime: which one is asked for, and which really compute.

onnxruntime leaves out a provider that it cannot load, and gives the nodes that a provider does not know to the CPU, both
without an error. A provider that was asked for by name and computes nothing is an error here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import onnxruntime as ort

from multiedge.backends.contract import Provider
from multiedge.errors import ConfigError, ModelError, one_line
from multiedge.fleet import Device

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
ASSIGNMENT = "session.record_ep_graph_assignment_info"
"""Entry of a session's options: onnxruntime remembers which provider computes which node. Older versions ignore it."""

Settings = dict[str, str]
ProviderList = list[tuple[str, Settings]]


@dataclass(frozen=True)
class ExecutionProvider:
    """One provider as onnxruntime knows it.

    Attributes:
        name: Its name in onnxruntime.
        processor: What it computes on.
        package: What `pip install` brings it.
        plugin: The module of a package beside onnxruntime that has it; '' for one that is a part of onnxruntime.
        rest: What computes the nodes that it does not know, in order of preference.
        card: Its setting that takes the number of a card; '' if it has none.
        threads: Its setting that takes a number of threads; '' if it has none.
    """

    name: str
    processor: str
    package: str
    plugin: str = ""
    rest: tuple[str, ...] = (CPU,)
    card: str = ""
    threads: str = ""


PROVIDERS: Mapping[str, ExecutionProvider] = {
    "cpu": ExecutionProvider(CPU, "cpu", "onnxruntime", rest=()),
    "cuda": ExecutionProvider(CUDA, "gpu", "onnxruntime-gpu", card="device_id"),
    "tensorrt": ExecutionProvider("TensorrtExecutionProvider", "gpu", "onnxruntime-gpu", rest=(CUDA, CPU), card="device_id"),
    "openvino": ExecutionProvider(
        "OpenVINOExecutionProvider", "cpu", "onnxruntime-ep-openvino", "onnxruntime_ep_openvino", threads="num_of_threads"
    ),
    "qnn": ExecutionProvider("QNNExecutionProvider", "npu", "onnxruntime-qnn", "onnxruntime_qnn"),
    "coreml": ExecutionProvider("CoreMLExecutionProvider", "npu", "onnxruntime"),
    "xnnpack": ExecutionProvider(
        "XnnpackExecutionProvider", "cpu", "an onnxruntime that is built with XNNPACK", threads="intra_op_num_threads"
    ),
    "directml": ExecutionProvider("DmlExecutionProvider", "gpu", "onnxruntime-directml", card="device_id"),
    "migraphx": ExecutionProvider("MIGraphXExecutionProvider", "gpu", "onnxruntime-migraphx", card="device_id"),
    "cann": ExecutionProvider("CANNExecutionProvider", "npu", "onnxruntime-cann", card="device_id"),
    "webgpu": ExecutionProvider("WebGpuExecutionProvider", "gpu", "onnxruntime-ep-webgpu", "onnxruntime_ep_webgpu"),
}
"""Providers by the names that users give."""
PROCESSORS = {each.name: each.processor for each in PROVIDERS.values()}


def provider_of(name: str) -> Provider:
    """The provider of that name in onnxruntime, with what it computes on."""
    return Provider(name, PROCESSORS.get(name, "cpu"))


def providers_for(device: Device | None) -> ProviderList:
    """Execution providers in order of preference where none is asked for: CUDA on the device's card if it has one and
    onnxruntime can use it, then the CPU."""
    cpu: ProviderList = [(CPU, {})]
    if device is None or device.gpu is None or CUDA not in ort.get_available_providers():
        return cpu
    return [(CUDA, {"device_id": str(device.gpu)}), *cpu]


@dataclass(frozen=True)
class Chosen:
    """A provider that was asked for by its name, with its settings on a device.

    Attributes:
        asked: The user's name of it.
        settings: The provider's own settings.
    """

    asked: str
    settings: Settings

    @property
    def provider(self) -> ExecutionProvider:
        return PROVIDERS[self.asked]

    def load(self, path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
        """A session whose nodes this provider computes, and others those that it does not know.

        ConfigError if this onnxruntime has no such provider; what onnxruntime raises for the file comes as it is.
        """
        if self.provider.name in ort.get_available_providers():
            card = {key: value for key, value in self.settings.items() if key == PROVIDERS["cuda"].card}
            rest: ProviderList = [(name, card if name == CUDA else {}) for name in self.provider.rest]
            order = [(self.provider.name, self.settings), *rest]
            return ort.InferenceSession(str(path), options, providers=order, enable_fallback=0)
        options.add_provider_for_devices(_plugin_devices(self.asked)[:1], self.settings)
        return ort.InferenceSession(str(path), options)

    def computing(self, raw: ort.InferenceSession, path: Path) -> Provider:
        """What computes the nodes, the provider of most nodes first; ModelError if the one asked for computes none."""
        used = raw.get_providers()
        if self.provider.name not in used:
            raise ModelError(
                f"{path}: execution provider '{self.asked}': onnxruntime could not load it and took {used[0]}; install the"
                f" libraries that it needs, or choose another provider"
            )
        counts = _nodes_of(raw)
        if counts is None or self.asked == "cpu":
            return Provider(self.provider.name, self.provider.processor)
        if not counts[self.provider.name]:
            raise ModelError(
                f"{path}: execution provider '{self.asked}': it knows none of the operators, and {CPU} would compute all of"
                f" {sum(counts.values())}; choose another provider"
            )
        return Provider("+".join(name for name, _ in counts.most_common()), self.provider.processor)


def chosen(asked: str, settings: Mapping[str, str], device: Device | None) -> Chosen:
    """The provider with the settings that the device states: its card and its threads; `settings` come before these.

    ConfigError if this machine has no such provider.
    """
    provider = PROVIDERS[asked]
    if provider.name not in ort.get_available_providers():
        _plugin_devices(asked)
    stated: Settings = {}
    if provider.card:
        stated[provider.card] = str((device.gpu if device else None) or 0)
    if provider.threads:
        stated[provider.threads] = str(device.threads if device else 1)
    return Chosen(asked, {**stated, **settings})


def _nodes_of(raw: ort.InferenceSession) -> Counter[str] | None:
    """How many nodes each provider computes; None from an onnxruntime that does not tell."""
    tell = getattr(raw, "get_provider_graph_assignment_info", None)
    if tell is None:
        return None
    counts: Counter[str] = Counter()
    for part in tell():
        counts[part.ep_name] += len(part.get_nodes())
    return counts


@lru_cache
def _plugin_devices(asked: str) -> list[Any]:
    """onnxruntime's devices for a provider from a package of its own; ConfigError if there are none."""
    provider = PROVIDERS[asked]
    try:
        if not provider.plugin:
            raise ImportError
        plugin = import_module(provider.plugin)
        ort.register_execution_provider_library(provider.name, plugin.get_library_path())
    except ImportError:
        known = ", ".join(ort.get_available_providers())
        raise ConfigError(
            f"execution provider '{asked}': expected one that onnxruntime has here, {known}; it comes with {provider.package}"
        ) from None
    except Exception as error:  # a class per status code
        raise ConfigError(f"execution provider '{asked}': {provider.package} cannot be loaded: {one_line(error)}") from error
    devices = [device for device in ort.get_ep_devices() if device.ep_name == provider.name]
    if not devices:
        raise ConfigError(f"execution provider '{asked}': {provider.package} finds no device on this machine that it can use")
    return devices
