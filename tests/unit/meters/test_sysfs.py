"""Power files of the kernel, in trees laid out as on real boards."""

from __future__ import annotations

from pathlib import Path

import pytest

from multiedge.meters.provider import Reading, Unavailable
from multiedge.meters.sysfs import BoardSensor, Counter, Rapl, find_rails, read_number, read_text
from tests.builders.power import hwmon_chip, rapl_zone, write_files


@pytest.mark.parametrize(
    ("content", "number"),
    [
        pytest.param(b"5000\n", 5000.0, id="integer"),
        pytest.param(b" -3.5 \n", -3.5, id="spaces"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"<unsupported>\n", None, id="text"),
        pytest.param(b"\xff\xfe", None, id="not-ascii"),
        pytest.param(None, None, id="absent"),
    ],
)
def test_a_number_in_a_file(tmp_path: Path, content: bytes | None, number: float | None) -> None:
    path = tmp_path / "value"
    if content is not None:
        path.write_bytes(content)
    assert read_number(path) == number


def test_text_of_a_file_is_stripped_and_absent_is_empty(tmp_path: Path) -> None:
    write_files(tmp_path, name=" ina3221 ")
    assert read_text(tmp_path / "name") == "ina3221"
    assert read_text(tmp_path / "label") == ""


def test_a_total_rail_is_not_added_to_its_parts(tmp_path: Path) -> None:
    hwmon_chip(
        tmp_path,
        3,
        "ina3221",
        in1_label="VDD_IN",
        in1_input=5000,
        curr1_input=2000,
        in2_label="VDD_CPU_GPU_CV",
        in2_input=5000,
        curr2_input=900,
    )
    sensor = BoardSensor(tmp_path)
    assert sensor.domain == "VDD_IN"
    assert sensor.read().watts == pytest.approx(10.0)


def test_rails_without_a_total_are_added(tmp_path: Path) -> None:
    hwmon_chip(tmp_path, 0, "ina226", power1_input=2_000_000, power1_label="CPU", power2_input=500_000)
    sensor = BoardSensor(tmp_path)
    assert sensor.domain == "CPU + ina226 power2"
    assert sensor.read() == Reading(watts=2.5)


def test_a_chip_that_measures_power_is_not_multiplied_from_volts_and_amperes(tmp_path: Path) -> None:
    hwmon_chip(tmp_path, 0, "ina219", power1_input=1_000_000, in1_input=5000, curr1_input=9000)
    assert BoardSensor(tmp_path).read().watts == pytest.approx(1.0)


def test_an_average_stands_in_for_a_reading(tmp_path: Path) -> None:
    hwmon_chip(tmp_path, 0, "power_meter", power1_average=3_000_000)
    assert BoardSensor(tmp_path).read().watts == pytest.approx(3.0)


def test_a_rail_that_sums_others_and_one_without_volts_are_left_out(tmp_path: Path) -> None:
    hwmon_chip(
        tmp_path,
        0,
        "ina3221",
        in1_input=1000,
        curr1_input=1000,
        in7_label="sum of shunt voltages",
        in7_input=9,
        curr7_input=9,
        curr4_input=50,
    )
    assert [rail.name for rail in find_rails(tmp_path)] == ["ina3221 rail1"]


def test_the_older_driver_gives_milliwatts(tmp_path: Path) -> None:
    write_files(
        tmp_path / "bus/i2c/drivers/ina3221x/1-0040/iio:device0",
        rail_name_0="POM_5V_IN",
        in_power0_input=3250,
        rail_name_1="POM_5V_GPU",
        in_power1_input=1000,
    )
    assert BoardSensor(tmp_path).read().watts == pytest.approx(3.25)


def test_a_rail_of_the_older_driver_without_a_name_has_that_of_its_file(tmp_path: Path) -> None:
    write_files(tmp_path / "bus/i2c/drivers/ina3221x/1-0041/iio:device1", in_power2_input=10)
    assert [rail.name for rail in find_rails(tmp_path)] == ["in_power2_input"]


@pytest.mark.parametrize("chip", ["nvme", "BAT0", "coretemp", "thinkpad", ""])
def test_power_of_other_chips_is_not_the_boards(tmp_path: Path, chip: str) -> None:
    hwmon_chip(tmp_path, 0, chip, power1_input=5_000_000)
    with pytest.raises(Unavailable, match="no board power sensor"):
        BoardSensor(tmp_path)


def test_a_rail_that_does_not_answer_is_no_rail(tmp_path: Path) -> None:
    hwmon_chip(tmp_path, 0, "ina226", power1_input="", power2_input=1_000_000)
    assert [rail.name for rail in find_rails(tmp_path)] == ["ina226 power2"]


def test_one_rail_that_stops_answering_makes_the_sum_unknown(tmp_path: Path) -> None:
    chip = hwmon_chip(tmp_path, 0, "ina226", power1_input=1_000_000, power2_input=1_000_000)
    sensor = BoardSensor(tmp_path)
    write_files(chip, power2_input="")
    assert sensor.read() == Reading()


def test_rapl_adds_package_and_dram_and_leaves_cores_out(tmp_path: Path) -> None:
    zones = {"0": "package-0", "0:0": "core", "0:1": "dram", "1": "package-1", "2": "psys"}
    for zone, name in zones.items():
        rapl_zone(tmp_path, zone, name, 1_000_000)
    rapl = Rapl(tmp_path)
    assert rapl.domain == "package-0 + dram + package-1"
    assert rapl.read().joules == 0.0, "counted from the moment it was opened"
    for zone, name in zones.items():
        rapl_zone(tmp_path, zone, name, 1_500_000)
    assert rapl.read().joules == pytest.approx(1.5)


def test_rapl_of_several_packages_wraps_each_for_itself(tmp_path: Path) -> None:
    rapl_zone(tmp_path, "0", "package-0", 8_000_000)
    rapl_zone(tmp_path, "1", "package-1", 0)
    rapl = Rapl(tmp_path)
    rapl_zone(tmp_path, "0", "package-0", 1_000_000)
    rapl_zone(tmp_path, "1", "package-1", 500_000)
    assert rapl.read().joules == pytest.approx(2.0 + 0.5)


def test_rapl_without_a_zone_or_without_permission_has_a_reason(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no RAPL zone"):
        Rapl(tmp_path)
    (rapl_zone(tmp_path, "0", "package-0", 1) / "energy_uj").unlink()
    with pytest.raises(Unavailable, match="readable by root only"):
        Rapl(tmp_path)


def test_a_rapl_counter_that_stops_answering_is_a_gap(tmp_path: Path) -> None:
    zone = rapl_zone(tmp_path, "0", "package-0", 1)
    rapl = Rapl(tmp_path)
    (zone / "energy_uj").unlink()
    assert rapl.read() == Reading()


@pytest.mark.parametrize(
    ("readings", "joules"),
    [
        pytest.param([9_000_000, 500_000, 2_500_000], [0.0, 1.5, 3.5], id="wraps-once"),
        pytest.param([1_000_000, 1_000_000], [0.0, 0.0], id="stands-still"),
        pytest.param([0, 9_999_999, 0], [0.0, 9.999999, 10.0], id="wraps-to-zero"),
        pytest.param([1_000_000, "", 3_000_000], [0.0, None, 2.0], id="nothing-is-lost-in-a-gap"),
    ],
)
def test_a_counter_that_wraps_goes_on_counting(tmp_path: Path, readings: list[object], joules: list[float | None]) -> None:
    counter = Counter(tmp_path / "energy_uj", range_uj=10_000_000)
    counted = []
    for reading in readings:
        write_files(tmp_path, energy_uj=reading)
        counted.append(counter.joules())
    assert counted == pytest.approx(joules)
