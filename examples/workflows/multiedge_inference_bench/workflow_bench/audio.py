"""Audio: words that espeak-ng speaks and tones of telephones, made a spectrogram, then classified."""

from __future__ import annotations

import shutil
import subprocess
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import resample_poly
from torch import nn

from multiedge.errors import ConfigError
from workflow_bench.folder import Note, WorkflowFolder
from workflow_bench.training import Schedule, WithProbabilities, convolutions, export, fit
from workflow_bench.transforms import load_transforms

PROGRAM = "espeak-ng"
RATE_HZ, SAMPLES = 8000, 8000
WORDS = ("yes", "no", "stop", "go", "left", "right", "open", "close")
TONES = {"dial tone": (350.0, 440.0), "busy tone": (480.0, 620.0), "ringing tone": (440.0, 480.0)}
"""The two frequencies in Hz of each, as telephones of North America have them."""
CLASSES = (*WORDS, *TONES)
SPEAKERS = tuple(
    f"{accent}+{voice}" for accent in ("en-us", "en-gb", "en-gb-scotland") for voice in ("m1", "m3", "m7", "f2", "f4")
)
HELD_OUT = ("en-us+m3", "en-gb+f4", "en-gb-scotland+m7")
"""Speakers of the items, whom the classifier did not hear."""
COPIES = 6
"""How often each spoken word is learnt, each time at another place, loudness and noise."""
Sound = NDArray[np.float32]
"""(samples,), from -1 to 1, at 8000 samples per second."""


@dataclass(frozen=True)
class Saying:
    """A word, who speaks it, how fast in words per minute, and how high from 0 to 99."""

    word: str
    speaker: str
    words_per_minute: int
    pitch: int


def why_not() -> str:
    """Why sounds cannot be made here; '' if they can."""
    return "" if shutil.which(PROGRAM) else f"{PROGRAM} is not installed; run: apt-get install {PROGRAM}"


def spoken(saying: Saying) -> Sound:
    """What espeak-ng says."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "word.wav"
        voice = ["-v", saying.speaker, "-s", str(saying.words_per_minute), "-p", str(saying.pitch)]
        done = subprocess.run(
            [PROGRAM, *voice, "-w", str(path), saying.word], capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode or not path.is_file():
            raise ConfigError(f"{PROGRAM} {' '.join(voice)}: expected a sound, got: {done.stderr.strip() or 'no file'}")
        with wave.open(str(path)) as file:
            rate, data = file.getframerate(), file.readframes(file.getnframes())
    samples = np.frombuffer(data, np.int16).astype(np.float32) / 32768
    return resample_poly(samples, RATE_HZ, rate).astype(np.float32)


def tone(name: str, generator: Generator) -> Sound:
    """A second of a telephone's tone; that of a busy line is on and off each half second."""
    seconds = np.arange(SAMPLES) / RATE_HZ
    detuned = [frequency * generator.uniform(0.985, 1.015) for frequency in TONES[name]]
    both = sum(np.sin(2 * np.pi * (frequency * seconds + generator.uniform())) for frequency in detuned) / 2
    if name == "busy tone":
        both = both * ((seconds + generator.uniform()) % 1.0 < 0.5)
    return both.astype(np.float32)


def placed(sound: Sound, generator: Generator) -> Sound:
    """A second with the sound somewhere in it, (8000,), at some loudness, and noise."""
    second = generator.normal(0.0, 10 ** generator.uniform(-3.0, -1.7), SAMPLES)
    kept = sound[:SAMPLES]
    start = int(generator.integers(SAMPLES - len(kept) + 1))
    second[start : start + len(kept)] += kept * generator.uniform(0.3, 1.0)
    return second.astype(np.float32)


def sayings(speakers: tuple[str, ...], speeds: tuple[int, ...], pitches: tuple[int, ...]) -> list[Saying]:
    return [Saying(*each) for each in product(WORDS, speakers, speeds, pitches)]


def sounds(said: list[Saying], copies: int, tones_each: int, generator: Generator) -> Iterator[tuple[Sound, int]]:
    """Seconds of words, so many copies of each, and of tones, each with its class."""
    for saying in said:
        sound = spoken(saying)
        for _ in range(copies):
            yield placed(sound, generator), CLASSES.index(saying.word)
    for name, _ in product(TONES, range(tones_each)):
        yield placed(tone(name, generator), generator), CLASSES.index(name)


def make(folder: WorkflowFolder) -> Note:
    if reason := why_not():
        raise ConfigError(reason)
    folder.model("classifier", partial(_train, folder))
    shown = np.random.default_rng(folder.seed + 1_000)
    heard = sounds(sayings(HELD_OUT, (140, 175), (35, 60)), 1, 12, shown)
    return folder.items("spoken words and tones", (({"sound": sound[None]}, (answer,)) for sound, answer in heard))


def network() -> nn.Module:
    """Of spectrograms, (n, 1, 40, 61): logits, (n, 11)."""
    body = [convolutions(1, 16, 32, 48), convolutions(48, 64, stride=1), nn.AdaptiveAvgPool2d((5, 1)), nn.Flatten()]
    return nn.Sequential(*body, nn.Dropout(0.2), nn.Linear(64 * 5, len(CLASSES)))


def _train(folder: WorkflowFolder, path: Path) -> str:
    generator = np.random.default_rng(folder.seed)
    learnt = tuple(speaker for speaker in SPEAKERS if speaker not in HELD_OUT)
    heard = list(sounds(sayings(learnt, (130, 160, 190), (30, 65)), COPIES, 300, generator))
    spectrogram = load_transforms("audio").spectrogram
    given = np.concatenate([spectrogram(sound=sound[None])["spectrogram"] for sound, _ in heard])
    classes = np.array([answer for _, answer in heard], np.int64)
    schedule = Schedule(steps=600, seed=folder.seed)
    fitted = fit(network, given, classes, schedule, progress=folder.progress)
    example = torch.zeros(1, *given.shape[1:])
    export(WithProbabilities(fitted.module), {"spectrogram": example}, ["logits", "probabilities"], path)
    heard_of = f"{len(given):,} sounds of {len(learnt)} voices"
    return f"{fitted.parameters:,} parameters, {schedule.steps} steps on {heard_of}, {fitted.seconds:.0f} s"
