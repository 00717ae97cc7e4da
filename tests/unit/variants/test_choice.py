"""The choice of variants: the fastest plan within the limit, with costs and losses that are written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from multiedge.errors import ConfigError, InfeasibleError, ModelError
from multiedge.fleet import Fleet
from multiedge.plan import MeasuredAccuracy
from multiedge.run import plan_model
from multiedge.variants import choice as module
from multiedge.variants.choice import Choice, choose_variants
from multiedge.variants.costs import Variant, VariantCosts
from multiedge.variants.task import Task, Tried
from multiedge.verification.audit import Verdict, audit
from tests.builders.fleets import fleet_of, with_devices
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of

GRAPH = chain_graph(4, sizes=2, weight_bytes=1000)
PLAIN, INT8 = Variant("onnxruntime", "float32"), Variant("onnxruntime", "int8")
COSTS = {
    PLAIN: VariantCosts(profile_of(GRAPH, {"a": 2.0, "b": 2.0})),
    INT8: VariantCosts(profile_of(GRAPH, {"a": 1.0, "b": 0.5}), 0.25),
}
FLEET = fleet_of("a", "b")


@dataclass
class WrittenLosses:
    """In place of running parts: the answers that each device loses with int8."""

    losses: Mapping[str, float]
    limit: float
    wrong: str = ""
    """The device whose part gives wrong outputs with int8."""

    def measured(self, tried: Tried) -> Tried:
        if tried.variants.get(self.wrong) == INT8:
            raise ModelError(f"part of {self.wrong}: wrong outputs")
        value = 1.0 - self.loss_of(tried, tried.variants)
        return replace(tried, plan=replace(tried.plan, accuracy=MeasuredAccuracy("agreement", 4, 1.0, value, self.limit)))

    def loss_of(self, tried: Tried, variants: Mapping[str, Variant]) -> float:
        return sum(self.losses[name] for name, variant in variants.items() if variant == INT8)


def chosen(
    monkeypatch: pytest.MonkeyPatch,
    losses: Mapping[str, float],
    limit: float,
    fleet: Fleet = FLEET,
    *,
    all_of_them: bool = False,
    wrong: str = "",
) -> Choice:
    @contextmanager
    def measuring(task: Task) -> Iterator[WrittenLosses]:
        yield WrittenLosses(losses, limit, wrong)

    monkeypatch.setattr(module.Measuring, "of", measuring)
    monkeypatch.setattr(module, "_costs", lambda task, variants: (COSTS, {}))
    task = Task(GRAPH, fleet, [{}], (), limit, lambda profile, devices: plan_model(profile, devices), measures_all=all_of_them)
    return choose_variants(task)


def precisions(choice: Choice) -> dict[str, str]:
    return {name: runtime.precision for name, runtime in choice.best.plan.runtimes.items()}


def test_what_loses_nothing_is_used_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = chosen(monkeypatch, {"a": 0.0, "b": 0.0}, 0.0)
    assert precisions(choice) == {"a": "int8", "b": "int8"}
    assert len(choice.tried) == 1
    assert choice.best.plan.value == 1.5


def test_the_device_that_loses_most_for_its_gain_keeps_its_own_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = chosen(monkeypatch, {"a": 0.2, "b": 0.05}, 0.1)
    assert precisions(choice)["b"] == "int8"
    assert precisions(choice).get("a", "float32") == "float32"
    assert choice.best.loss == pytest.approx(0.05)


def test_without_any_permitted_loss_the_devices_keep_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = chosen(monkeypatch, {"a": 0.2, "b": 0.2}, 0.1)
    assert set(precisions(choice).values()) == {"float32"}
    assert choice.best.loss == 0.0
    assert choice.best.plan.value == 4.0


def test_a_device_whose_part_does_not_pass_keeps_its_own_precision_and_the_reason_is_told(monkeypatch) -> None:
    choice = chosen(monkeypatch, {"a": 0.0, "b": 0.0}, 0.0, wrong="b")
    assert precisions(choice).get("b", "float32") == "float32"
    assert precisions(choice)["a"] == "int8"
    assert set(choice.left_out.values()) == {"part of b: wrong outputs"}


def test_variants_that_are_named_must_exist_and_one_of_them_be_usable(monkeypatch) -> None:
    task = Task(GRAPH, FLEET, [{}], (), 0.1, lambda profile, devices: plan_model(profile, devices))
    with pytest.raises(
        ConfigError, match=r"variants: backend 'onnxruntime' computes with .*, not 'int9'; did you mean 'int8'\?"
    ):
        choose_variants(task, [Variant("onnxruntime", "int9")])
    monkeypatch.setattr(module, "_costs", lambda task, variants: ({PLAIN: COSTS[PLAIN]}, {"onnxruntime int8": "no package"}))
    with pytest.raises(ConfigError, match="variants: none can be used: onnxruntime int8: no package"):
        choose_variants(task, [INT8])


def test_for_a_picture_all_plans_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = chosen(monkeypatch, {"a": 0.0, "b": 0.0}, 0.0, all_of_them=True)
    assert {frozenset(precisions(replace(choice, best=each)).values()) for each in choice.tried} == {
        frozenset({"int8"}),
        frozenset({"float32"}),
    }
    assert choice.best is choice.tried[0]


def test_where_only_small_weights_fit_all_devices_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = chosen(monkeypatch, {"a": 0.0, "b": 0.0}, 0.0, with_devices(FLEET, memory_bytes=900))
    assert set(precisions(choice).values()) == {"int8"}
    assert all(each.planned_bytes < 900 for each in choice.best.plan.estimate.memory)
    with pytest.raises(InfeasibleError):
        chosen(monkeypatch, {"a": 0.2, "b": 0.2}, 0.1, with_devices(FLEET, memory_bytes=900))


def test_items_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(GRAPH, FLEET, [], (), 0.1, lambda profile, devices: plan_model(profile, devices))
    with pytest.raises(ConfigError, match="expected at least one item on which accuracy is measured"):
        choose_variants(task)


def test_the_audit_confirms_the_choice_and_finds_a_runtime_that_is_not_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    best = chosen(monkeypatch, {"a": 0.2, "b": 0.05}, 0.1).best
    assert {each.verdict for each in audit(best.plan, best.profile, FLEET)} == {Verdict.CONFIRMED}
    slow = {name: replace(runtime, precision="float32") for name, runtime in best.plan.runtimes.items()}
    wrong = {each.what: each for each in audit(replace(best.plan, runtimes=slow), best.profile, FLEET)}
    assert wrong["runtimes"].verdict is Verdict.WRONG
    assert "the fastest for its nodes is onnxruntime int8" in wrong["runtimes"].detail
    lossy = replace(best.plan.accuracy, value=0.5) if best.plan.accuracy else None
    found = {each.what: each.verdict for each in audit(replace(best.plan, accuracy=lossy), best.profile, FLEET)}
    assert found["loss of agreement"] is Verdict.WRONG
