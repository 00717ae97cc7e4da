from itertools import islice

import pytest

from multiedge.errors import ConfigError
from multiedge.executors.flow.scenarios import MULTI_STREAM_ITEMS, scenario


@pytest.mark.parametrize(
    ("name", "official", "at_once"),
    [
        ("offline", "Offline", None),
        ("Single-Stream", "SingleStream", 1),
        ("multi_stream", "MultiStream", MULTI_STREAM_ITEMS),
    ],
)
def test_a_scenario_goes_by_the_name_that_mlperf_gives_it(name, official, at_once):
    assert (scenario(name).name, scenario(name).at_once) == (official, at_once)


def test_arrivals_of_a_server_have_the_rate_that_was_asked_and_repeat_with_the_seed():
    due = list(islice(scenario("server", rate_per_s=50.0).due_times(1), 5000))
    assert due == sorted(due)
    assert due[-1] == pytest.approx(100.0, rel=0.05)
    assert due == list(islice(scenario("server", rate_per_s=50.0).due_times(1), 5000))


@pytest.mark.parametrize(
    ("name", "rate", "text"),
    [
        ("ofline", None, "unknown scenario 'ofline'; did you mean 'offline'"),
        ("server", None, "scenario 'server': expected a rate above 0 items per second, got none; state --rate"),
        ("offline", 3.0, "scenario 'offline' takes no rate; only 'server' does"),
    ],
)
def test_what_does_not_fit_together_is_refused(name, rate, text):
    with pytest.raises(ConfigError, match=text):
        scenario(name, rate_per_s=rate)
