"""The whole model on one device."""

from __future__ import annotations

import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet, Link, Power
from partitioners.single import Single
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of

MIB = 1 << 20
PROFILE = profile_of(chain_graph(2, sizes=[8, 0, 4], weight_bytes=MIB), {"a": [3, 3], "b": [1, 1], "c": [2, 2]})


@pytest.mark.parametrize(
    ("objective", "source", "device", "value"),
    [
        pytest.param("throughput", None, "b", 2.0, id="the fastest"),
        pytest.param("latency", None, "b", 2.0, id="the quickest"),
        pytest.param("throughput", "a", "c", 4.0, id="8 bytes take 8 s to b, 2 s to c"),
        pytest.param("latency", "a", "a", 6.0, id="there and back takes longer than staying"),
        pytest.param("energy", None, "a", 6.0, id="the thriftiest"),
    ],
)
def test_the_objective_chooses_the_device(objective: str, source: str | None, device: str, value: float) -> None:
    watts = {"a": 1, "b": 10, "c": 9}
    devices = tuple(Device(name, power=Power(0, busy_w)) for name, busy_w in watts.items())
    links = {("a", "b"): Link(1.0), ("a", "c"): Link(4.0), ("b", "c"): Link(1.0)}
    plan = Single(objective).plan(PROFILE, Fleet(devices, links, source=source))
    assert [stage.device for stage in plan.stages] == [device]
    assert plan.value == plan.lower_bound == pytest.approx(value)
    assert plan.bound_scope == "plans on one device"


def test_the_first_of_equals_is_taken() -> None:
    equal = profile_of(chain_graph(1), dict.fromkeys("pqr", 1.0))
    assert Single().plan(equal, fleet_of("q", "p", "r")).stages[0].device == "q"


def test_the_others_are_listed_with_their_value_or_what_they_lack() -> None:
    fleet = Fleet((Device("a"), Device("b"), Device("c", memory_bytes=MIB)))
    plan = Single().plan(PROFILE, fleet)
    assert plan.left_out == {"a": "its throughput value alone is 6", "c": "the whole model needs 1.1 MiB more"}


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (-1, False)])
def test_memory_is_hard_to_the_byte(extra: int, fits: bool) -> None:
    needed = 2 * MIB + 8 + (8 + 4)  # weights, the largest activations, what enters and leaves
    fleet = Fleet((Device("a", memory_bytes=needed + 100 + extra, runtime_bytes=100),))
    if fits:
        assert Single().plan(PROFILE, fleet).estimate.stages[0].memory_bytes == needed + 100
    else:
        with pytest.raises(InfeasibleError, match="chain as a whole is larger than the memory of every device"):
            Single().plan(PROFILE, fleet)


def test_the_device_that_lacks_least_is_advised() -> None:
    fleet = Fleet((Device("a", memory_bytes=100), Device("b", memory_bytes=MIB), Device("c", memory_bytes=0)))
    with pytest.raises(InfeasibleError, match=r"1\.1 MiB more on 'b' would do"):
        Single().plan(PROFILE, fleet)


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(ConfigError, match="objective: expected one of"):
        Single("speed")
