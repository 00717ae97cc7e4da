"""The spec of a HeteroInferenceService as values."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from multiedge.errors import ConfigError
from multiedge.serving.kubernetes.spec import Hardware, Service, read_service, unreadable
from tests.builders.services import IMAGE, MODEL, X86, body


def test_a_spec_with_a_model_alone_has_the_defaults() -> None:
    read = read_service(body(), IMAGE)
    (target,) = read.targets
    assert (target.model, target.hardware, target.image) == (MODEL, Hardware(), IMAGE)
    assert (read.replicas, read.retries, read.timeout_s) == (Service.replicas, Service.retries, Service.timeout_s)
    assert read.id == ("default", "classify")


def test_every_field_of_a_spec_is_read() -> None:
    hardware = {
        "type": "arm-cpu",
        "backend": "mnn",
        "precision": "float16",
        "options": {"fast": "true"},
        "threads": 4,
        "nodeSelector": {"board": "pi"},
        "resources": {"cpu": 2, "memory": "1Gi"},
    }
    conversion = {"retries": 0, "timeoutSeconds": 60}
    read = read_service(body(hardware=[hardware], replicas=2, image="own:1", conversion=conversion), IMAGE)
    expected = Hardware("arm-cpu", "mnn", "float16", {"fast": "true"}, 4, {"board": "pi"}, {"cpu": "2", "memory": "1Gi"})
    assert read.targets[0].hardware == expected
    assert (read.replicas, read.targets[0].image, read.retries, read.timeout_s) == (2, "own:1", 0, 60)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"model": {"claimName": "models"}}, "spec.model.path: missing; expected a name"),
        ({"model": {"claimName": "models", "path": "../net.onnx"}}, "spec.model.path: expected a path inside the claim"),
        ({"hardware": [{"type": "x86-gpu"}]}, "spec.hardware[0].type: unknown value 'x86-gpu'; did you mean 'x86-cpu'?"),
        ({"hardware": [{"type": "auto", "thread": 2}]}, "spec.hardware[0]: unknown key 'thread'; did you mean 'threads'?"),
        ({"replicas": -1}, "spec.replicas: expected a whole number from 0"),
    ],
)
def test_an_error_names_the_field(spec: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"HeteroInferenceService: {error}")):
        read_service(body(**spec), IMAGE)


def test_a_resource_that_cannot_be_read_still_has_its_name() -> None:
    known = unreadable(body(replicas=-1), "why")
    assert (known.id, known.uid, known.generation, known.reason) == (("default", "classify"), "uid-1", 1, "why")


@pytest.mark.parametrize(
    "changed",
    [
        replace(X86, model=replace(MODEL, version="2")),
        replace(X86, model=replace(MODEL, path="other.onnx")),
        replace(X86, hardware=replace(X86.hardware, backend="mnn")),
        replace(X86, hardware=replace(X86.hardware, precision="bfloat16")),
        replace(X86, hardware=replace(X86.hardware, options={"fast": "true"})),
        replace(X86, image="other:1"),
    ],
)
def test_a_target_that_differs_has_another_key(changed: Any) -> None:
    assert changed.key != X86.key
    assert replace(X86).key == X86.key
