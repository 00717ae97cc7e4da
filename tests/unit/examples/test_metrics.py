"""The ImageNet benchmark's metrics, as the host calls them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.common import class_factory
from core.common.user_module import UserModule
from multiedge.measurements import Energy, Item, Measurements, Memory
from multiedge.metrics.accuracy import fidelity
from multiedge.plan import Estimate, Plan
from multiedge.proof import Plans, Scope

BENCH = Path(__file__).parents[3] / "examples" / "imagenet" / "multiedge_inference_bench"

pytest.importorskip("PIL", reason="needs the extra [bench]")


def metric(alias: str, file: str) -> Any:
    class_factory.install()
    return UserModule(str(BENCH / "testenv" / file), alias).registered()


def answered(*, trained: bool = True, wrong: int = 0, **changes: Any) -> dict[str, Any]:
    """A run of four pictures of classes 0 to 3, the first `wrong` of them answered otherwise than by the whole model."""
    whole = np.eye(4, 5, dtype=np.float32)
    logits = whole.copy()
    logits[:wrong] = np.roll(whole[:wrong], 2, axis=1)
    outputs = [{"logits": row[None]} for row in logits]
    run = {
        "items": tuple(Item(n, 0.0, 0.0, 0.5 * (n + 1)) for n in range(4)),
        "events": (),
        "start_s": 0.0,
        "stop_s": 2.0,
        "memory": (Memory("phone", 150_000_000, method="VmHWM"), Memory("laptop", 420_000_000, method="VmHWM")),
        "energy": (Energy("phone", 3.0, 4.0, 1.5, method="modelled", window_s=1.0),),
    }
    return {
        "trained": trained,
        "logits": logits,
        "fidelity": fidelity([{"logits": row[None]} for row in whole], outputs),
        "measurements": Measurements(**{**run, **changes}),
        "plan": Plan("exact", "throughput", (), (), Estimate((), 0.5, "", 0.5, None, 0), 0.5, 0.25, Scope(Plans.ALL)),
    }


@pytest.mark.parametrize(("wrong", "percent"), [(0, 100.0), (1, 75.0), (4, 0.0)])
def test_accuracy_is_percent_against_the_labels(wrong: int, percent: float) -> None:
    labels = np.array(["0", "/abs/index/1", "2", "/abs/index/3"])
    assert metric("accuracy", "answers.py")(labels, answered(wrong=wrong)) == percent


def test_accuracy_of_random_weights_is_no_number() -> None:
    assert metric("accuracy", "answers.py")(["0", "1", "2", "3"], answered(trained=False)) == "meaningless: random weights"


@pytest.mark.parametrize(("wrong", "agreement"), [(0, 1.0), (2, 0.5)])
def test_fidelity_is_agreement_with_the_whole_model(wrong: int, agreement: float) -> None:
    assert metric("fidelity", "answers.py")([], answered(wrong=wrong)) == agreement


def test_max_error_is_the_largest_difference() -> None:
    assert metric("max_error", "answers.py")([], answered()) == "0.0e+00"
    assert metric("max_error", "answers.py")([], answered(wrong=1)) == "1.0e+00"


@pytest.mark.parametrize(
    ("alias", "value"),
    [
        ("fps", 2.0),
        ("peak_memory", 420.0),
        ("peak_power", 4.0),
        ("energy_per_item_j", 0.75),
        ("plan_gap", 0.5),
        ("lost", 0.0),
    ],
)
def test_figures_of_the_run_in_the_leaderboards_units(alias: str, value: float) -> None:
    assert metric(alias, "measured.py")([], answered()) == pytest.approx(value)


def test_method_of_the_power_stands_beside_it() -> None:
    assert metric("power_method", "measured.py")([], answered()) == "modelled"


def test_what_was_not_measured_is_no_number() -> None:
    unmetered = answered(energy=(), memory=())
    assert metric("peak_power", "measured.py")([], unmetered) is None
    assert metric("peak_memory", "measured.py")([], unmetered) is None
    assert metric("power_method", "measured.py")([], unmetered) == "none"
    assert math.isclose(metric("fps", "measured.py")([], unmetered), 2.0)
