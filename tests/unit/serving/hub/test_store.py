from pathlib import Path

import pytest

from multiedge.errors import ConfigError
from multiedge.network.records import Deployment, ModelRecord, NodeState, PlanRecord, ResultRecord
from multiedge.serving.hub.authority import TokenRecord
from multiedge.serving.hub.store import FILE_NAME, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, lambda: 7.0)


def test_everything_is_there_after_a_restart(store: Store, tmp_path: Path) -> None:
    plan = PlanRecord("{}", ())
    token = TokenRecord("n", "s", "node:", 9.0)
    store.put_node(NodeState("pc", "a:1"))
    store.put_plan(plan.digest, plan)
    store.put_deployment(Deployment("vit", plan.digest))
    store.put_model(ModelRecord("vit", "h"))
    store.put_result(ResultRecord("run", "f" * 64))
    store.add_token(token)
    store.close()
    again = Store(tmp_path)
    assert again.nodes() == (NodeState("pc", "a:1"),)
    assert again.plan(plan.digest) == plan
    assert again.deployments() == (Deployment("vit", plan.digest, created_s=7.0),)
    assert [model.version for model in again.models()] == [1]
    assert again.results() == (ResultRecord("run", "f" * 64, created_s=7.0),)
    assert again.token("n") == token


def test_a_token_is_used_once_and_its_holder_is_known_from_then_on(store: Store) -> None:
    store.add_token(TokenRecord("n", "s", "node:", 9.0))
    assert not store.is_known("node:pc")
    assert store.use_token("n", "node:pc")
    assert not store.use_token("n", "node:other")
    assert store.is_known("node:pc")
    assert not store.is_known("node:other")
    assert store.token("n") == TokenRecord("n", "s", "node:", 9.0, 7.0)


def test_another_process_sees_a_token_at_once(store: Store, tmp_path: Path) -> None:
    Store(tmp_path).add_token(TokenRecord("n", "s", "node:", 9.0))
    assert store.token("n") is not None


def test_a_model_that_changed_gets_a_new_version_and_an_equal_one_does_not(store: Store) -> None:
    first = store.put_model(ModelRecord("vit", "h1", {"vit.onnx": "d"}, {"source": "timm"}))
    assert store.put_model(ModelRecord("vit", "h1", {"vit.onnx": "d"}, {"source": "timm"})) == first
    assert store.put_model(ModelRecord("vit", "h2")).version == 2
    assert store.put_model(ModelRecord("net", "h1")).version == 1


def test_a_deployment_of_the_same_name_replaces_the_earlier_one(store: Store) -> None:
    store.put_deployment(Deployment("vit", "p1"))
    store.put_deployment(Deployment("vit", "p2"))
    assert [each.plan for each in store.deployments()] == ["p2"]
    assert store.remove_deployment("vit")
    assert not store.remove_deployment("vit")


def test_a_file_of_a_later_release_is_refused(store: Store, tmp_path: Path) -> None:
    store._database.execute("PRAGMA user_version=99")
    store.close()
    with pytest.raises(ConfigError, match="is of version 99, this release reads 1; update this release"):
        Store(tmp_path)


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"x" * 5000)
    with pytest.raises(ConfigError, match="cannot be opened: file is not a database; choose another folder"):
        Store(tmp_path)
