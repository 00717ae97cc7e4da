"""Transforms of the video workflow: boxes from what the detector found, and counts from what the classifier named."""

import numpy as np

STRIDE, CROP_PIXELS, MARGIN = 8, 32, 1.25


def boxes(*, frame, scores, places, least=0.5, most=8):
    """Crops around the centres that the detector found, (n, 3, 32, 32), best first; n can be 0."""
    score = scores[0, 0]
    padded = np.pad(score, 1, constant_values=-np.inf)
    around = [np.roll(padded, (down, across), (0, 1))[1:-1, 1:-1] for down in (-1, 0, 1) for across in (-1, 0, 1)]
    rows, columns = np.nonzero((score >= least) & (score >= np.max(around, axis=0)))
    best = np.argsort(-score[rows, columns], kind="stable")[:most]
    crops = [_box(frame[0], places[0], rows[each], columns[each]) for each in best]
    return {"crops": np.stack(crops) if crops else np.zeros((0, 3, CROP_PIXELS, CROP_PIXELS), np.uint8)}


def _box(frame, places, row, column):
    across, down, radius = places[:, row, column]
    return crop(frame, (column + across) * STRIDE, (row + down) * STRIDE, max(radius, 0.5) * STRIDE)


def crop(frame, x, y, radius):
    """The square around a centre, (3, 32, 32), by the nearest pixels; at the edges the last pixels are repeated."""
    offsets = ((np.arange(CROP_PIXELS) + 0.5) / CROP_PIXELS * 2 - 1) * radius * MARGIN
    rows = np.clip(np.rint(y + offsets).astype(int), 0, frame.shape[1] - 1)
    columns = np.clip(np.rint(x + offsets).astype(int), 0, frame.shape[2] - 1)
    return frame[:, rows[:, None], columns[None, :]]


def count(*, logits):
    """How many boxes have each class, (1, classes)."""
    found = np.bincount(logits.argmax(-1), minlength=logits.shape[-1]) if len(logits) else np.zeros(logits.shape[-1])
    return {"answer": found.astype(np.int64)[None]}
