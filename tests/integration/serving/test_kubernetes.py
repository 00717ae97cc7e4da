"""The controller on an API server, used with kubectl.

kmock has no nodes: the tests say of pods what the kubelet would, and run the conversion workers' own commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders.clusters import Cluster, running_cluster, running_controller, until
from tests.builders.definitions import DEPLOY
from tests.builders.kubectl import ABSENT, KUBECTL
from tests.builders.pipelines import small_model
from tests.builders.services import body

for extra, package in {"kubernetes": "kopf", "openvino": "openvino"}.items():
    pytest.importorskip(package, reason=f"pip install 'multi-edge-bench[{extra}]'")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(KUBECTL is None, reason=ABSENT),
]

OURS = ("kopf/", "multiedge/")
"""How the agents of the controller's requests begin."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.kubectl("apply", "--validate=false", "-k", str(DEPLOY))
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Iterator[str]:
    with running_controller(cluster) as url:
        yield url


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in the claim."""
    folder = tmp_path_factory.mktemp("models")
    small_model(folder / "net.onnx")
    return folder


def apply(cluster: Cluster, name: str, check: bool = True, **spec: Any) -> str:
    """Applies a service; what kubectl says of it."""
    resource = body(**{"hardware": [{"type": "x86-cpu", "backend": "openvino"}], **spec})
    resource["metadata"] = {"name": name}
    done = cluster.kubectl("apply", "--validate=false", "-f", "-", given=yaml.safe_dump(resource), check=check)
    return done.stdout + done.stderr


def shown(cluster: Cluster, name: str) -> dict[str, str]:
    """The columns of `kubectl get`."""
    head, row = cluster.kubectl("get", "heteroinferenceservice", name).stdout.splitlines()
    starts = [head.index(title) for title in head.split()]
    ends = [*starts[1:], None]
    return {head[start:end].strip(): row[start:end].strip() for start, end in zip(starts, ends, strict=True)}


def pod(cluster: Cluster, owner: str, part: str) -> dict[str, Any]:
    """The only pod of a service with `part` in its name, once it is there."""
    (found,) = until(lambda: [each for each in cluster.pods(owner) if part in each["metadata"]["name"]], f"pod {part}")
    return found


def status_when(cluster: Cluster, name: str, phase: str, converted: str = "", ready: str = "") -> dict[str, Any]:
    """The status of a service once it is so."""

    def look() -> dict[str, Any] | None:
        status: dict[str, Any] = cluster.service(name).get("status", {})
        is_so = status.get("phase") == phase and converted in ("", status["converted"]) and ready in ("", status["ready"])
        return status if is_so else None

    return until(look, f"{name} {phase} {converted} {ready}") or {}


def test_a_service_from_its_creation_to_its_deletion(cluster: Cluster, controller: str, models: Path) -> None:
    assert "created" in apply(cluster, "net")
    converting = pod(cluster, "net", "-convert-0")
    status_when(cluster, "net", "created")
    assert shown(cluster, "net")["PHASE"] == "created"

    done = cluster.run_pod(converting, models)
    assert done.returncode == 0, done.stderr
    status = status_when(cluster, "net", "running", "1/1", "0/1")
    states = [each["conversions"][0]["state"] for each in cluster.statuses("net")]
    assert list(dict.fromkeys(states)) == ["pending", "running", "success"]
    (conversion,) = status["conversions"]
    assert conversion["startTime"] <= conversion["finishTime"]
    assert (conversion["backend"], conversion["precision"]) == ("openvino", "float32")
    assert (models / conversion["artefact"]).is_file()

    cluster.set_ready(pod(cluster, "net", "-serve-0-0"))
    status_when(cluster, "net", "running", "1/1", "1/1")
    columns = shown(cluster, "net")
    assert (columns["PHASE"], columns["CONVERTED"], columns["BACKEND"], columns["READY"]) == (
        "running",
        "1/1",
        "openvino",
        "1/1",
    )
    assert "completed" in {worker["phase"] for worker in cluster.service("net")["status"]["workers"]}

    # An update: what serves goes on until its successor is ready.
    old = pod(cluster, "net", "-serve-0-0")["metadata"]["name"]
    cluster.kubectl("patch", "heteroinferenceservice", "net", "--type=merge", "-p", '{"spec":{"model":{"version":"2"}}}')
    status_when(cluster, "net", "running", "0/1")
    (again,) = until(lambda: _others(cluster, "convert", converting), "second conversion")
    cluster.run_pod(again, models)
    (new,) = until(lambda: [each for each in _serving(cluster) if each["metadata"]["name"] != old], "second serving worker")
    assert len(_serving(cluster)) == 2
    cluster.set_ready(new)
    until(lambda: len(_serving(cluster)) == 1, "end of the first serving worker")
    status_when(cluster, "net", "running", "1/1", "1/1")

    # Without replicas the service is complete.
    cluster.kubectl("patch", "heteroinferenceservice", "net", "--type=merge", "-p", '{"spec":{"replicas":0}}')
    status_when(cluster, "net", "completed", "1/1", "0/0")
    until(lambda: not _serving(cluster), "end of all serving workers")

    cluster.kubectl("delete", "heteroinferenceservice", "net", "--wait=false")
    cluster.collect_garbage()
    apply(cluster, "later")  # once its worker is there, the deletion has been handled
    pod(cluster, "later", "-convert-0")
    assert cluster.pods("net") == []


def _serving(cluster: Cluster) -> list[dict[str, Any]]:
    return [each for each in cluster.pods("net") if "-serve-" in each["metadata"]["name"]]


def _others(cluster: Cluster, kind: str, than: dict[str, Any]) -> list[dict[str, Any]]:
    name = than["metadata"]["name"]
    return [
        each for each in cluster.pods("net") if f"-{kind}-" in each["metadata"]["name"] and each["metadata"]["name"] != name
    ]


def test_a_conversion_that_fails_says_why_and_begins_anew_with_another_spec(
    cluster: Cluster, controller: str, models: Path
) -> None:
    apply(cluster, "wrong", model={"claimName": "models", "path": "nett.onnx"})
    done = cluster.run_pod(pod(cluster, "wrong", "-convert-0"), models)
    assert done.returncode == 1
    status = status_when(cluster, "wrong", "failed")
    (conversion,) = status["conversions"]
    assert (conversion["state"], conversion["isFinal"]) == ("failed", True)
    assert "did you mean 'net.onnx'?" in conversion["reason"]
    assert conversion["startTime"] <= conversion["finishTime"]
    assert shown(cluster, "wrong")["PHASE"] == "failed"
    events = cluster.request("GET", "/api/v1/namespaces/default/events")["items"]
    (warning,) = [each for each in events if each["involvedObject"]["name"] == "wrong" and each["type"] == "Warning"]
    assert (warning["reason"], warning["message"].startswith("x86-cpu: ")) == ("ConversionFailed", True)

    apply(cluster, "wrong", model={"claimName": "models", "path": "net.onnx"})
    status_when(cluster, "wrong", "created", "0/1")


def test_a_controller_that_is_started_again_goes_on(tmp_path: Path) -> None:
    """A worker ends while no controller is there: its pod tells the result."""
    with running_cluster(tmp_path) as cluster:
        with running_controller(cluster):
            apply(cluster, "again")
            name = pod(cluster, "again", "-convert-0")["metadata"]["name"]
            status_when(cluster, "again", "created")
        cluster.set_pod(name, "Succeeded")
        with running_controller(cluster):
            status = status_when(cluster, "again", "running", "1/1")
            pod(cluster, "again", "-serve-0-0")
        assert status["conversions"][0]["worker"] == name
        assert [each["metadata"]["name"] for each in cluster.pods("again") if "convert" in each["metadata"]["name"]] == [name]


def test_kubectl_shows_what_the_definition_refuses(cluster: Cluster) -> None:
    said = apply(cluster, "refused", check=False, replicas=-1)
    assert 'HeteroInferenceService "refused" is invalid: spec.replicas: -1 is less than the minimum of 0' in said


def test_the_controller_may_do_what_it_does_and_nothing_else(cluster: Cluster, controller: str) -> None:
    """After the other tests, which make it do everything."""
    (role,) = [
        each
        for each in yaml.safe_load_all((DEPLOY / "kubernetes" / "controller" / "rbac.yaml").read_text())
        if each["kind"] == "ClusterRole"
    ]
    permitted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    done = {(each.group, each.resource, each.verb) for each in cluster.requests() if each.agent.startswith(OURS)}
    assert done == permitted
