"""Transforms of the audio workflow: a spectrogram."""

import numpy as np

RATE_HZ, WINDOW, HOP, BANDS = 8000, 256, 128, 40


def spectrogram(*, sound):
    """The logarithm of the energy in mel bands, (1, 1, 40, frames), of a sound of 8000 samples per second, (1, samples)."""
    samples = sound[0].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * np.hanning(WINDOW)
    energy = np.abs(np.fft.rfft(frames)) ** 2 @ _bands()
    levels = np.log(energy + 1e-4).T
    return {"spectrogram": ((levels - levels.mean()) / (levels.std() + 1e-3)).astype(np.float32)[None, None]}


def _bands():
    """Triangles of equal width on the mel scale, (frequencies, bands)."""
    mels = np.linspace(0, 2595 * np.log10(1 + RATE_HZ / 2 / 700), BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    frequencies = np.fft.rfftfreq(WINDOW, 1 / RATE_HZ)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    return np.maximum(0, np.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle)))
