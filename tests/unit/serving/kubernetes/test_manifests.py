"""Pods and Services of Kubernetes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from multiedge import cli
from multiedge.serving.kubernetes.actions import CreateWorker, Notify
from multiedge.serving.kubernetes.manifests import Workplace, address_service, event_of, worker_pod
from multiedge.serving.kubernetes.platforms import ARCHITECTURE
from multiedge.serving.kubernetes.workers import WorkerKind
from tests.builders.services import NOW_S, TOKEN, X86, service

HARDWARE = replace(
    X86.hardware,
    precision="bfloat16",
    options={"performance": "latency"},
    threads=2,
    node_labels={"board": "a"},
    resources={"cpu": "2"},
)
TARGET = replace(X86, hardware=HARDWARE)
CONVERT = CreateWorker("classify-convert", WorkerKind.CONVERSION, TARGET, attempt=1)
SERVE = CreateWorker(
    "classify-serve", WorkerKind.SERVING, TARGET, replica=1, backend="openvino", precision="bfloat16", near="edge-1"
)
WORKPLACE = Workplace("http://controller:8480", TOKEN)


def made(action: CreateWorker) -> dict[str, Any]:
    return worker_pod(service(TARGET), action, WORKPLACE)


@pytest.mark.parametrize(
    "manifest",
    [made(CONVERT), made(SERVE), address_service(service()), event_of(service(), Notify("Serving", "1 of 1"), NOW_S)],
    ids=lambda manifest: str(manifest["kind"]),
)
def test_each_object_fits_the_schema_of_kubernetes(manifest: dict[str, Any]) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    validator.validate(manifest, validator.latest_version(), strict=True)


@pytest.mark.parametrize("action", [CONVERT, SERVE], ids=["convert", "serve"])
def test_a_worker_runs_without_privileges(action: CreateWorker) -> None:
    spec = made(action)["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "2Gi"}


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (CONVERT, "convert /models/net.onnx --backend openvino --precision bfloat16 --option performance=latency"),
        (SERVE, "serve /models/net.onnx --host $(POD_IP) --port 8081 --threads 2 --backend openvino --precision bfloat16"),
    ],
    ids=["convert", "serve"],
)
def test_a_worker_runs_a_command_of_this_project(action: CreateWorker, expected: str) -> None:
    words = made(action)["spec"]["containers"][0]["args"]
    assert " ".join(words).startswith(expected)
    assert cli.build_parser(words[0]).parse_args(words).command == words[0]


def test_the_fastest_runtime_is_measured_where_none_is_named() -> None:
    auto = replace(X86, hardware=replace(X86.hardware, backend="auto"))
    words = made(replace(CONVERT, target=auto))["spec"]["containers"][0]["args"]
    assert words == ["convert", "/models/net.onnx", "--auto", "--limit", "3600", "--report", "http://controller:8480"]


def test_a_conversion_runs_once_for_a_limited_time_and_serving_goes_on() -> None:
    converting, serving = made(CONVERT)["spec"], made(SERVE)["spec"]
    assert (converting["restartPolicy"], converting["activeDeadlineSeconds"]) == ("Never", service().timeout_s)
    assert (serving["restartPolicy"], serving.get("activeDeadlineSeconds")) == ("Always", None)


def test_a_worker_is_placed_on_its_hardware_and_near_its_conversion() -> None:
    spec = made(SERVE)["spec"]
    assert spec["nodeSelector"] == {ARCHITECTURE: "amd64", "board": "a"}
    (term,) = spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["preference"]["matchFields"][0]["values"] == ["edge-1"]
    assert "affinity" not in made(CONVERT)["spec"]


def test_the_address_selects_the_serving_workers_alone() -> None:
    selector = address_service(service())["spec"]["selector"].items()
    assert selector <= made(SERVE)["metadata"]["labels"].items()
    assert not selector <= made(CONVERT)["metadata"]["labels"].items()


def test_kubernetes_removes_what_a_service_owns() -> None:
    for manifest in (made(CONVERT), made(SERVE), address_service(service())):
        (owner,) = manifest["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
            "HeteroInferenceService",
            "classify",
            "uid-1",
            True,
        )


def test_names_of_pods_are_short_enough_for_every_host() -> None:
    """A service has at most 30 characters, as the definition of the resource demands."""
    longest = f"{'a' * 30}-{TARGET.type}-{TARGET.key}-convert-20"
    assert len(longest) <= 63
