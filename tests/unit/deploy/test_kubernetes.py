"""deploy/ for Kubernetes: what the validators say, and that definition, permissions and code agree."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from multiedge import cli
from multiedge.backends.conversion.record import State
from multiedge.backends.hardware import HARDWARE
from multiedge.errors import ConfigError
from multiedge.fleet import CPU, PRECISIONS
from multiedge.serving.kubernetes.names import GROUP, KIND, PLURAL, VERSION
from multiedge.serving.kubernetes.platforms import AUTO, PLATFORMS
from multiedge.serving.kubernetes.spec import Hardware, Service, read_service
from multiedge.serving.kubernetes.status import Phase
from multiedge.serving.kubernetes.workers import WorkerKind
from tests.builders.kubectl import ABSENT, KUBECTL
from tests.builders.services import IMAGE

DEPLOY = Path(__file__).parents[3] / "deploy"
CONTROLLER = DEPLOY / "kubernetes" / "controller"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def objects() -> Iterator[dict[str, Any]]:
    """What `kubectl apply -k deploy/` applies, before kustomize."""
    for name in yaml.safe_load((CONTROLLER / "kustomization.yaml").read_text())["resources"]:
        yield from documents(CONTROLLER / name)


def definition() -> dict[str, Any]:
    (crd,) = documents(CONTROLLER / "crd.yaml")
    return crd


def schema() -> dict[str, Any]:
    (version,) = definition()["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def spec_schema() -> dict[str, Any]:
    properties: dict[str, Any] = schema()["properties"]["spec"]["properties"]
    return properties


OBJECTS = list(objects())


@pytest.mark.parametrize("manifest", OBJECTS, ids=lambda manifest: manifest["kind"])
def test_each_object_fits_the_schema_of_kubernetes(manifest: dict[str, Any]) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    validator.validate(manifest, validator.latest_version(), strict=True)


@pytest.mark.skipif(KUBECTL is None, reason=ABSENT)
def test_kustomize_gives_workers_the_image_of_the_controller() -> None:
    command = [str(KUBECTL), "kustomize", str(DEPLOY)]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    kinds = {document["kind"]: document for document in yaml.safe_load_all(made.stdout)}
    assert set(kinds) == {manifest["kind"] for manifest in OBJECTS}
    (container,) = kinds["Deployment"]["spec"]["template"]["spec"]["containers"]
    (image,) = [each["value"] for each in container["env"] if each["name"] == "IMAGE"]
    assert container["image"] == image == "multi-edge-bench:kubernetes"


def test_the_definition_is_of_the_kind_that_the_controller_watches() -> None:
    spec = definition()["spec"]
    assert (spec["group"], spec["names"]["kind"], spec["names"]["plural"]) == (GROUP, KIND, PLURAL)
    assert [version["name"] for version in spec["versions"]] == [VERSION]
    assert definition()["metadata"]["name"] == f"{PLURAL}.{GROUP}"


def test_the_definition_has_the_words_of_the_code() -> None:
    hardware = spec_schema()["hardware"]["items"]["properties"]
    status = schema()["properties"]["status"]["properties"]
    worker = status["workers"]["items"]["properties"]
    assert hardware["type"]["enum"] == list(PLATFORMS)
    assert hardware["precision"]["enum"] == list(PRECISIONS)
    assert status["phase"]["enum"] == worker["phase"]["enum"] == [phase.value for phase in Phase]
    assert worker["kind"]["enum"] == [kind.value for kind in WorkerKind]
    assert status["conversions"]["items"]["properties"]["state"]["enum"] == [state.value for state in State]


def test_types_of_hardware_are_those_that_a_device_may_have() -> None:
    types = {hardware.type for hardware in HARDWARE}
    assert {each.device_type for each in PLATFORMS.values()} <= {CPU, *types}
    assert {name for name, each in PLATFORMS.items() if each.device_type == CPU} <= {AUTO, *types}


def test_the_definition_has_the_defaults_of_the_code() -> None:
    properties = spec_schema()
    hardware = properties["hardware"]["items"]["properties"]
    conversion = properties["conversion"]["properties"]
    assert properties["hardware"]["default"] == [{"type": Hardware.type}]
    assert (hardware["backend"]["default"], hardware["threads"]["default"]) == (Hardware.backend, Hardware.threads)
    assert properties["replicas"]["default"] == Service.replicas
    assert conversion["retries"]["default"] == Service.retries
    assert conversion["timeoutSeconds"]["default"] == Service.timeout_s


def test_every_field_of_hardware_can_be_stated() -> None:
    names = {"node_labels": "nodeSelector"}
    assert {names.get(each.name, each.name) for each in fields(Hardware)} == set(
        spec_schema()["hardware"]["items"]["properties"]
    )


def examples() -> list[dict[str, Any]]:
    return [each for each in documents(DEPLOY / "kubernetes" / "heteroinferenceservice.yaml") if each["kind"] == KIND]


def test_the_example_fits_the_definition_and_is_read() -> None:
    validator = pytest.importorskip("openapi_schema_validator", reason="openapi-schema-validator is not installed")
    (example,) = examples()
    validator.validate(example, schema(), cls=validator.OAS30Validator)
    example["metadata"] |= {"namespace": "default", "uid": "1"}
    assert read_service(example, IMAGE).targets[0].hardware == Hardware("x86-cpu")


def test_the_decoder_refuses_what_the_definition_does_not_have() -> None:
    (example,) = examples()
    example["metadata"] |= {"namespace": "default", "uid": "1"}
    example["spec"]["storage"] = {}
    with pytest.raises(ConfigError, match="spec: unknown key 'storage'"):
        read_service(example, IMAGE)


def test_the_controller_starts_with_a_command_of_this_project_and_without_privileges() -> None:
    (deployment,) = [each for each in OBJECTS if each["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert cli.build_parser("controller").parse_args(container["args"]).command == "controller"
    assert spec["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= set(container["resources"]["limits"])
