import pytest

from multiedge.errors import ConfigError
from multiedge.serving.front.offload import (
    Band,
    Because,
    OffloadMode,
    OffloadRules,
    OffloadView,
    Switch,
    first_switch,
    switched,
)

AUTO = OffloadMode.AUTO
BUSY = OffloadRules(AUTO, busy=Band(0.5, 0.8))
BATTERY = OffloadRules(AUTO, battery=Band(0.2, 0.4))
LINK = OffloadRules(AUTO, link_s=Band(0.05, 0.1), retry_s=10.0)
BOTH = OffloadRules(AUTO, busy=Band(0.5, 0.8), link_s=Band(0.05, 0.1), retry_s=10.0)


def course(rules: OffloadRules, *views: OffloadView, step_s: float = 1.0) -> list[bool]:
    """Whether the switch is on after each view."""
    switch, states = first_switch(rules, 0.0), []
    for number, view in enumerate(views, start=1):
        switch = switched(rules, view, switch, number * step_s)
        states.append(switch.is_on)
    return states


def busy(*shares: float | None) -> list[OffloadView]:
    return [OffloadView(busy=share) for share in shares]


@pytest.mark.parametrize(
    ("rules", "views", "expected"),
    [
        (OffloadRules(OffloadMode.ON), busy(0.0, 1.0), [True, True]),
        (OffloadRules(OffloadMode.OFF), [OffloadView(busy=1.0, stated=True)], [False]),
        (BUSY, busy(0.7, 0.8, 0.7, 0.5, 0.49, 0.7), [False, True, True, True, False, False]),
        (BUSY, busy(0.9, None, None), [True, True, True]),
        (
            BATTERY,
            [OffloadView(battery=share) for share in (0.5, 0.3, 0.19, 0.3, 0.4)],
            [False, False, True, True, False],
        ),
        (LINK, [OffloadView(link_s=seconds) for seconds in (None, 0.09, 0.1, 0.01)], [True, True, False, False]),
        (BOTH, [OffloadView(0.9, link_s=0.01), OffloadView(0.9, link_s=0.2)], [True, False]),
    ],
    ids=[
        "on is on",
        "off is off, whatever is stated",
        "a busy device, with hysteresis",
        "what is not known changes nothing",
        "a low battery, with hysteresis",
        "a slow link",
        "a busy device behind a slow link",
    ],
)
def test_the_switch_follows_what_is_seen(rules, views, expected):
    assert course(rules, *views) == expected


def test_the_request_decides_until_the_next_one_that_states_it():
    rules = OffloadRules(OffloadMode.REQUEST)
    views = [OffloadView(stated=value) for value in (None, True, None, False, None)]
    assert course(rules, *views) == [True, True, True, False, False]


def test_a_slow_link_is_tried_again_since_nothing_is_measured_while_it_is_off():
    slow = switched(LINK, OffloadView(link_s=0.3), first_switch(LINK, 0.0), 1.0)
    assert (slow.is_on, slow.because) == (False, Because.LINK_SLOW)
    assert not switched(LINK, OffloadView(), slow, 10.9).is_on
    assert switched(LINK, OffloadView(), slow, 11.0).is_on


def test_the_switch_says_since_when_and_why():
    switch = switched(BUSY, OffloadView(busy=0.9), first_switch(BUSY, 0.0), 3.0)
    assert (switch.since_s, switch.because) == (3.0, Because.BUSY)
    later = switched(BUSY, OffloadView(busy=0.9), switch, 4.0)
    assert later == switch


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Band(0.8, 0.5), "lower threshold first"),
        (lambda: OffloadRules(OffloadMode.ON, busy=Band(0.1, 0.2)), "has no effect with mode 'on'"),
        (lambda: OffloadRules(retry_s=-1.0), "retry_s"),
    ],
)
def test_rules_that_cannot_work_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_first_switch_of_auto_without_conditions_is_on():
    assert first_switch(OffloadRules(AUTO), 5.0) == Switch(True, 5.0, Because.LINK_GOOD)
