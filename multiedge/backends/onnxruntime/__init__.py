"""onnxruntime: the reference runtime, and the default one of a device.

Three settings differ from its defaults, each for a measured reason: threads are explicit (onnxruntime sizes its pool
by the machine's cores and so escapes an emulated device), threads do not spin while idle (two stages that share a
core burn a third more CPU with spinning), and one session serves one stage.

Nothing of the runtime is imported before it is used, so that options and declarations can be read without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from multiedge.backends.contract import Backend, NodeTimer, Provider, Tensors
from multiedge.errors import ConfigError, did_you_mean
from multiedge.fleet import Device
from multiedge.profile import MemoryUse

if TYPE_CHECKING:
    from multiedge.backends.onnxruntime.session import OnnxRuntimeSession

PRODUCTS = ("MatMul", "Gemm")
CONVOLUTIONS = ("Conv", "ConvTranspose")
TIMED = (None, "cpu", "cuda")
"""Execution providers whose nodes are those of the model."""
Optimisation = Literal["disabled", "basic", "extended", "all"]
Precision = Literal["float32", "float16", "int8", "int4"]
Quantisation = Literal["auto", "static", "dynamic"]
AS_IN_FILE: Literal["float32"] = "float32"
"""The precision that leaves every number of the file as it is."""
ProviderName = Literal[
    "cpu", "cuda", "tensorrt", "openvino", "qnn", "coreml", "xnnpack", "directml", "migraphx", "cann", "webgpu"
]


@dataclass(frozen=True)
class OnnxRuntimeBackend(Backend):
    """Opens `.onnx` and `.ort` files on a device's threads, and on its GPU where onnxruntime has CUDA.

    `execution_provider` names what computes instead; a session on which it would compute nothing is refused.
    `provider_settings` are that provider's own settings, such as `device_type` of OpenVINO's.

    `precision` is float32 for the numbers of the file as they are; for float16, int8 and int4 an ONNX file is converted first.
    `quantisation` is how int8 gets the ranges of activations: 'static', from calibration inputs before, 'dynamic', from each
    input while it runs, or 'auto', static where the model has more convolutions than products.

    `optimisation` is the level of graph optimisation. `memory_pattern` and `arena` are onnxruntime's allocator settings;
    without `prepack`, weights stay in the file's layout (less memory, slower). `prepacked` is a folder that keeps packed
    weights from one session to the next (`multiedge.backends.onnxruntime.prepacked`); on a GPU it does nothing. `config`
    holds raw session config entries.
    """

    formats = (".onnx", ".ort")
    processors = ("cpu", "gpu")
    precisions = (AS_IN_FILE, "float16", "int8", "int4")
    tolerances = {"float16": 1e-2}  # noqa: RUF012
    approximate = ("int8", "int4")

    execution_provider: ProviderName | None = None
    provider_settings: Mapping[str, str] = field(default_factory=dict, hash=False)
    optimisation: Optimisation = "all"
    memory_pattern: bool = True
    arena: bool = True
    prepack: bool = True
    prepacked: str | None = None
    config: Mapping[str, str] = field(default_factory=dict, hash=False)
    precision: Precision = AS_IN_FILE
    quantisation: Quantisation = "auto"

    def __post_init__(self) -> None:
        names = get_args(ProviderName)
        if self.execution_provider is not None and self.execution_provider not in names:
            raise ConfigError(
                f"execution_provider: unknown name '{self.execution_provider}'{did_you_mean(self.execution_provider, names)}"
            )
        if self.provider_settings and self.execution_provider is None:
            raise ConfigError("provider_settings: are those of a provider that `execution_provider` names; name one")
        if self.prepacked is not None and self.execution_provider is not None:
            raise ConfigError("prepacked: keeps the weights of sessions without `execution_provider`; leave one of them out")
        levels = get_args(Optimisation)
        if self.optimisation not in levels:
            raise ConfigError(f"optimisation: unknown level '{self.optimisation}'{did_you_mean(self.optimisation, levels)}")
        if self.quantisation != "auto" and self.precision != "int8":
            raise ConfigError(f"quantisation: '{self.quantisation}' has an effect with precision int8 only; leave it out")

    @property
    def version(self) -> str:
        try:
            return metadata.version("onnxruntime")  # without an import, which takes longer than to read a profile
        except metadata.PackageNotFoundError:  # packages for other processors have other names
            from onnxruntime import __version__

            return str(__version__)

    def opens(self, path: Path) -> bool:
        """Files that were converted before, `.ort`, and others unless their numbers are to be changed."""
        return path.suffix in self.formats and (self.precision == AS_IN_FILE or path.suffix != ".onnx")

    def convert(self, source: Path, target: Path) -> None:
        """Writes an ONNX file whose weights, and for float16 and int8 most of whose operators, have the `precision`."""
        from multiedge.backends.onnxruntime.quantisation import convert

        convert(self, source, target, ())

    def convert_calibrated(self, source: Path, target: Path, inputs: Sequence[Tensors]) -> None:
        from multiedge.backends.onnxruntime.quantisation import convert

        convert(self, source, target, inputs)

    def open(self, path: Path, device: Device | None = None) -> OnnxRuntimeSession:
        from multiedge.backends.onnxruntime.session import open_session

        return open_session(self, path, device)

    def exact(self) -> OnnxRuntimeBackend:
        """With optimisation disabled: some optimisations cross a cut."""
        return replace(self, optimisation="disabled")

    def for_growing(self) -> OnnxRuntimeBackend:
        """Without memory patterns: onnxruntime would keep one for each size that it has seen."""
        return replace(self, memory_pattern=False)

    def memory_use(self) -> MemoryUse:
        """Measured: weights of products exist twice while they are packed, those of convolutions four times while they are laid
        out in blocks, and all convolutions into which a normalisation is folded twice until the session is made. Those of all
        products of a body exist twice until the body is packed; convolutions there stay as they are. The arena leaves gaps
        between activations of unlike sizes, both in the pieces of the first run and in the one block of those that follow."""
        products = dict.fromkeys(PRODUCTS, 1 if self.prepack else 0)
        convolutions = dict.fromkeys(CONVOLUTIONS, 3 if self.optimisation == "all" else products["MatMul"])
        return MemoryUse(
            working_copies=2,
            packing_copies={**products, **convolutions},
            folded={} if self.optimisation == "disabled" else dict.fromkeys(CONVOLUTIONS, "BatchNormalization"),
            body_copies=products,
        )

    def provider(self, device: Device) -> Provider:
        from multiedge.backends.onnxruntime.providers import chosen, provider_of, providers_for

        if self.execution_provider is None:
            return provider_of(providers_for(device)[0][0])
        return provider_of(chosen(self.execution_provider, self.provider_settings, device).provider.name)

    def node_timer(self) -> NodeTimer | None:
        """None with a provider that makes one node of many: the times of single nodes are not known."""
        if self.execution_provider not in TIMED:
            return None
        from multiedge.backends.onnxruntime.node_times import OnnxRuntimeNodeTimer

        return OnnxRuntimeNodeTimer(self)
