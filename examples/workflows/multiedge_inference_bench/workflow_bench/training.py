"""Trains small networks with torch and writes them as ONNX files, which are compared with torch."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from imagenet_bench.models import constants_to_initializers
from torch import nn
from torch.nn import functional

from multiedge.errors import ModelError

OPSET = 17
MOST_DIFFERENCE = 1e-3
"""Of any number that an exported model gives from torch's."""
Progress = Callable[[str, float], None]
"""Called with what is done and the share of it that is done."""
Loss = Callable[[Any, torch.Tensor], torch.Tensor]


def cross_entropy(outputs: Any, targets: torch.Tensor) -> torch.Tensor:
    """Of logits, (n, classes), and classes, (n,)."""
    return functional.cross_entropy(outputs, targets)


@dataclass(frozen=True)
class Schedule:
    """How a network is trained.

    Attributes:
        steps: Number of steps of the optimiser.
        batch: Items in each step.
        rate: Largest learning rate; it rises over a tenth of the steps, then falls as a cosine.
        seed: Of weights and batches.
    """

    steps: int
    batch: int = 64
    rate: float = 3e-3
    seed: int = 0


@dataclass(frozen=True)
class Fitted:
    """A trained network in its mode for inference, the mean loss of its last steps, and how long it took."""

    module: nn.Module
    loss: float
    seconds: float

    @property
    def parameters(self) -> int:
        return sum(each.numel() for each in self.module.parameters())


def fit(
    make: Callable[[], nn.Module],
    inputs: np.ndarray,
    targets: np.ndarray,
    schedule: Schedule,
    loss: Loss = cross_entropy,
    progress: Progress = lambda done, share: None,
) -> Fitted:
    """Trains what `make` gives on inputs, (n, ...), and targets, (n, ...)."""
    torch.manual_seed(schedule.seed)
    module, begin_s, losses = make().train(), time.monotonic(), []
    optimiser = torch.optim.AdamW(module.parameters(), lr=schedule.rate, weight_decay=0.01)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, schedule.rate, total_steps=schedule.steps, pct_start=0.1)
    given, wanted = torch.from_numpy(inputs), torch.from_numpy(targets)
    for step in range(schedule.steps):
        rows = torch.randint(len(given), (schedule.batch,))
        cost = loss(module(given[rows]), wanted[rows])
        optimiser.zero_grad()
        cost.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        rates.step()
        losses.append(cost.item())
        progress(f"step {step + 1} of {schedule.steps}, loss {losses[-1]:.2f}", (step + 1) / schedule.steps)
    last = losses[-max(1, schedule.steps // 20) :]
    return Fitted(module.eval(), sum(last) / len(last), time.monotonic() - begin_s)


def convolutions(*channels: int, stride: int = 2) -> nn.Sequential:
    """Convolutions of 3x3 from each number of channels to the next, each with this stride, a normalisation and a ReLU."""
    steps: list[nn.Module] = []
    for before, after in pairwise(channels):
        steps += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*steps)


class Pixels(nn.Module):
    """Bytes as numbers from -1 to 1, before a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> Any:
        return self.network(pictures.float() / 127.5 - 1.0)


class WithProbabilities(nn.Module):
    """Logits of a network, and their softmax."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.network(*inputs)
        return logits, logits.softmax(-1)


def export(
    module: nn.Module,
    examples: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    path: Path,
    free: Mapping[str, str] | None = None,
    simplified: bool = False,
) -> Path:
    """Writes a network as ONNX.

    Args:
        module: It takes the examples by position.
        examples: One tensor for each input.
        outputs: Names of the outputs.
        path: The file.
        free: Of inputs and outputs whose first dimension is open, its name.
        simplified: Whether what depends on shapes alone is computed beforehand, such as the padding of a convolution.

    Returns:
        The path. Raises ModelError if the file computes something else than torch.
    """
    import onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    axes = {name: {0: dimension} for name, dimension in (free or {}).items()}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        names = {"input_names": list(examples), "output_names": list(outputs), "dynamic_axes": axes}
        torch.onnx.export(module.eval(), tuple(examples.values()), str(path), opset_version=OPSET, dynamo=False, **names)
        expected = module(*examples.values())
    model = onnx.load(path) if not simplified else _simplified(path)
    constants_to_initializers(model.graph)
    onnx.save(model, path)
    require_equal(path, examples, expected if isinstance(expected, tuple) else (expected,))
    return path


def _simplified(path: Path) -> Any:
    import onnx
    import onnxsim

    model, same = onnxsim.simplify(onnx.load(path))
    if not same:
        raise ModelError(f"{path}: onnxsim changed what the model computes; please report this with your onnxsim version")
    return model


def require_equal(path: Path, inputs: Mapping[str, torch.Tensor], expected: Sequence[torch.Tensor]) -> None:
    """Raises ModelError if an output of the file differs from torch's by more than MOST_DIFFERENCE."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    for array, tensor in zip(got, expected, strict=True):
        difference = float(np.abs(array.astype(np.float64) - tensor.numpy()).max(initial=0.0))
        if difference > MOST_DIFFERENCE:
            raise ModelError(f"{path}: differs from torch by {difference:.2g}; expected at most {MOST_DIFFERENCE:g}")
