"""Which runtime suits which hardware: where the backend `auto` starts as long as nothing was measured."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from multiedge.errors import ConfigError, did_you_mean
from multiedge.fleet import CPU, Device


class Evidence(str, Enum):
    """What is known of a runtime on a kind of hardware."""

    TESTED = "tested"
    """The tests of this project run it there."""
    CONVERTED = "converted only"
    """Conversions for it are tested, on x86-64; it was not run on this hardware."""
    CLAIMED = "claimed"
    """Its maker says so; nothing of it was tried here."""


@dataclass(frozen=True)
class Start:
    """A runtime for a kind of hardware.

    Attributes:
        backend: Name of the backend. One that is not registered is skipped; a package may register it.
        precision: What it computes with unless the device states another precision.
        evidence: What is known of it there.
    """

    backend: str
    precision: str
    evidence: Evidence


@dataclass(frozen=True)
class Hardware:
    """A kind of hardware.

    Attributes:
        name: For people.
        type: `type` of a device that is of this kind, wherever it is planned for.
        starts: The most suitable first; of these, the first one that is installed is used.
    """

    name: str
    type: str
    starts: tuple[Start, ...]


_TESTED, _CONVERTED, _CLAIMED = Evidence.TESTED, Evidence.CONVERTED, Evidence.CLAIMED

HARDWARE = (
    Hardware(
        "x86-64 CPU",
        "x86-cpu",
        (
            Start("onnxruntime", "float32", _TESTED),
            Start("openvino", "float32", _TESTED),
            Start("mnn", "float32", _TESTED),
            Start("litert", "float32", _TESTED),
            Start("ncnn", "float32", _TESTED),
        ),
    ),
    Hardware(
        "ARM CPU of a phone or board",
        "arm-cpu",
        (
            Start("onnxruntime", "float32", _CLAIMED),
            Start("mnn", "float32", _CONVERTED),
            Start("litert", "float32", _CONVERTED),
            Start("ncnn", "float32", _CONVERTED),
            Start("openvino", "float32", _CONVERTED),
        ),
    ),
    Hardware(
        "Intel integrated GPU",
        "intel-gpu",
        (Start("openvino-gpu", "float16", _CLAIMED), Start("openvino", "float32", _CONVERTED)),
    ),
    Hardware("Intel NPU", "intel-npu", (Start("openvino-npu", "float16", _CLAIMED), Start("openvino", "float32", _CONVERTED))),
    Hardware("NVIDIA GPU", "gpu", (Start("onnxruntime", "float32", _TESTED), Start("tensorrt", "float16", _CLAIMED))),
    Hardware("Qualcomm NPU", "qualcomm-npu", (Start("qnn", "int8", _CLAIMED), Start("mnn", "float32", _CONVERTED))),
    Hardware("Huawei Ascend", "ascend", (Start("mindspore-lite", "float16", _CLAIMED), Start("cann", "float16", _CLAIMED))),
    Hardware("Baidu Kunlun", "kunlun", (Start("paddle-lite-xpu", "float32", _CLAIMED),)),
    Hardware("Google Coral", "coral", (Start("edgetpu", "int8", _CLAIMED),)),
    Hardware("Apple silicon", "apple", (Start("onnxruntime", "float32", _CLAIMED), Start("coreml", "float16", _CLAIMED))),
)
"""After the last start of each, the reference backend on the CPU is used."""

_BY_TYPE: Mapping[str, Hardware] = {each.type: each for each in HARDWARE}
_BY_MACHINE: Mapping[str, str] = {
    "x86_64": "x86-cpu",
    "amd64": "x86-cpu",
    "aarch64": "arm-cpu",
    "arm64": "arm-cpu",
    "armv7l": "arm-cpu",
}


def hardware_of(device: Device) -> Hardware:
    """The kind of hardware that the device's type names; for other types, and for 'cpu', that of this machine."""
    if device.gpu is not None:
        return _BY_TYPE["gpu"]
    return _BY_TYPE.get(device.type) or this_machine()


def require_type(option: str, device_type: str) -> None:
    """ConfigError that begins with the option for a type of which the table knows nothing: it would have no effect."""
    known = (CPU, *_BY_TYPE)
    if device_type not in known and Device("", device_type).gpu is None:
        raise ConfigError(f"{option}: expected {', '.join(known)}, got '{device_type}'{did_you_mean(device_type, known)}")


def this_machine() -> Hardware:
    """The hardware of this machine's processor; one of a kind that is not in the table counts as x86-64."""
    kind = _BY_MACHINE.get(platform.machine().lower(), "x86-cpu")
    return _BY_TYPE["apple" if sys.platform == "darwin" and kind == "arm-cpu" else kind]
