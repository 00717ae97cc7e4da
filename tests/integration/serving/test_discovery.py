"""A hub on the same network is found by multicast DNS; where there is none, or several, that is one line."""

from __future__ import annotations

import pytest

pytest.importorskip("zeroconf")

from multiedge.errors import ConfigError, NetworkError
from multiedge.network.connection import own_address
from multiedge.serving import discovery
from multiedge.serving.discovery import ELSEWHERE, advertised, find_hub


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service of these tests alone: others on the network may have hubs."""
    monkeypatch.setattr(discovery, "SERVICE", "_multiedge-test._tcp.local.")
    try:
        own_address(*ELSEWHERE)
    except NetworkError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_hub_is_found_by_its_address() -> None:
    with advertised("hub-a", "0.0.0.0", 18470):
        assert find_hub() == f"{own_address(*ELSEWHERE)}:18470"


def test_no_hub_and_a_hub_that_nobody_can_reach_are_one_line() -> None:
    with pytest.raises(ConfigError, match=r"none has answered in 0.3 s; give --hub HOST:PORT"):
        find_hub(0.3)
    with pytest.raises(ConfigError, match=r"127.0.0.1 is this machine alone"), advertised("hub", "127.0.0.1", 1):
        pass
