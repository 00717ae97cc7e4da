"""A fleet on one machine: its devices, and what is refused before anything is started."""

from __future__ import annotations

import pytest

from multiedge.errors import ConfigError, PipelineError
from multiedge.fleet import Device, Fleet
from multiedge.serving.sandbox import Sandbox, sandbox_fleet


def test_nodes_have_the_rates_in_turn():
    fleet = sandbox_fleet(5)
    assert fleet.names == ("node-1", "node-2", "node-3", "node-4", "node-5")
    assert [device.bandwidth_bytes_per_s * 8 / 1e6 for device in fleet.devices] == [20, 50, 100, 1000, 20]


def test_a_sandbox_needs_a_node():
    with pytest.raises(ConfigError, match="--nodes: expected at least 1, got 0"):
        sandbox_fleet(0)


def test_no_device_is_called_as_the_hub_is(tmp_path):
    with pytest.raises(ConfigError, match="expected another name for device 'hub'"):
        Sandbox(Fleet((Device("hub"),)), tmp_path)


def test_a_sandbox_that_is_not_running_has_no_network(tmp_path):
    with pytest.raises(PipelineError, match="is not running"):
        _ = Sandbox(sandbox_fleet(1), tmp_path).network
