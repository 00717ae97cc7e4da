"""What steps are expected to cost on a plan, and plans that have the memory for all of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from multiedge.decoding.expected import Counted, Timed, pause_between, plan_for_texts, with_step_costs
from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import Stage
from multiedge.profile import Profile
from multiedge.run import plan_model
from multiedge.step_costs import StepSize, prompt_cost, token_cost
from profilers.engine.host import Host
from tests.builders import fleets
from tests.builders.graphs import chain_graph
from tests.builders.plans import direct_plan
from tests.builders.profiles import profile_of
from tests.builders.sequences import costs_of, even_plan, fleet_of, graph_at, save_model

SIZES = (StepSize(1, 1), StepSize(1, 512), StepSize(64, 64), StepSize(512, 512))
COUNTED = Counted("declared")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("decoder"), "optimum")


def costs(path: Path, fleet: Fleet) -> Profile:
    return costs_of(graph_at(path, context=512), fleet)


def test_longer_prompts_and_contexts_cost_more(decoder: Path) -> None:
    fleet = fleet_of(2)
    profile = costs(decoder, fleet)
    plan = with_step_costs(even_plan(profile, fleet), profile, fleet, SIZES, COUNTED)
    assert [cost.size for cost in plan.steps] == list(SIZES)
    early, late = token_cost(plan.steps, 1), token_cost(plan.steps, 512)
    short, long = prompt_cost(plan.steps, 64), prompt_cost(plan.steps, 512)
    assert early is not None
    assert late is not None
    assert short is not None
    assert long is not None
    assert early.latency_s < late.latency_s < short.latency_s < long.latency_s
    assert late.interval_s < late.latency_s


def test_the_cost_of_the_step_that_was_planned_for_is_that_of_the_plan(decoder: Path) -> None:
    fleet = fleet_of(2)
    profile = costs(decoder, fleet)
    plan = even_plan(profile, fleet)
    (cost,) = with_step_costs(plan, profile, fleet, [StepSize(1, 512)], COUNTED).steps
    assert cost.latency_s == pytest.approx(plan.estimate.latency_s)
    assert cost.interval_s == pytest.approx(plan.estimate.bottleneck_s)


def test_memory_is_that_of_the_largest_step(decoder: Path) -> None:
    fleet = fleet_of(2)
    profile = costs(decoder, fleet)
    plan = even_plan(profile, fleet)
    with_prompt = with_step_costs(plan, profile, fleet, SIZES, COUNTED)
    scores_bytes = 4 * 512 * 512 * 4
    for before, after in zip(plan.estimate.memory, with_prompt.estimate.memory, strict=True):
        assert after.planned_bytes > before.planned_bytes + scores_bytes


def limited(fleet: Fleet, nbytes: int) -> Fleet:
    first, *others = fleet.devices
    return replace(fleet, devices=(replace(first, memory_bytes=nbytes), *others))


def test_a_prompt_that_does_not_fit_moves_nodes_to_another_device(decoder: Path) -> None:
    fleet = fleet_of(2)
    profile = costs(decoder, fleet)
    free = plan_for_texts(partial(plan_model, profile), profile, fleet, SIZES, COUNTED)
    needed = free.estimate.planned_bytes["d0"]
    tight = limited(fleet, needed - (1 << 20))
    plan = plan_for_texts(lambda devices: plan_model(profile, devices), profile, tight, SIZES, COUNTED)
    assert plan.estimate.planned_bytes.get("d0", 0) <= needed - (1 << 20)
    assert plan.stages != free.stages
    assert plan.lower_bound is None


def test_a_prompt_that_fits_nowhere_is_refused(decoder: Path) -> None:
    fleet = fleet_of(1)
    profile = costs(decoder, fleet)
    planned = plan_model(profile, fleet).estimate.planned_bytes["d0"]
    tight = limited(fleet, planned + (1 << 20))
    with pytest.raises(InfeasibleError, match="no plan fits"):
        plan_for_texts(lambda devices: plan_model(profile, devices), profile, tight, SIZES, COUNTED)


@pytest.mark.parametrize(
    ("is_full", "cores", "pause_s"),
    [(False, 4, 5.0), (False, 2, 6.0 * 2 / 3 - 1.0), (True, 4, 3.0), (True, 1, 3.0)],
    ids=["a processor each", "fewer processors than are woken", "a full pipeline", "a full pipeline on one processor"],
)
def test_a_processor_waits_from_one_of_its_steps_to_the_next(is_full: bool, cores: int, pause_s: float) -> None:
    """Stages of 2 s and 4 s on emulated devices, for which this machine computes for 1 s and 2 s."""
    host = Host()
    profile = profile_of(chain_graph(2), {"a": [2.0, 9.0], "b": [9.0, 4.0], host.name: [1.0, 2.0]})
    plan = direct_plan(profile, fleets.fleet_of("a", "b"), Stage("a", (0,)), Stage("b", (1,)))
    assert pause_between(profile, plan, [host, host], is_full=is_full, cores=cores) == pytest.approx(pause_s)


@pytest.mark.slow
def test_timed_costs_are_those_of_this_machine(decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fleet = fleet_of(2)
    profile = costs(decoder, fleet)
    sizes = (StepSize(1, 64), StepSize(64, 64))
    plan = with_step_costs(even_plan(profile, fleet).with_names(profile.graph), profile, fleet, sizes, Timed(budget_s=0.1))
    token, prompt = plan.steps
    assert 0 < token.interval_s < token.latency_s < prompt.latency_s < 1.0
