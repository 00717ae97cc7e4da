"""Every model of the onnx wheel's backend tests that onnxruntime runs, split at seeded random places."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.check import check
from multiedge.errors import MultiedgeError
from multiedge.graph import Graph
from multiedge.onnx_io import random_inputs, read_graph
from tests.builders.parts import random_boundaries, split_at, with_random_weights

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
DOCUMENT = Path(__file__).parents[3] / "docs" / "cutting.md"
FOLDERS = ("light", "simple", "pytorch-converted", "pytorch-operator")
ONE_NODE = "refused: a single node"
NOT_RUN = "not run: onnxruntime refuses the whole model"


def models() -> list[Path]:
    found = [path for folder in FOLDERS for path in sorted((DATA / folder).rglob("*.onnx"))]
    return found or pytest.skip("this onnx wheel carries no backend test data")  # type: ignore[return-value]


def inputs_of(path: Path, graph: Graph) -> dict[str, Any]:
    """What the wheel holds for this model, otherwise random ones; of sequences it holds none that are simple to read."""
    found = random_inputs(graph)
    for number, name in enumerate(graph.inputs):
        stored = path.parent / "test_data_set_0" / f"input_{number}.pb"
        if stored.exists() and isinstance(found[name], np.ndarray):
            found[name] = onnx.numpy_helper.to_array(onnx.TensorProto.FromString(stored.read_bytes()))
    return found


def runs(path: Path, inputs: dict[str, Any]) -> bool:
    try:
        OnnxRuntimeBackend(optimisation="disabled").open(path).run(inputs)
    except Exception:  # whatever keeps onnxruntime from running the whole model is no matter of cutting it
        return False
    return True


def try_model(path: Path, seed: int, folder: Path) -> Counter[str]:
    """How often the model was split, by what came of it."""
    if path.parent.name == "light":
        folder.joinpath("light").mkdir()
        path = with_random_weights(path, folder / "light" / path.name, seed)
    graph = read_graph(path)
    inputs = inputs_of(path, graph)
    count = len(graph.nodes)
    if not runs(path, inputs):
        return Counter({NOT_RUN: 1})
    if count == 1:
        return Counter({ONE_NODE: 1})
    generator = np.random.default_rng(seed)
    # Large models once, at a random number of parts; small ones at every number.
    numbers = range(2, min(5, count) + 1) if count < 20 else [int(generator.integers(2, 6))]
    outcome: Counter[str] = Counter({"models split": 1})
    for parts in numbers:
        outcome[split_once(path, random_boundaries(count, parts, generator), inputs, folder)] += 1
    return outcome


def split_once(path: Path, boundaries: list[int], inputs: dict[str, Any], folder: Path) -> str:
    try:
        split_at(path, boundaries, folder / "parts")
        exact = check(folder / "parts", inputs=inputs)
        used = check(folder / "parts", inputs=inputs, options={})
    except MultiedgeError as error:
        return f"refused: {error}"
    if path.parent.name == "light" and any(output.is_constant for output in exact.outputs):
        return f"failed: {path.name} has an output of one value, which proves nothing"
    if not exact.bitwise:
        return f"failed: {path.parent.name} at {boundaries} is not equal to the bit: {exact.outputs}"
    return "splits passed" if used.passes() else f"failed: {path.parent.name} at {boundaries}: {used.outputs}"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    total: Counter[str] = Counter()
    for seed, path in enumerate(models()):
        total["models"] += 1
        total += try_model(path, seed, tmp_path_factory.mktemp("parts"))
    return total


@pytest.mark.slow
def test_every_split_equals_the_whole(outcome: Counter[str], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\n" + "\n".join(f"{number:5d}  {what}" for what, number in sorted(outcome.items())))
    assert not [what for what in outcome if what.startswith(("failed", "refused")) and what != ONE_NODE]
    assert outcome["models split"] >= 15
    assert outcome["splits passed"] >= 30
    assert outcome["models"] == outcome["models split"] + outcome[ONE_NODE] + outcome[NOT_RUN]


@pytest.mark.slow
def test_the_counts_stand_in_the_document(outcome: Counter[str]) -> None:
    """For the versions that the document names; others may carry other models."""
    text = DOCUMENT.read_text(encoding="utf-8")
    if f"onnx {onnx.__version__}" not in text:
        pytest.skip(f"docs/cutting.md has no counts for onnx {onnx.__version__}")
    written = {what.strip(): int(number) for what, number in re.findall(r"^\| ([^|]+) \| (\d+) \|$", text, flags=re.MULTILINE)}
    assert {what: written.get(what) for what in outcome} == dict(outcome)
