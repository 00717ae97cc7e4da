"""Ensemble: three small networks of different kinds look at a noisy picture of a shape; their probabilities are averaged."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from workflow_bench.folder import Note, WorkflowFolder
from workflow_bench.shapes import CROP_PIXELS, SHAPES, noisy_picture
from workflow_bench.training import Pixels, Schedule, WithProbabilities, convolutions, export, fit

ITEMS, LEARNT = 200, 6000
NOISE = 32.0


def narrow() -> nn.Module:
    """Few channels and three strides."""
    return nn.Sequential(convolutions(3, 12, 24, 32), nn.Flatten(), nn.Linear(32 * 16, len(SHAPES)))


def wide() -> nn.Module:
    """Many channels, which are averaged over the picture."""
    body = [convolutions(3, 24, 48), convolutions(48, 64, stride=1), nn.AdaptiveAvgPool2d(2)]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(64 * 4, len(SHAPES)))


def patches() -> nn.Module:
    """Patches of 4x4 pixels, then products alone."""
    first = [nn.Conv2d(3, 32, 4, 4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3)]
    return nn.Sequential(*first, nn.Linear(32 * 64, 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, len(SHAPES)))


MEMBERS = {"narrow": narrow, "wide": wide, "patches": patches}
STEPS = {"narrow": 900, "wide": 500, "patches": 900}


def pictures(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3, 32, 32) and classes, (n,)."""
    generator = np.random.default_rng(seed)
    drawn = [noisy_picture(generator, NOISE) for _ in range(count)]
    return np.stack([picture for picture, _ in drawn]), np.array([shape for _, shape in drawn], np.int64)


def make(folder: WorkflowFolder) -> Note:
    learnt, classes = pictures(folder.seed, LEARNT)
    for number, name in enumerate(MEMBERS):
        folder.model(name, partial(_train, name, learnt, classes, folder, folder.seed + number))
    shown, answers = pictures(folder.seed + 1_000, ITEMS)
    rows = (({"picture": picture[None]}, (int(answer),)) for picture, answer in zip(shown, answers, strict=True))
    return folder.items("drawn shapes under noise", rows)


def _train(name: str, learnt: np.ndarray, classes: np.ndarray, folder: WorkflowFolder, seed: int, path: Path) -> str:
    schedule = Schedule(STEPS[name], seed=seed)
    fitted = fit(lambda: Pixels(MEMBERS[name]()), learnt, classes, schedule, progress=folder.progress)
    example = torch.zeros(1, 3, CROP_PIXELS, CROP_PIXELS, dtype=torch.uint8)
    export(WithProbabilities(fitted.module), {"picture": example}, ["logits", "probabilities"], path)
    return f"{fitted.parameters:,} parameters, {STEPS[name]} steps on {LEARNT:,} drawn pictures, {fitted.seconds:.0f} s"
