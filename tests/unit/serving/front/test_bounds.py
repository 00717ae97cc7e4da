import pytest

from multiedge.errors import ConfigError
from multiedge.serving.front.bounds import PARAMETERS, Bounds, Otherwise, Prefer, read_bounds


def test_a_request_without_parameters_asks_nothing() -> None:
    assert read_bounds({}) == Bounds()


def test_every_parameter_is_read() -> None:
    asked = {
        "max_latency_ms": 20,
        "min_accuracy": 0.9,
        "max_energy_j": 1.5,
        "battery": 0.1,
        "prefer": "energy",
        "otherwise": "nearest",
        "first": True,
        "last": True,
        "offload": False,
        "row": "local",
    }
    assert tuple(asked) == PARAMETERS
    assert read_bounds(asked) == Bounds(0.02, 0.9, 1.5, 0.1, Prefer.ENERGY, Otherwise.NEAREST, True, True, False, "local")


def test_a_number_may_be_a_text_since_some_clients_send_no_fractions() -> None:
    assert read_bounds({"min_accuracy": "0.75", "max_latency_ms": "12.5"}) == Bounds(0.0125, 0.75)


def test_parameters_of_the_protocol_are_left_alone() -> None:
    assert read_bounds({"sequence_id": 3, "binary_data_output": True, "priority": 1}) == Bounds()


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"max_latency_ms": 0}, "request: max_latency_ms: expected a number above 0, got 0"),
        ({"max_latency_ms": "soon"}, "request: max_latency_ms: expected a finite number, got 'soon'"),
        ({"max_latency_ms": "nan"}, "request: max_latency_ms: expected a finite number, got nan"),
        ({"min_accuracy": 90}, "request: min_accuracy: expected a finite number from 0 to 1, got 90"),
        ({"max_energy_j": True}, "request: max_energy_j: expected a finite number, got true"),
        ({"otherwise": "near"}, "request: otherwise: unknown value 'near'; did you mean 'nearest'?"),
        ({"first": "phone"}, "request: first: expected true or false, got 'phone'"),
        ({"max_latency": 20}, "request: unknown key 'max_latency'; did you mean 'max_latency_ms'?"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(parameters: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_bounds(parameters)
    assert str(caught.value) == line
