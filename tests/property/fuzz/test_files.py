"""Files from elsewhere, damaged in any way, are read or refused in one line, soon, and in little memory."""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path

import pytest

from tests.builders.fuzzing import Target, mutated, refusal, targets

SECONDS = 10.0
MEMORY_BYTES = 1 << 30
FEW, MANY = 150, 10_000


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return targets(tmp_path_factory.mktemp("examples"))


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize("kind", ["devices", "trace", "profile", "results", "plan", "npz", "onnx"])
def test_a_damaged_file_is_read_or_refused_in_one_line(
    kind: str, count: int, kinds: dict[str, Target], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, generator = kinds[kind], random.Random(kind)
    before = _peak_bytes()
    refused, slowest_s = 0, 0.0
    for number in range(count):
        data = mutated(generator.choice(target.examples), generator)
        begin = time.monotonic()
        message = refusal(target, tmp_path / target.file, data)
        slowest_s = max(slowest_s, time.monotonic() - begin)
        assert slowest_s < SECONDS, f"input {number}"
        if message is not None:
            refused += 1
            assert message.strip(), f"input {number}"
            assert "\n" not in message, f"input {number}"
    assert refused > count / 10
    grown_bytes = _peak_bytes() - before
    assert grown_bytes < MEMORY_BYTES
    with capsys.disabled():
        print(f"\n{kind}: {count} inputs, {refused} refused, slowest {slowest_s:.2f} s, {grown_bytes / 2**20:.0f} MiB more")


def test_every_example_is_read(kinds: dict[str, Target], tmp_path: Path) -> None:
    for kind, target in kinds.items():
        if kind != "plan":  # its parts lie elsewhere
            for example in target.examples:
                assert refusal(target, tmp_path / target.file, example) is None, kind


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
