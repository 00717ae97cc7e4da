"""Execution providers by name: what is refused, and what is recorded of what really computes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from multiedge.backends.contract import Provider
from multiedge.backends.loading import load_backend
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.backends.onnxruntime import providers as module
from multiedge.backends.onnxruntime.providers import CPU, CUDA, PROVIDERS, Chosen, ExecutionProvider, chosen
from multiedge.errors import ConfigError, ModelError
from multiedge.fleet import Device
from tests.builders.onnx_models import layers, noise, saved

AZURE = ExecutionProvider("AzureExecutionProvider", "cpu", "onnxruntime")
"""It is in onnxruntime's usual package, and computes only operators that call a server."""


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> None:
    if AZURE.name not in module.ort.get_available_providers():
        pytest.skip(f"this onnxruntime has no {AZURE.name}")
    monkeypatch.setattr(module, "PROVIDERS", {**PROVIDERS, "azure": AZURE})


def test_the_cpu_by_name_computes_as_without_a_name(tmp_path: Path) -> None:
    path, x = saved(layers(1), tmp_path / "model.onnx"), noise(1, 16)
    named, plain = OnnxRuntimeBackend(execution_provider="cpu").open(path), OnnxRuntimeBackend().open(path)
    assert named.provider == plain.provider == Provider(CPU)
    np.testing.assert_array_equal(named.run({"x": x})["y"], plain.run({"x": x})["y"])


def test_a_provider_that_would_compute_nothing_is_refused(tmp_path: Path, azure: None) -> None:
    path = saved(layers(2), tmp_path / "model.onnx")
    asked = chosen("azure", {}, None)
    options = module.ort.SessionOptions()
    options.add_session_config_entry(module.ASSIGNMENT, "1")
    raw = asked.load(path, options)
    with pytest.raises(ModelError, match=r"model\.onnx: execution provider 'azure': it knows none of .* compute all of \d"):
        asked.computing(raw, path)


def test_a_provider_that_is_not_here_is_one_line_with_its_package(tmp_path: Path) -> None:
    path = saved(layers(1), tmp_path / "model.onnx")
    absent = next(name for name, each in PROVIDERS.items() if not each.plugin and each.name not in available())
    with pytest.raises(ConfigError, match=rf"^execution provider '{absent}': expected one that .*{CPU}.*; it comes with .*$"):
        OnnxRuntimeBackend(execution_provider=absent).open(path)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"execution provider '{absent}'"):
        OnnxRuntimeBackend(execution_provider=absent).provider(Device("d"))  # type: ignore[arg-type]


def available() -> list[str]:
    names: list[str] = module.ort.get_available_providers()
    return names


def test_a_provider_that_onnxruntime_could_not_load_is_an_error(tmp_path: Path) -> None:
    raw: Any = SimpleNamespace(get_providers=lambda: [CPU])
    with pytest.raises(ModelError, match=rf"execution provider 'cuda': onnxruntime could not load it and took {CPU}"):
        Chosen("cuda", {}).computing(raw, tmp_path)


def parts(**nodes: int) -> list[Any]:
    return [SimpleNamespace(ep_name=name, get_nodes=lambda count=count: range(count)) for name, count in nodes.items()]


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        pytest.param({"get_provider_graph_assignment_info": lambda: parts(**{CUDA: 5})}, CUDA, id="all nodes"),
        pytest.param(
            {"get_provider_graph_assignment_info": lambda: parts(**{CUDA: 2, CPU: 7})}, f"{CPU}+{CUDA}", id="some nodes"
        ),
        pytest.param({}, CUDA, id="an onnxruntime that does not tell"),
    ],
)
def test_what_computes_is_named_by_its_number_of_nodes(tmp_path: Path, raw: dict[str, Any], name: str) -> None:
    session: Any = SimpleNamespace(get_providers=lambda: [CUDA, CPU], **raw)
    assert Chosen("cuda", {}).computing(session, tmp_path) == Provider(name, "gpu")


def test_card_and_threads_are_those_of_the_device_unless_they_are_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.ort, "get_available_providers", lambda: [each.name for each in PROVIDERS.values()])
    device = Device("d", type="gpu-1", threads=3)
    assert chosen("cuda", {}, device).settings == {"device_id": "1"}
    assert chosen("xnnpack", {}, device).settings == {"intra_op_num_threads": "3"}
    assert chosen("cuda", {"device_id": "2"}, device).settings == {"device_id": "2"}
    assert chosen("cuda", {}, None).settings == {"device_id": "0"}


def test_options_without_effect_and_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown name 'cudda'; did you mean 'cuda'"):
        OnnxRuntimeBackend(execution_provider="cudda")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="provider_settings: are those of a provider that `execution_provider` names"):
        load_backend("onnxruntime", {"provider_settings": {"device_id": "1"}})
    with pytest.raises(ConfigError, match=r"prepacked: .* leave one of them out"):
        OnnxRuntimeBackend(execution_provider="cpu", prepacked="kept")


def test_nodes_are_timed_where_the_provider_keeps_them() -> None:
    assert OnnxRuntimeBackend(execution_provider="cpu").node_timer() is not None
    assert OnnxRuntimeBackend(execution_provider="openvino").node_timer() is None
