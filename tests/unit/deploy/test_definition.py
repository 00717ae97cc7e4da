"""What the definition of HeteroInferenceService permits, by its schema and its rules."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from multiedge.serving.kubernetes.message import decode_message
from multiedge.serving.kubernetes.spec import read_service
from multiedge.serving.kubernetes.status import Phase
from tests.builders.definitions import ROOT, problems_of
from tests.builders.services import IMAGE, body

X86 = {"type": "x86-cpu"}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"hardware": [X86, {"type": "arm-cpu", "backend": "mnn"}], "replicas": 0},
        {"hardware": [{"type": "auto"}]},
        {
            "hardware": [
                {**X86, "backend": "openvino", "options": {"performance": "latency"}, "resources": {"cpu": 2, "memory": "1Gi"}}
            ]
        },
        {"model": {"claimName": "models", "path": "a/..b/net.onnx"}},
    ],
)
def test_what_makes_sense_is_permitted(spec: dict[str, Any]) -> None:
    assert problems_of(body(**spec)) == []


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"model": {"claimName": "models"}}, "spec.model: 'path' is a required property"),
        ({"model": {"claimName": "models", "path": "/net.onnx"}}, "spec.model.path: must be a path inside the claim"),
        ({"model": {"claimName": "models", "path": "a/../../net.onnx"}}, "spec.model.path: must be a path inside the claim"),
        ({"model": {"claimName": "models", "path": "net.pt"}}, "spec.model.path: 'net.pt' does not match"),
        ({"hardware": []}, "spec.hardware: [] "),
        ({"hardware": [{"type": "gpu-9"}]}, "spec.hardware.0.type: 'gpu-9' is not one of"),
        ({"hardware": [{"type": "auto"}, X86]}, "spec.hardware: type auto is any hardware"),
        ({"hardware": [{**X86, "options": {"a": "b"}}]}, "spec.hardware[0]: options are those of one backend; name it"),
        ({"hardware": [{**X86, "precision": "float64"}]}, "spec.hardware.0.precision: 'float64' is not one of"),
        ({"replicas": -1}, "spec.replicas: -1 is less than the minimum of 0"),
        ({"conversion": {"timeoutSeconds": 0}}, "spec.conversion.timeoutSeconds: 0 is less than the minimum of 1"),
    ],
)
def test_what_makes_none_is_refused(spec: dict[str, Any], problem: str) -> None:
    (found,) = problems_of(body(**spec))
    assert found.startswith(problem)


def test_names_of_workers_have_room() -> None:
    long = body()
    long["metadata"]["name"] = "a" * 31
    assert problems_of(long)[0].startswith(": metadata.name: at most 30 characters")


def written(language: str, word: str) -> str:
    """The block of the manual that has the word."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "kubernetes.md").read_text(), re.DOTALL)
    (block,) = [each for each in blocks if word in each]
    return str(block)


def test_the_examples_of_the_manual_fit_the_definition_and_are_read() -> None:
    resource = yaml.safe_load(written("yaml", "kind: HeteroInferenceService"))
    assert problems_of(resource) == []
    resource["metadata"] |= {"namespace": "default", "uid": "1"}
    resource["status"] = yaml.safe_load(written("yaml", "latencyRatio"))
    resource["status"]["conversions"][0]["key"] = "f91127e7"
    assert problems_of(resource) == []
    assert read_service(resource, IMAGE).status.conversions[0].task.error == 0.00478


def test_the_message_of_the_manual_is_read() -> None:
    assert decode_message(written("json", "taskInfo")).status is Phase.COMPLETED
