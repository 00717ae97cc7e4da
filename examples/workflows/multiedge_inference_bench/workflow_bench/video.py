"""Video: a detector finds moving shapes in the frames of clips, and a classifier names what is in each box."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from workflow_bench.folder import Note, WorkflowFolder
from workflow_bench.shapes import CROP_PIXELS, FRAME_PIXELS, SHAPES, Body, clip, counts_of, frame_of, scene
from workflow_bench.training import Pixels, Schedule, convolutions, export, fit
from workflow_bench.transforms import load_transforms

CLIPS, FRAMES_EACH, LEARNT = 20, 10, 1200
STRIDE = 8
"""Pixels of a frame for each cell of the detector."""
CELLS = FRAME_PIXELS // STRIDE


class Detector(nn.Module):
    """Of frames, (n, 3, 96, 96): for each cell of 8 pixels a score that a centre is there, (n, 1, 12, 12), and where in the
    cell and how large, (n, 3, 12, 12)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(convolutions(3, 16, 32, 48), convolutions(48, 48, 48, stride=1))
        self.head = nn.Conv2d(48, 4, 1)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.head(self.body(frames))
        return found[:, :1].sigmoid(), found[:, 1:]


def classifier() -> nn.Module:
    """Of crops, (n, 3, 32, 32): logits, (n, 6)."""
    return nn.Sequential(convolutions(3, 16, 32, 48), nn.Flatten(), nn.Linear(48 * 16, len(SHAPES)))


def target_of(bodies: list[Body]) -> np.ndarray:
    """What the detector is to give, (4, 12, 12): where centres are, then place in the cell and radius in cells."""
    target = np.zeros((4, CELLS, CELLS), np.float32)
    for body in bodies:
        column, row = (min(int(value / STRIDE), CELLS - 1) for value in (body.x, body.y))
        target[:, row, column] = 1.0, body.x / STRIDE - column, body.y / STRIDE - row, body.radius / STRIDE
    return target


def detection_loss(outputs: Any, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy of scores, where centres count as much as all other cells, and the error of places at the centres."""
    scores, places = outputs
    there = targets[:, :1]
    costs = functional.binary_cross_entropy(scores.clamp(1e-6, 1 - 1e-6), there, weight=1.0 + 15.0 * there)
    return costs + ((places - targets[:, 1:]).abs() * there).sum() / there.sum().clamp(min=1.0)


def make(folder: WorkflowFolder) -> Note:
    generator = np.random.default_rng(folder.seed)
    scenes = [scene(generator) for _ in range(LEARNT)]
    frames = np.stack([frame_of(generator, bodies, colour) for bodies, colour in scenes])
    drawn = [bodies for bodies, _ in scenes]
    folder.model("detector", partial(_train_detector, frames, drawn, folder))
    folder.model("classifier", partial(_train_classifier, frames, drawn, folder))
    shown = np.random.default_rng(folder.seed + 1_000)
    rows = (({"frame": picture[None]}, counts_of(bodies)) for _ in range(CLIPS) for picture, bodies in clip(shown, FRAMES_EACH))
    return folder.items(f"frames of {CLIPS} drawn clips", rows)


def _train_detector(frames: np.ndarray, drawn: list[list[Body]], folder: WorkflowFolder, path: Path) -> str:
    targets = np.stack([target_of(bodies) for bodies in drawn])
    schedule = Schedule(steps=700, batch=24, seed=folder.seed)
    fitted = fit(lambda: Pixels(Detector()), frames, targets, schedule, detection_loss, folder.progress)
    example = torch.zeros(1, 3, FRAME_PIXELS, FRAME_PIXELS, dtype=torch.uint8)
    export(fitted.module, {"frame": example}, ["scores", "places"], path)
    return f"{fitted.parameters:,} parameters, {schedule.steps} steps on {len(frames):,} drawn frames, {fitted.seconds:.0f} s"


def _train_classifier(frames: np.ndarray, drawn: list[list[Body]], folder: WorkflowFolder, path: Path) -> str:
    crops, classes = crops_of(frames, drawn, np.random.default_rng(folder.seed))
    schedule = Schedule(steps=500, seed=folder.seed)
    fitted = fit(lambda: Pixels(classifier()), crops, classes, schedule, progress=folder.progress)
    example = torch.zeros(2, 3, CROP_PIXELS, CROP_PIXELS, dtype=torch.uint8)
    export(fitted.module, {"crops": example}, ["logits"], path, free={"crops": "boxes", "logits": "boxes"})
    return f"{fitted.parameters:,} parameters, {schedule.steps} steps on {len(crops):,} drawn crops, {fitted.seconds:.0f} s"


def crops_of(frames: np.ndarray, drawn: list[list[Body]], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Crops of all bodies, (n, 3, 32, 32), a little beside them as a detector's are, and their classes, (n,)."""
    cut = load_transforms("video").crop
    crops, classes = [], []
    for frame, bodies in zip(frames, drawn, strict=True):
        for body in bodies:
            x, y = (value + generator.normal(0.0, 1.0) for value in (body.x, body.y))
            crops.append(cut(frame, x, y, body.radius * generator.uniform(0.9, 1.1)))
            classes.append(body.shape)
    return np.stack(crops), np.array(classes, np.int64)
