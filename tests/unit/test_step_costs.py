"""What texts take, by the costs of steps of a few sizes."""

from __future__ import annotations

import pytest

from multiedge.step_costs import StepCost, StepSize, prompt_cost, step_sizes, text_cost, token_cost

COSTS = (
    StepCost(StepSize(1, 1), 0.010, 0.004, 0.008),
    StepCost(StepSize(1, 101), 0.020, 0.008, 0.016),
    StepCost(StepSize(16, 16), 0.040, 0.020, 0.030),
    StepCost(StepSize(64, 64), 0.160, 0.080, 0.120),
)


def test_a_token_costs_more_in_proportion_to_the_context() -> None:
    cost = token_cost(COSTS, 51)
    assert cost is not None
    assert (cost.latency_s, cost.interval_s) == pytest.approx((0.015, 0.006))


def test_a_prompt_between_two_that_are_known_costs_a_power_of_its_length() -> None:
    cost = prompt_cost(COSTS, 32)
    assert cost is not None
    assert cost.latency_s == pytest.approx(0.080)
    assert cost.size == StepSize(32, 32)


@pytest.mark.parametrize(("prompt", "tokens"), [(65, 8), (60, 200)])
def test_what_is_longer_than_all_that_is_known_is_not_known(prompt: int, tokens: int) -> None:
    cost = text_cost(COSTS, prompt, tokens)
    assert cost.tokens_per_s is None
    assert None in (cost.time_to_first_token_s, cost.time_per_output_token_s)


def test_a_text_is_its_prompt_and_then_its_tokens() -> None:
    cost = text_cost(COSTS, prompt=16, tokens=70)
    assert cost.time_to_first_token_s == pytest.approx(0.040)
    assert cost.time_per_output_token_s == pytest.approx(0.015)
    assert cost.tokens_per_s == pytest.approx(70 / (0.040 + 69 * 0.015))


def test_one_token_takes_no_further_step() -> None:
    cost = text_cost(COSTS, prompt=16, tokens=1)
    assert cost.time_per_output_token_s is None
    assert cost.tokens_per_s == pytest.approx(1 / 0.040)


@pytest.mark.parametrize(("sequences", "each_s"), [(1, 0.015), (2, 0.012), (5, 0.030)])
def test_several_sequences_take_a_warm_step_or_wait_for_what_is_busiest(sequences: int, each_s: float) -> None:
    cost = text_cost(COSTS, prompt=16, tokens=70, sequences=sequences)
    assert cost.time_per_output_token_s == pytest.approx(each_s)
    assert cost.time_to_first_token_s == pytest.approx(0.040 + 0.020 * (sequences - 1) / 2)


def test_sizes_reach_the_longest_prompt_and_the_context() -> None:
    assert step_sizes(1024, 100) == (*(StepSize(1, n) for n in (1, 1024)), *(StepSize(n, n) for n in (4, 16, 64, 100)))
    assert step_sizes(4096, 1024)[-3:] == (StepSize(256, 256), StepSize(512, 512), StepSize(1024, 1024))
