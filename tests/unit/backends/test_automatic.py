"""What the backend `auto` stands for: measured choices first, then the table of hardware."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from multiedge.backends import automatic
from multiedge.backends.automatic import resolved, resolved_fleet
from multiedge.backends.choices import Choice, Choices, Outcome, path_of, save_choices
from multiedge.backends.hardware import HARDWARE, Evidence, hardware_of
from multiedge.backends.stages import device_backend, options_for, require_backend_options, require_backends, runtime_of
from multiedge.errors import ConfigError
from multiedge.fleet import AUTO_BACKEND, REFERENCE_BACKEND, Device, Fleet, default_runtime_bytes
from multiedge.plan import Runtime

AUTO = Device("d", "x86-cpu", backend=AUTO_BACKEND)
VERSIONS = {"onnxruntime": "1", "openvino": "2", "mnn": "3"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(automatic, "installed_version", lambda name: VERSIONS.get(name, ""))
    return tmp_path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "a" / "m.onnx"
    path.parent.mkdir()
    path.write_bytes(b"a model whose weights are in w.bin")
    (path.parent / "w.bin").write_bytes(b"1234")
    return path


def measured(model: Path, device: Device, *rows: Choice) -> None:
    save_choices(Choices(model.name, device.threads, rows), path_of(model, device))


def timed(backend: str, seconds: float, precision: str = "float32") -> Choice:
    return Choice(backend, precision, VERSIONS[backend], Outcome.TIMED, seconds)


def test_without_measurements_x86_starts_with_the_reference() -> None:
    assert resolved(AUTO) == replace(AUTO, backend="onnxruntime", precision="float32")
    assert resolved(AUTO).backend == REFERENCE_BACKEND


def test_a_device_that_names_its_backend_stays_as_it_is(model: Path) -> None:
    named = replace(AUTO, backend="mnn")
    measured(model, named, timed("openvino", 1.0))
    assert resolved(named, model) is named


def test_the_memory_of_a_runtime_is_that_of_what_auto_stands_for_unless_it_is_stated(model: Path) -> None:
    measured(model, AUTO, timed("onnxruntime", 2.0), timed("openvino", 1.0))
    unstated = replace(AUTO, runtime_bytes=default_runtime_bytes(AUTO_BACKEND))
    assert resolved(unstated, model).runtime_bytes == default_runtime_bytes("openvino")
    assert resolved(unstated).runtime_bytes == default_runtime_bytes("onnxruntime")
    assert resolved(replace(AUTO, runtime_bytes=90 << 20), model).runtime_bytes == 90 << 20
    assert default_runtime_bytes("openvino") > default_runtime_bytes("onnxruntime")


def test_what_a_plan_was_made_with_counts_more_than_what_is_installed_here(model: Path) -> None:
    fleet = Fleet((replace(AUTO, runtime_bytes=default_runtime_bytes(AUTO_BACKEND)), replace(AUTO, name="e"), Device("f")))
    mnn, other, named = resolved_fleet(
        fleet, model, {"d": Runtime("mnn", "9", "float32"), "f": Runtime("mnn", "9", "")}
    ).devices
    assert (mnn.backend, mnn.runtime_bytes) == ("mnn", default_runtime_bytes("mnn"))
    assert (other.backend, named) == (REFERENCE_BACKEND, fleet.devices[2])


def test_the_fastest_measured_candidate_is_taken(model: Path) -> None:
    measured(model, AUTO, timed("onnxruntime", 2.0), timed("openvino", 1.0, "bfloat16"), timed("mnn", 3.0))
    used = resolved(AUTO, model)
    assert (used.backend, used.precision) == ("openvino", "bfloat16")
    assert resolved_fleet(Fleet((AUTO, Device("e"))), model).devices == (used, Device("e"))


def test_a_precision_that_is_stated_limits_the_choice(model: Path) -> None:
    measured(model, AUTO, timed("onnxruntime", 2.0), timed("openvino", 1.0, "bfloat16"))
    assert resolved(replace(AUTO, precision="float32"), model).backend == "onnxruntime"


def test_what_failed_is_not_taken_and_what_was_left_out_early_for_its_precision_alone(model: Path) -> None:
    failed, slower = (
        replace(timed("mnn", 0.1), outcome=Outcome.FAILED),
        replace(timed("onnxruntime", 2.0), outcome=Outcome.SLOWER),
    )
    measured(model, AUTO, failed, slower, timed("openvino", 1.0, "bfloat16"))
    assert resolved(AUTO, model).backend == "openvino"
    assert resolved(replace(AUTO, precision="float32"), model).backend == "onnxruntime"


def test_what_is_approximate_is_taken_from_the_agreement_that_was_asked_for(model: Path) -> None:
    near = replace(timed("mnn", 0.1, "int8"), agreement=0.97, is_approximate=True)
    for least, name in ((None, "onnxruntime"), (0.98, "onnxruntime"), (0.97, "mnn")):
        save_choices(Choices("m", 1, (timed("onnxruntime", 2.0), near), least), path_of(model, AUTO))
        assert resolved(AUTO, model).backend == name


def test_a_choice_of_another_version_of_the_runtime_is_measured_no_more(model: Path) -> None:
    measured(model, AUTO, replace(timed("openvino", 1.0), version="1.9"), timed("onnxruntime", 2.0))
    assert resolved(AUTO, model).backend == "onnxruntime"


def test_a_choice_is_that_of_the_model_wherever_it_lies_and_of_the_threads(model: Path, tmp_path: Path) -> None:
    measured(model, AUTO, timed("openvino", 1.0))
    copy = tmp_path / "b" / "other.onnx"
    copy.parent.mkdir()
    copy.write_bytes(model.read_bytes())
    (copy.parent / "w.bin").write_bytes(b"1234")
    os.utime(copy.parent / "w.bin", (1, 1))
    assert resolved(AUTO, copy).backend == "openvino"
    assert resolved(replace(AUTO, threads=2), copy).backend == "onnxruntime"
    copy.write_bytes(model.read_bytes() + b".")
    assert resolved(AUTO, copy).backend == "onnxruntime"


def test_a_damaged_file_of_choices_counts_as_none(model: Path) -> None:
    measured(model, AUTO, timed("openvino", 1.0))
    path_of(model, AUTO).write_text('{"schema": "multiedge.choices/1", "rows": 3}')
    assert resolved(AUTO, model).backend == "onnxruntime"


def test_hardware_is_by_the_type_of_the_device_otherwise_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {each.type: each.name for each in HARDWARE}
    assert hardware_of(Device("d", "ascend")).name == names["ascend"]
    assert hardware_of(Device("d", "gpu-1")).name == names["gpu"]
    for machine, kind in (("x86_64", "x86-cpu"), ("aarch64", "arm-cpu"), ("riscv64", "x86-cpu")):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        assert hardware_of(Device("d", "phone")).name == names[kind]


def test_what_is_not_installed_or_computes_with_other_precisions_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolved(replace(AUTO, precision="bfloat16")).backend == "openvino"
    monkeypatch.setattr(automatic, "installed_version", lambda name: "3" if name == "mnn" else "")
    assert resolved(AUTO).backend == "mnn"
    assert resolved(replace(AUTO, type="ascend")).backend == REFERENCE_BACKEND


def test_only_what_tests_run_is_called_tested() -> None:
    tested = {(each.type, start.backend) for each in HARDWARE for start in each.starts if start.evidence is Evidence.TESTED}
    assert {kind for kind, _ in tested} == {"x86-cpu", "gpu"}


def test_the_precision_of_a_device_is_an_option_of_its_backend() -> None:
    device = Device("d", backend="openvino", precision="bfloat16")
    assert device_backend(device).numbers == "bfloat16"
    assert device_backend(device, {"openvino": {"denormals": False}}).numbers == "bfloat16"
    assert runtime_of(device).precision == "bfloat16"
    assert device_backend(Device("d", backend="mnn", precision="float32")).numbers == "float32"


def test_a_precision_that_the_backend_does_not_have_is_refused_in_one_line() -> None:
    wrong = Device("d", backend="mnn", precision="int4")
    with pytest.raises(ConfigError, match=r"^device 'd': expected a precision of backend 'mnn', .*, got 'int4'; change its"):
        device_backend(wrong)
    with pytest.raises(ConfigError, match="device 'd': expected a precision"):
        require_backends(Fleet((wrong,)))
    both = Device("d", backend="openvino", precision="bfloat16")
    with pytest.raises(ConfigError, match=r"its precision is bfloat16, and float16 in the options of backend 'openvino'"):
        device_backend(both, {"openvino": {"precision": "float16"}})


def test_options_count_for_what_auto_stands_for(model: Path) -> None:
    options = {"openvino": {"denormals": False}, "onnxruntime": {"arena": False}}
    assert options_for(AUTO, options) == options
    assert options_for(Device("d"), options) == {"onnxruntime": {"arena": False}}
    fleet = Fleet((AUTO,), name="one")
    with pytest.raises(ConfigError, match="no device of one has the backend 'openvino'"):
        require_backend_options(fleet, options)
    measured(model, AUTO, timed("openvino", 1.0))
    require_backend_options(fleet, options, [model])
