"""Transforms of the preprocess workflow: a JPEG file becomes pixels."""

from io import BytesIO

import numpy as np
from PIL import Image


def decode(*, jpeg, short_side=256, side=224):
    """The middle square of a JPEG file's picture, (1, side, side, 3); its shorter side is resized to `short_side` first."""
    with Image.open(BytesIO(jpeg.tobytes())) as picture:
        width, height = picture.size
        scale = short_side / min(width, height)
        resized = picture.convert("RGB").resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
    left, top = round((resized.width - side) / 2), round((resized.height - side) / 2)
    return {"pixels": np.asarray(resized.crop((left, top, left + side, top + side)), np.uint8)[None]}
