"""From a backend's name and a part to a session: names, options, conversion, and what a backend does wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest

from multiedge.backends import BACKENDS
from multiedge.backends.contract import Backend, Provider, Tensors
from multiedge.backends.stages import (
    CONVERTED,
    Call,
    device_backend,
    load_backend,
    memory_use_of,
    open_part,
    openable,
    require_backend_options,
    require_backends,
)
from multiedge.errors import ConfigError, ModelError, ProfileError
from multiedge.fleet import Device, Fleet
from multiedge.onnx_io import read_graph, with_own_weights
from multiedge.transports import MAPPED_MESSAGES
from tests.builders.parts import split_at
from tests.builders.pipelines import small_model


@dataclass
class Session:
    text: str
    inputs: tuple[str, ...] = ("x",)
    outputs: tuple[str, ...] = ("y",)
    batch_is_free: bool = False
    provider: Provider = Provider("fake")  # noqa: RUF009

    def run(self, tensors: Tensors) -> dict[str, Any]:
        return {"y": tensors["x"] + 1, "text": self.text}

    def close(self) -> None: ...


def read(session: Any) -> str:
    """The text of the file that the session was opened on."""
    return str(session.run({"x": 0})["text"])


@dataclass(frozen=True)
class Counting(Backend):
    """Keeps the names of what it converted in `log`."""

    formats = (".count", ".count2")
    log: ClassVar[list[str]] = []
    level: int = 0

    @property
    def version(self) -> str:
        return "1"

    def open(self, path: Path, device: Device | None = None) -> Session:
        return Session(path.read_text())

    def convert(self, source: Path, target: Path) -> None:
        self.log.append(source.name)
        target.write_text(f"from {source.name} at level {self.level}")


@pytest.fixture
def backend() -> Counting:
    Counting.log.clear()
    return Counting()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return small_model(tmp_path / "part.onnx")


def test_a_part_is_converted_once_and_anew_when_it_or_an_option_changes(part: Path, backend: Counting) -> None:
    for _ in range(2):
        assert read(open_part(backend, part)) == "from part.onnx at level 0"
    assert len(backend.log) == 1
    assert read(open_part(Counting(level=3), part)) == "from part.onnx at level 3"
    model = onnx.load(part)
    model.doc_string = "changed"
    onnx.save(model, part)
    open_part(backend, part)
    assert len(backend.log) == 3
    assert len(list((part.parent / CONVERTED).iterdir())) == 3


def test_a_file_of_a_declared_format_is_opened_as_it_is(tmp_path: Path, backend: Counting) -> None:
    (tmp_path / "a.count2").write_text("as it is")
    assert read(open_part(backend, tmp_path / "a.count2")) == "as it is"
    assert not (tmp_path / CONVERTED).exists()


def test_what_is_kept_elsewhere_leaves_the_models_folder_alone(part: Path, tmp_path: Path, backend: Counting) -> None:
    made = openable(backend, part, tmp_path / "elsewhere")
    assert made.parents[1] == tmp_path / "elsewhere"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "part.onnx"]


def test_a_conversion_that_fails_leaves_nothing_and_is_one_line(part: Path, backend: Counting) -> None:
    @dataclass(frozen=True)
    class Failing(Counting):
        def convert(self, source: Path, target: Path) -> None:
            target.write_text("half")
            raise ValueError("operator\nunknown")

    with pytest.raises(ModelError, match=r"part\.onnx: Failing cannot convert this file: ValueError: operator unknown$"):
        open_part(Failing(), part)
    assert list((part.parent / CONVERTED).iterdir()) == []


def test_a_backend_that_converts_nothing_names_its_formats(part: Path) -> None:
    with pytest.raises(ModelError, match=r"part\.onnx: SyntheticBackend opens \.json files and converts no others"):
        open_part(load_backend("synthetic"), part)


def test_an_error_of_the_runtime_becomes_one_line(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Broken(Counting):
        def open(self, path: Path, device: Device | None = None) -> Session:
            raise RuntimeError("no\nmemory")

    (tmp_path / "a.count").write_text("")
    with pytest.raises(ModelError, match=r"a\.count: Broken cannot open this file: RuntimeError: no memory$"):
        open_part(Broken(), tmp_path / "a.count")


def test_a_session_without_what_the_contract_needs_is_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Short(Counting):
        def open(self, path: Path, device: Device | None = None) -> Any:
            return object()

    (tmp_path / "a.count").write_text("")
    with pytest.raises(ConfigError, match=r"Short\.open: expected a session, got an object of object without inputs, out"):
        open_part(Short(), tmp_path / "a.count")


def test_a_gpu_needs_a_backend_that_computes_there(tmp_path: Path, backend: Counting) -> None:
    (tmp_path / "a.count").write_text("")
    with pytest.raises(ConfigError, match=r"device 'nano': expected a type that backend 'counting' computes on, cpu, got 'gpu"):
        open_part(backend, tmp_path / "a.count", Device("nano", type="gpu-1", backend="counting"))


def test_options_of_a_backend_are_checked_by_name_and_type() -> None:
    assert load_backend("onnxruntime", {"optimisation": "basic"}) == load_backend("onnxruntime", {"optimisation": "basic"})
    with pytest.raises(ConfigError, match=r"backend 'onnxruntime' has no option 'optimization'; did you mean 'optimisation'"):
        load_backend("onnxruntime", {"optimization": "basic"})
    with pytest.raises(ConfigError, match=r"backend 'onnxruntime', option 'arena': expected true or false, got 'yes'"):
        load_backend("onnxruntime", {"arena": "yes"})


def test_a_class_that_is_no_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BACKENDS, "_table", {"link": "multiedge.fleet:Link"})
    with pytest.raises(ConfigError, match=r"backend 'link': expected a subclass of multiedge\.backends\.contract\.Backend"):
        load_backend("link")


def test_options_are_for_the_devices_of_their_backend() -> None:
    fleet = Fleet((Device("a"), Device("b", backend="synthetic")), name="two")
    options = {"onnxruntime": {"arena": False}}
    require_backend_options(fleet, options)
    assert device_backend(fleet.device("a"), options) == load_backend("onnxruntime", {"arena": False})
    assert device_backend(fleet.device("b"), options) == load_backend("synthetic")
    with pytest.raises(ConfigError, match="backends: no device of two has the backend 'openvino'; known: onnxruntime"):
        require_backend_options(fleet, {"openvino": {}})
    with pytest.raises(ConfigError, match="backend 'synthetic' has no option 'arena'"):
        require_backend_options(fleet, {"synthetic": {"arena": False}})


def test_a_device_with_an_unknown_backend_is_named() -> None:
    require_backends(Fleet((Device("a"), Device("b", backend="synthetic"))))
    with pytest.raises(ConfigError, match=r"^lab: device 'b': unknown backend 'onnxrutime'; did you mean 'onnxruntime'"):
        require_backends(Fleet((Device("a"), Device("b", backend="onnxrutime")), name="lab"))


def test_a_linked_part_gets_weights_of_its_own_before_it_is_converted(part: Path, tmp_path: Path) -> None:
    graph = read_graph(part)
    linked = Path(split_at(part, [len(graph.nodes) // 2], tmp_path / "linked").directory) / "sub_model_1.onnx"
    with pytest.raises(Exception, match="hard link"):
        onnx.load(linked)
    (tmp_path / "own").mkdir()
    own = with_own_weights(linked, tmp_path / "own")
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(part).graph.initializer}
    copied = onnx.load(own).graph.initializer
    assert copied
    for tensor in copied:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), weights[tensor.name])
    assert with_own_weights(own, tmp_path) == own


def test_a_call_names_file_and_shapes_of_what_the_runtime_raises(tmp_path: Path) -> None:
    class Refusing(Session):
        def run(self, tensors: Tensors) -> dict[str, Any]:
            raise RuntimeError("wrong\nshape")

    call = Call(Refusing("a"), {"x": np.zeros((2, 3))}, tmp_path / "m.onnx")
    with pytest.raises(ProfileError, match=r"m\.onnx: cannot be run with x \[2, 3\]: wrong shape$"):
        call()


def test_onnxruntime_states_what_it_packs_by_its_options() -> None:
    by_default = load_backend("onnxruntime").memory_use()
    assert by_default.packing_copies["Conv"] == 3
    assert by_default.packing_copies["MatMul"] == 1
    assert by_default.folded["Conv"] == "BatchNormalization"
    assert load_backend("onnxruntime", {"optimisation": "disabled"}).memory_use().folded == {}
    assert load_backend("onnxruntime", {"prepack": False}).memory_use().packing_copies["Gemm"] == 0
    assert load_backend("onnxruntime", {"optimisation": "extended"}).memory_use().packing_copies["Conv"] == 1


def test_a_fleet_of_several_backends_is_counted_with_the_larger_figures() -> None:
    both = memory_use_of(Fleet((Device("a", backend="synthetic"), Device("b"))))
    assert both == memory_use_of(Fleet((Device("b"),)))
    alone = memory_use_of(Fleet((Device("a", backend="synthetic"),)))
    assert (alone.working_copies, alone.buffered_items, alone.packing_copies) == (1, MAPPED_MESSAGES, {})
