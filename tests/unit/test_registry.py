import pytest

from multiedge.errors import ConfigError
from multiedge.registry import Registry


class Point:
    def __init__(self, name, value):
        self.name, self.value = name, value


@pytest.fixture
def outsiders(monkeypatch):
    points = []
    monkeypatch.setattr("multiedge.registry.entry_points", lambda group: points if group == "multiedge.partitioners" else [])
    return points


def test_a_name_is_imported_only_when_loaded(outsiders):
    registry = Registry("partitioner", {"here": "multiedge.fleet:Device", "gone": "no.such.module:Thing"})
    assert registry.names() == ("here", "gone")
    assert registry.load("here").__name__ == "Device"
    with pytest.raises(ConfigError, match=r"partitioner 'gone' cannot be imported from no\.such\.module:Thing: No module"):
        registry.load("gone")


def test_an_outsider_registers_by_entry_point(outsiders):
    outsiders.append(Point("theirs", "multiedge.fleet:Link"))
    assert Registry("partitioner", {}).load("theirs").__name__ == "Link"


def test_a_taken_name_raises(outsiders):
    outsiders.append(Point("single", "elsewhere:Single"))
    with pytest.raises(ConfigError, match="partitioner 'single' is registered twice: a:B and elsewhere:Single"):
        Registry("partitioner", {"single": "a:B"}).names()


def test_an_unknown_name_lists_near_ones(outsiders):
    with pytest.raises(ConfigError, match="unknown partitioner 'thruput'; did you mean 'throughput'"):
        Registry("partitioner", {"throughput": "a:B", "single": "a:C"}).load("thruput")
