import pytest

from multiedge.fleet import Device
from multiedge.meters import devices as power
from multiedge.meters.devices import open_meters
from multiedge.meters.provider import Unavailable


@pytest.mark.parametrize(
    ("kind", "number"), [("gpu", 0), ("gpu-1", 1), ("cpu", None), ("gpu-big", None), ("phone", None), ("gpu-²", None)]
)
def test_a_device_names_its_card(kind, number):
    assert Device("d", type=kind).gpu == number


@pytest.fixture
def calls(monkeypatch):
    seen = []

    def opened(name, *, gpu, whole_machine):
        seen.append((name, gpu, whole_machine))
        if gpu is None and not whole_machine:
            raise Unavailable("shared")
        return name

    monkeypatch.setattr(power, "open_meter", opened)
    return seen


def test_the_power_of_a_shared_machine_belongs_to_no_device(calls):
    assert open_meters([Device("a"), Device("b", type="gpu-1")], is_emulated=False) == ["b"]
    assert calls == [("a", None, False), ("b", 1, False)]


def test_the_machine_is_measured_for_a_single_real_device_only(calls):
    assert open_meters([Device("a")], is_emulated=False) == ["a"]
    assert open_meters([Device("a")], is_emulated=True) == []
