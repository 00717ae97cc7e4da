"""The chain of power providers, over files and an NVML made up for the test."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from multiedge.fleet import Device, Fleet, Power
from multiedge.measurements import Energy, Event, Measurements
from multiedge.meters.modelled import busiest_share, modelled_energy, with_energy
from multiedge.meters.nvml import Nvml, NvmlEnergy
from multiedge.meters.power import PowerMeter, gpu_chain, open_meter, open_provider
from multiedge.meters.provider import Reading, Unavailable
from multiedge.meters.sysfs import BoardSensor, Counter, Rapl
from multiedge.meters.windows import integrate_watts, largest_average_w


class FakeNvml:
    """nvidia-ml-py's names and units: millijoules, milliwatts, bytes, NVMLError."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, energy_mj=None, power_mw=40_000, processes=((7, 1 << 30),), gpus=1, driver=True):
        self.energy_mj, self.power_mw, self.processes, self.gpus, self.driver = energy_mj, power_mw, processes, gpus, driver
        self.closed = 0

    def nvmlInit(self):  # noqa: N802
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlShutdown(self):  # noqa: N802
        self.closed += 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return self.gpus

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return f"Test GPU {handle}"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        if self.energy_mj is None:
            raise self.NVMLError("Not Supported")
        return self.energy_mj

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802
        if self.power_mw is None:
            raise self.NVMLError("Not Supported")
        return self.power_mw

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.processes]


class FakeProvider:
    source, domain = "fake counter", "bench"

    def __init__(self, readings):
        self.readings, self.closed = iter(readings), False

    def read(self):
        return next(self.readings)

    def close(self):
        self.closed = True


def run_meter(readings, **options):
    """A meter that looked once per second at each of `readings`."""
    times = iter(range(len(readings)))
    meter = PowerMeter(FakeProvider(readings), "nano", clock=lambda: float(next(times)), **options)
    for _ in readings:
        meter.sample()
    return meter


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="ascii")


def test_nvml_counter_is_preferred_and_in_joules():
    provider = NvmlEnergy(Nvml(FakeNvml(energy_mj=2500)))
    assert (provider.source, provider.domain) == ("NVML energy counter", "GPU 0: Test GPU 0")
    assert provider.read() == Reading(joules=2.5)


def test_nvml_power_stands_in_on_old_gpus():
    provider = NvmlEnergy(Nvml(FakeNvml(energy_mj=None)))
    assert provider.source == "NVML power"
    assert provider.read() == Reading(watts=40.0)


@pytest.mark.parametrize(
    ("fake", "reason"),
    [
        (FakeNvml(driver=False), "Driver Not Loaded"),
        (FakeNvml(gpus=0), "no GPU"),
        (FakeNvml(power_mw=None), "neither energy nor power"),
    ],
)
def test_nvml_says_why_it_cannot_answer(fake, reason):
    with pytest.raises(Unavailable, match=reason):
        open_provider(gpu_chain(0, fake))


def test_gpu_memory_is_the_process_not_the_card():
    nvml = Nvml(FakeNvml(processes=((7, 1 << 30), (8, 3 << 30))))
    assert nvml.process_bytes(7) == 1 << 30
    assert nvml.process_bytes(9) is None


def test_gpu_memory_over_two_cards_is_added():
    assert Nvml(FakeNvml(gpus=2)).process_bytes(7) == 2 << 30


def test_gpu_memory_unknown_to_the_driver_is_none():
    assert Nvml(FakeNvml(processes=((7, None),))).process_bytes(7) is None


def test_jetson_total_rail_is_not_added_to_its_parts(tmp_path):
    chip = tmp_path / "class/hwmon/hwmon3"
    write(chip / "name", "ina3221")
    for number, label, millivolts, milliamperes in ((1, "VDD_IN", 5000, 2000), (2, "VDD_CPU_GPU_CV", 5000, 900)):
        write(chip / f"in{number}_label", label)
        write(chip / f"in{number}_input", millivolts)
        write(chip / f"curr{number}_input", milliamperes)
    sensor = BoardSensor(tmp_path)
    assert sensor.domain == "VDD_IN"
    assert sensor.read().watts == pytest.approx(10.0)


def test_older_jetson_driver_gives_milliwatts(tmp_path):
    chip = tmp_path / "bus/i2c/drivers/ina3221x/1-0040/iio:device0"
    write(chip / "rail_name_0", "POM_5V_IN")
    write(chip / "in_power0_input", 3250)
    assert BoardSensor(tmp_path).read().watts == pytest.approx(3.25)


def test_power_of_a_disk_or_a_fan_is_not_the_boards(tmp_path):
    write(tmp_path / "class/hwmon/hwmon0/name", "nvme")
    write(tmp_path / "class/hwmon/hwmon0/power1_input", 5_000_000)
    with pytest.raises(Unavailable, match="no board power sensor"):
        BoardSensor(tmp_path)


def test_rapl_adds_package_and_dram_and_leaves_cores_out(tmp_path):
    zones = {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram"}
    for zone, name in zones.items():
        write(tmp_path / "class/powercap" / zone / "name", name)
        write(tmp_path / "class/powercap" / zone / "energy_uj", 1_000_000)
        write(tmp_path / "class/powercap" / zone / "max_energy_range_uj", 9_000_000)
    rapl = Rapl(tmp_path)
    assert rapl.domain == "package-0 + dram"
    for zone in zones:
        write(tmp_path / "class/powercap" / zone / "energy_uj", 1_500_000)
    assert rapl.read().joules == pytest.approx(1.0)


def test_counter_that_wraps_goes_on_counting(tmp_path):
    path = tmp_path / "energy_uj"
    counter = Counter(path, range_uj=10_000_000)
    joules = []
    for microjoules in (9_000_000, 500_000, 2_500_000):
        write(path, microjoules)
        joules.append(counter.joules())
    assert joules == pytest.approx([0.0, 1.5, 3.5])


def test_chain_lists_every_reason():
    def refuse(reason):
        def make():
            raise Unavailable(reason)

        return make

    with pytest.raises(Unavailable, match="A: no board; B: no root"):
        open_provider({"A": refuse("no board"), "B": refuse("no root")})


def test_machine_power_is_not_claimed_for_one_of_several_devices():
    with pytest.raises(Unavailable, match="shared by several devices"):
        open_meter("nano")


def test_meter_over_a_counter():
    energy = run_meter([Reading(joules=j) for j in (100.0, 101.0, 111.0, 112.0)], window_s=1.0).energy()
    assert (energy.joules, energy.peak_w, energy.mean_w) == (12.0, 10.0, 4.0)
    assert (energy.method, energy.source, energy.domain) == ("measured", "fake counter", "bench")
    assert (energy.sample_hz, energy.window_s) == (1.0, 1.0)


def test_meter_over_power_leaves_gaps_out():
    energy = run_meter([Reading(watts=4.0), Reading(), Reading(watts=4.0)]).energy()
    assert energy.joules == pytest.approx(8.0)


def test_silent_source_is_not_zero():
    energy = run_meter([Reading(), Reading()]).energy()
    assert (energy.joules, energy.peak_w, energy.method) == (None, None, "none")


def test_meter_thread_samples_and_closes_its_provider():
    class Steady(FakeProvider):
        def read(self):
            return Reading(watts=2.0)

    provider = Steady([])
    with PowerMeter(provider, "nano", rate_hz=500) as meter:
        while len(meter.samples) < 5:
            pass
    assert meter.energy().mean_w == pytest.approx(2.0)
    assert provider.closed


def test_integral_and_window_by_hand():
    assert integrate_watts([0.0, 2.0, 3.0], [1.0, 3.0, 3.0]) == [0.0, 4.0, 7.0]
    assert largest_average_w([0.0, 2.0, 3.0], [0.0, 4.0, 7.0], 1.0) == 3.0
    assert largest_average_w([0.0, 2.0, 3.0], [0.0, 4.0, 7.0], 99.0) == pytest.approx(7 / 3)
    assert largest_average_w([0.0], [0.0], 1.0) is None


NANO = Device("nano", power=Power(idle_w=2.0, busy_w=10.0, source="data sheet"), joules_per_byte=0.001)


def measured(events, **rest):
    return Measurements(items=(), events=tuple(events), start_s=0.0, stop_s=10.0, **rest)


def test_modelled_energy_charges_idle_for_the_whole_window():
    events = [
        Event("compute", 0, 0, "nano", 1.0, 3.0),
        Event("compute", 1, 0, "nano", 2.0, 4.0),  # overlaps: the device is busy 3 s, not 4
        Event("transfer", 0, 0, "nano", 4.0, 5.0, nbytes=500, peer="tx2"),
    ]
    energy = modelled_energy(measured(events), NANO, window_s=2.0)
    assert energy.joules == pytest.approx(2.0 * 10 + 8.0 * 3 + 0.5)
    assert energy.peak_w == pytest.approx(10.0)
    assert (energy.method, energy.source, energy.window_s) == ("modelled", "data sheet", 2.0)


def test_modelled_peak_is_an_average_over_its_window():
    energy = modelled_energy(measured([Event("compute", 0, 0, "nano", 5.0, 6.0)]), NANO, window_s=4.0)
    assert energy.peak_w == pytest.approx(2.0 + 8.0 / 4)


def test_busiest_share_of_scattered_work():
    assert busiest_share([(0, 1), (2, 3), (8, 10)], 0, 10, 2.0) == 1.0
    assert busiest_share([(0, 1), (2, 3)], 0, 10, 4.0) == 0.5
    assert busiest_share([], 0, 10, 4.0) == 0.0


def test_device_without_watts_has_no_energy():
    assert modelled_energy(measured([]), Device("bare")).joules is None
    assert modelled_energy(measured([]), Device("bare")).method == "none"


def test_measured_energy_is_kept_and_the_rest_modelled():
    given = Energy("gpu", 5.0, 9.0, 1.0, "measured", "NVML energy counter")
    events = [Event("compute", 0, 0, "nano", 0.0, 1.0), Event("compute", 0, 1, "gpu", 1.0, 2.0)]
    fleet = Fleet((NANO, Device("gpu"), Device("unused", power=NANO.power)))
    filled = with_energy(measured(events, energy=(given,)), fleet)
    assert [(entry.device, entry.method) for entry in filled.energy] == [("nano", "modelled"), ("gpu", "measured")]
