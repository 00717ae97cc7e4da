"""Times as Kubernetes writes them."""

from __future__ import annotations

import re

import pytest

from multiedge.errors import ConfigError
from multiedge.formats.fields import Field
from multiedge.serving.kubernetes.times import read_time, time_text


@pytest.mark.parametrize("text", ["2020-11-03T08:39:22.517Z", "2020-11-03T09:39:22.517+01:00"])
def test_times_have_their_zone(text: str) -> None:
    assert time_text(read_time(Field(text, "time"))) == "2020-11-03T08:39:22.517Z"


@pytest.mark.parametrize("text", ["yesterday", "2020-11-03T08:39:22"])
def test_a_time_without_its_zone_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("time: expected a time")):
        read_time(Field(text, "time"))
