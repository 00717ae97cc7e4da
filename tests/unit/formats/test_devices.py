import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from multiedge.errors import ConfigError
from multiedge.fleet import (
    DEFAULT_MEMORY_MARGIN,
    DEFAULT_RUNTIME_BYTES,
    Encoding,
    Link,
    PartitionPoint,
    Power,
    default_runtime_bytes,
)
from multiedge.formats.devices import parse_fleet, read_fleet
from tests.builders.refusals import JSON_VALUES, refusal

ROOT = Path(__file__).parents[3]


def parse(text):
    return parse_fleet(yaml.safe_load(text), "devices.yaml")


def test_the_sample_fleet_reads():
    fleet = read_fleet(ROOT / "devices.yaml")
    assert fleet.names == ("phone", "tablet", "laptop")
    assert fleet.link("laptop", "tablet") == Link(75e6, 0.001)
    assert fleet.link("phone", "laptop") == Link(12.5e6, 0.003)
    assert fleet.device("phone").power == Power(0.5, 4.0, "declared example figures")


def test_ianvs_file_reads_as_it_is():
    """String numbers, `bandwith`, and name and type swapped, as in the files that Ianvs ships."""
    fleet = parse(
        """
        devices:
          - {name: "gpu", type: "gpu-0", memory: "1024", freq: "2.6", bandwith: "100"}
          - {name: "gpu-1", type: "gpu", memory: "2048", freq: "2.6", bandwith: "80"}
        partition_points:
          - {input_names: ["x"], output_names: ["h"], device_name: "gpu-0"}
          - {input_names: ["h"], output_names: ["y"], device_name: "gpu-1"}
        """
    )
    assert fleet.names == ("gpu-0", "gpu-1")
    assert fleet.device("gpu-0").memory_bytes == 2**30
    assert fleet.device("gpu-0").type == "gpu"
    assert fleet.link("gpu-0", "gpu-1").bandwidth_bytes_per_s == 10e6
    assert fleet.partition_points[0] == PartitionPoint(("x",), ("h",), "gpu-0")


def test_every_field_arrives_in_base_units():
    fleet = parse(
        """
        name: car
        source: a
        devices:
          - name: a
            type: laptop
            memory: 2GiB
            speed: 0.5
            flops: 20GFLOPS
            memory_bandwidth: 10GB/s
            freq: 2.6GHz
            cores: 4
            bandwidth: 80Mbps
            latency: 2ms
            power: {idle: 500mW, busy: 4, source: data sheet}
            energy_per_byte: 50nJ
            backend: onnxruntime
            precision: int8
            runtime_memory: 64MiB
            battery: 10Wh
          - {name: b}
        links: [{from: a, to: b, bandwidth: 8Mbps, jitter: 1ms, loss: 0.01}]
        """
    )
    a = fleet.device("a")
    assert (a.speed, a.flops_per_s, a.memory_bytes_per_s, a.freq_hz, a.threads) == (0.5, 20e9, 10e9, 2.6e9, 4)
    assert (a.latency_s, a.bandwidth_bytes_per_s, a.runtime_bytes, a.battery_j) == (0.002, 10e6, 2**26, 36e3)
    assert (a.backend, a.precision) == ("onnxruntime", "int8")
    assert (fleet.device("b").backend, fleet.device("b").precision) == ("auto", "")
    assert a.joules_per_byte == pytest.approx(50e-9)
    assert (fleet.name, fleet.source, fleet.device("b").bandwidth_bytes_per_s) == ("car", "a", math.inf)
    assert fleet.link("a", "b") == fleet.link("b", "a") == Link(1e6, 0.0, 0.001, 0.01)


def test_a_link_may_differ_by_direction():
    fleet = parse(
        """
        devices: [{name: a}, {name: b}]
        links:
          - {from: a, to: b, bandwidth: 8Mbps}
          - {from: b, to: a, bandwidth: 16Mbps}
        """
    )
    assert fleet.link("a", "b").bandwidth_bytes_per_s == 1e6
    assert fleet.link("b", "a").bandwidth_bytes_per_s == 2e6


ERRORS = {
    "- 1": "devices.yaml: expected a mapping of devices, links, partition_points, source, name, got a list of 1",
    "": "devices.yaml: expected a mapping of devices, links, partition_points, source, name, got nothing",
    "devices: []": "devices.yaml: devices: expected a list of at least 1 entry, got an empty list",
    "devices: 3": "devices.yaml: devices: expected a list, got 3",
    "devices: [{memory: 1}]": "devices.yaml: devices[0].name: missing; expected a name",
    "devices: [{name: a, memry: 1}]": "devices.yaml: devices[0]: unknown key 'memry'; did you mean 'memory'?",
    "devices: [{name: a, memory: lots}]": (
        "devices.yaml: devices[0].memory: expected a size such as '2GiB', '512MB' or 1024 (MiB), got 'lots'"
    ),
    "devices: [{name: a, speed: 0}]": "devices.yaml: devices[0].speed: expected a number such as 0.5, more than zero, got 0",
    "devices: [{name: a, precision: float}]": (
        "devices.yaml: devices[0].precision: unknown value 'float'; did you mean 'float32'?"
    ),
    "devices: [{name: a, threads: 1.5}]": "devices.yaml: devices[0].threads: expected a whole number from 1, got 1.5",
    "devices: [{name: a, bandwith: 1, bandwidth: 2}]": (
        "devices.yaml: devices[0]: 'bandwidth' is given twice, once as 'bandwidth'; keep one"
    ),
    "devices: [{name: a}, {name: caller}]": "devices.yaml: expected another name for device 'caller': this one stands for the"
    " program that sends items",
    "devices: [{name: a}, {name: a}]": "devices.yaml: device names must be unique, got a more than once",
    "devices: [{name: a, power: {idle: 1}}]": (
        "devices.yaml: devices[0].power.busy: missing; expected a power such as '7.5W' or 7.5 (W)"
    ),
    "devices: [{name: a, power: {idle: 3, busy: 2}}]": (
        "devices.yaml: devices[0].power: expected busy watts not below idle watts, got 2.0 and 3.0"
    ),
    "{devices: [{name: a}], source: b}": "devices.yaml: source: device 'b' is not among the devices; known: a",
    "{devices: [{name: a}], links: [{between: [a, a]}]}": (
        "devices.yaml: links[0]: expected two different devices, got 'a' twice"
    ),
    "{devices: [{name: a}, {name: b}], links: [{between: [a, b], latency: 1ms}, {from: b, to: a, latency: 2ms}]}": (
        "devices.yaml: links[1]: the link from 'b' to 'a' is declared twice with different values; keep one"
    ),
    "{devices: [{name: a}], links: [{between: [a]}]}": (
        "devices.yaml: links[0].between: expected a list of two, got a list of 1"
    ),
    "{devices: [{name: a}, {name: b}], links: [{from: a}]}": (
        "devices.yaml: links[0]: expected 'between: [device, device]' or 'from' and 'to', got from"
    ),
    "{devices: [{name: nano}], partition_points: [{input_names: [x], output_names: [y], device_name: nan0}]}": (
        "devices.yaml: partition_points[0].device_name: device 'nan0' is not among the devices; did you mean 'nano'?"
    ),
    "{devices: [{name: a}], partition_points: [{input_names: [x], device_name: a}]}": (
        "devices.yaml: partition_points[0].output_names: missing; expected a list"
    ),
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors_name_the_place_the_wish_and_the_find(text):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value) == ERRORS[text]


def test_unreadable_files_are_one_line(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("devices: [\n  - {")
    for path in (tmp_path / "absent.yaml", broken, tmp_path):
        with pytest.raises(ConfigError) as caught:
            read_fleet(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_yaml_is_read_by_the_safe_loader(tmp_path):
    path = tmp_path / "hostile.yaml"
    path.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError, match="not valid yaml"):
        read_fleet(path)


KEYS = ["devices", "links", "partition_points", "source", "name", "power", "memory", "between", "from", "to", "loss"]


@given(st.recursive(JSON_VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner), max_leaves=20))
def test_any_content_is_read_or_refused_in_one_line(data):
    message = refusal(lambda: parse_fleet(data), ConfigError)
    assert message is None or (message.startswith("devices.yaml") and "\n" not in message)


@given(st.sampled_from(["name", "type", *KEYS[5:7], "threads", "battery", "backend"]), JSON_VALUES)
def test_any_value_of_a_devices_field_is_read_or_refused_in_one_line(key, value):
    message = refusal(lambda: parse_fleet({"devices": [{"name": "a", key: value}]}), ConfigError)
    assert message is None or (message.startswith("devices.yaml: devices[0]") and "\n" not in message)


@pytest.mark.parametrize(("written", "margin"), [("5%", 0.05), (0.2, 0.2), (0, 0.0), (None, DEFAULT_MEMORY_MARGIN)])
def test_the_margin_of_memory_is_a_share_with_a_default(written, margin):
    stated = {} if written is None else {"memory_margin": written}
    fleet = parse_fleet({"devices": [{"name": "a", "memory": "1GiB", **stated}]})
    assert fleet.devices[0].memory_margin == pytest.approx(margin)


def test_a_device_that_states_no_runtime_memory_gets_the_measured_one():
    fleet = parse("devices: [{name: a, memory: 1GiB}, {name: b, memory: 1GiB, runtime_memory: 0MiB}]")
    assert [device.runtime_bytes for device in fleet.devices] == [DEFAULT_RUNTIME_BYTES, 0]
    other = parse("devices: [{name: a, backend: openvino}, {name: b, backend: openvino, runtime_memory: 90MiB}]")
    assert [device.runtime_bytes for device in other.devices] == [default_runtime_bytes("openvino"), 90 << 20]


@pytest.mark.parametrize("encoding", ["float16", "zstd"])
def test_a_link_states_how_tensors_are_sent(encoding):
    fleet = parse(f"{{devices: [{{name: a}}, {{name: b}}], links: [{{between: [a, b], encoding: {encoding}}}]}}")
    assert fleet.link("b", "a").encoding is Encoding(encoding)


@pytest.mark.parametrize("encoding", ["float15", "''", "[zstd]"])
def test_an_unknown_encoding_of_a_link_is_refused_with_its_place(encoding):
    with pytest.raises(ConfigError, match=r"devices.yaml.*encoding"):
        parse(f"{{devices: [{{name: a}}, {{name: b}}], links: [{{between: [a, b], encoding: {encoding}}}]}}")
