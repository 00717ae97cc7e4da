"""NVML made up for the test: what is read, in which unit, and what is never claimed."""

from __future__ import annotations

import os
import sys

import pytest

from multiedge.fleet import Device
from multiedge.meters.nvml import GpuMemory, Nvml, NvmlEnergy, gpu_memory_of
from multiedge.meters.power import gpu_chain, open_provider
from multiedge.meters.provider import Reading, Unavailable
from tests.builders.power import FakeNvml


def test_the_counter_is_preferred_and_in_joules():
    provider = NvmlEnergy(Nvml(FakeNvml(energy_mj=2500)))
    assert (provider.source, provider.domain) == ("NVML energy counter", "GPU 0: Test GPU 0")
    assert provider.read() == Reading(joules=2.5)


def test_power_stands_in_on_old_gpus():
    provider = NvmlEnergy(Nvml(FakeNvml(energy_mj=None)))
    assert provider.source == "NVML power"
    assert provider.read() == Reading(watts=40.0)


def test_a_counter_that_stops_answering_is_a_gap_and_not_another_source():
    fake = FakeNvml(energy_mj=2500)
    provider = NvmlEnergy(Nvml(fake))
    fake.energy_mj = None
    assert provider.read() == Reading()


def test_the_second_card_is_read_by_its_number():
    assert NvmlEnergy(Nvml(FakeNvml(energy_mj=1, gpus=2)), gpu=1).domain == "GPU 1: Test GPU 1"


def test_names_in_bytes_are_decoded():
    assert Nvml(FakeNvml(name=b"Tesla")).name(0) == "Tesla"


@pytest.mark.parametrize(
    ("fake", "gpu", "reason"),
    [
        pytest.param(FakeNvml(driver=False), 0, "Driver Not Loaded", id="no-driver"),
        pytest.param(FakeNvml(gpus=0), 0, "no GPU", id="no-gpu"),
        pytest.param(FakeNvml(power_mw=None), 0, "GPU 0 reports neither energy nor power", id="silent"),
        pytest.param(FakeNvml(gpus=2), 2, "GPU 2 reports neither energy nor power", id="no-such-card"),
    ],
)
def test_a_missing_figure_has_a_reason(fake, gpu, reason):
    with pytest.raises(Unavailable, match=reason):
        open_provider(gpu_chain(gpu, fake))


@pytest.mark.parametrize("fake", [FakeNvml(gpus=0), FakeNvml(power_mw=None)], ids=["no-gpu", "silent"])
def test_a_library_that_is_of_no_use_is_closed(fake):
    with pytest.raises(Unavailable):
        open_provider(gpu_chain(0, fake))
    assert fake.closed == 1


def test_closing_the_provider_closes_the_library():
    fake = FakeNvml(energy_mj=1)
    NvmlEnergy(Nvml(fake)).close()
    assert fake.closed == 1


def test_without_the_package_there_is_a_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(Unavailable, match="nvidia-ml-py is not installed"):
        Nvml()


@pytest.mark.parametrize(
    ("processes", "gpus", "pid", "nbytes"),
    [
        pytest.param(((7, 1 << 30), (8, 3 << 30)), 1, 7, 1 << 30, id="the-process-and-not-the-card"),
        pytest.param(((7, 1 << 30),), 1, 9, None, id="not-listed"),
        pytest.param((), 1, 7, None, id="nobody-listed"),
        pytest.param(((7, 1 << 30),), 2, 7, 2 << 30, id="two-cards-are-added"),
        pytest.param(((7, None),), 1, 7, None, id="unknown-to-the-driver"),
        pytest.param(((7, None), (7, 1 << 30)), 1, 7, None, id="known-in-part-is-unknown"),
        pytest.param(((7, 0),), 1, 7, 0, id="zero-is-a-figure"),
        pytest.param(None, 1, 7, None, id="refused"),
    ],
)
def test_memory_of_a_process(processes, gpus, pid, nbytes):
    assert Nvml(FakeNvml(processes=processes, gpus=gpus)).process_bytes(pid) == nbytes


def test_memory_is_that_of_this_process_unless_another_is_named():
    assert Nvml(FakeNvml(processes=((os.getpid(), 123),))).process_bytes() == 123


def test_the_peak_of_gpu_memory_is_the_largest_reading():
    fake = FakeNvml(processes=())
    memory = GpuMemory(Nvml(fake), pid=7)
    assert memory.sample() is None
    for used, peak in ((100, 100), (300, 300), (200, 300)):
        fake.processes = ((7, used), (8, 999))
        assert memory.sample() == peak
    fake.processes = ()
    assert memory.sample() == 300, "a process without GPU memory now has had some"


@pytest.mark.parametrize("device", [Device("a"), Device("a", type="phone"), Device("a", type="gpu-x")])
def test_gpu_memory_is_not_looked_for_without_a_gpu(monkeypatch, device):
    monkeypatch.setattr("multiedge.meters.nvml.Nvml", lambda: pytest.fail("NVML was opened"))
    assert gpu_memory_of(device) is None


def test_gpu_memory_of_this_process_is_read_where_nvml_answers(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(processes=((os.getpid(), 5 << 20),)))
    memory = gpu_memory_of(Device("a", type="gpu-1"))
    assert memory is not None
    assert memory.sample() == 5 << 20
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(driver=False))
    assert gpu_memory_of(Device("a", type="gpu")) is None
