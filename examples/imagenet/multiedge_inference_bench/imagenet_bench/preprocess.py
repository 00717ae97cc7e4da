"""From a picture file to the tensor that both models expect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from multiedge.errors import ConfigError

RESIZE_PIXELS = 256
CROP_PIXELS = 224


def read_picture(path: str | Path) -> NDArray[np.float32]:
    """The picture as (1, 3, 224, 224): short side to 256 bicubic, centre crop, scaled to [-1, 1] (mean 0.5, std 0.5)."""
    try:
        with Image.open(path) as picture:
            cropped = centre_crop(resize_short_side(picture.convert("RGB"), RESIZE_PIXELS), CROP_PIXELS)
            pixels = np.asarray(cropped, dtype=np.float32)
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable picture, got {error}; prepare the dataset again") from error
    return np.ascontiguousarray((pixels / 255.0 - 0.5).transpose(2, 0, 1)[None] / 0.5, dtype=np.float32)


def resize_short_side(picture: Image.Image, pixels: int) -> Image.Image:
    """The picture scaled so that its shorter side has that many pixels."""
    width, height = picture.size
    short = min(width, height)
    size = (int(pixels * width / short), int(pixels * height / short))
    return picture.resize(size, Image.Resampling.BICUBIC)


def centre_crop(picture: Image.Image, pixels: int) -> Image.Image:
    """The middle square of that side."""
    left, top = round((picture.width - pixels) / 2), round((picture.height - pixels) / 2)
    return picture.crop((left, top, left + pixels, top + pixels))
