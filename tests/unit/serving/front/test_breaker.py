import pytest

from multiedge.errors import ConfigError
from multiedge.serving.front.breaker import Breaker, BreakerRules, Phase

RULES = BreakerRules(failures=3, wait_s=1.0, longest_s=4.0, trial_s=2.0)


def after(*events: str) -> Breaker:
    """The breaker after events, all at time 0."""
    breaker = Breaker()
    for event in events:
        breaker = breaker.answered() if event == "answered" else getattr(breaker, event)(RULES, 0.0)
    return breaker


@pytest.mark.parametrize(
    ("events", "phase"),
    [
        ((), Phase.CLOSED),
        (("failed", "failed"), Phase.CLOSED),
        (("failed", "failed", "failed"), Phase.OPEN),
        (("failed", "failed", "answered", "failed"), Phase.CLOSED),
        (("tripped",), Phase.OPEN),
    ],
)
def test_it_opens_after_failures_in_a_row(events, phase):
    assert after(*events).phase is phase


def test_no_attempt_begins_while_it_is_open_and_one_after_that():
    breaker = after("tripped")
    assert not breaker.permits(0.9)
    assert breaker.permits(1.0)
    trial = breaker.begun(RULES, 1.0)
    assert trial.phase is Phase.TRIAL
    assert not trial.permits(1.1)


def test_an_answer_closes_it_again():
    trial = after("tripped").begun(RULES, 1.0)
    assert trial.answered() == Breaker()


def test_each_trial_that_fails_opens_it_for_twice_as_long():
    breaker, waits = after("tripped"), []
    for _ in range(4):
        waits.append(breaker.until_s)
        breaker = breaker.begun(RULES, 0.0).failed(RULES, 0.0)
    assert waits == [1.0, 2.0, 4.0, 4.0]


def test_a_trial_without_an_end_does_not_keep_it_open_for_ever():
    trial = after("tripped").begun(RULES, 1.0)
    assert trial.permits(3.0)


def test_late_failures_do_not_prolong_an_open_one():
    breaker = after("tripped")
    assert breaker.failed(RULES, 0.9).until_s == breaker.until_s


def test_a_row_that_is_away_for_days_does_not_overflow_the_waiting_time():
    breaker = Breaker(openings=5000)
    assert breaker.tripped(RULES, 0.0).until_s == 4.0


@pytest.mark.parametrize("values", [{"failures": 0}, {"wait_s": -1.0}, {"longest_s": 0.1}, {"trial_s": -1.0}])
def test_rules_that_cannot_work_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        BreakerRules(**values)
