"""`multiedge deploy` and `multiedge fleet` against a hub over loopback, and nodes that load nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("cryptography")

from multiedge.cli import main
from multiedge.network.identity import ENVIRONMENT
from multiedge.network.records import LinkState, NodeState
from multiedge.onnx_io import read_runnable
from tests.builders.hubs import FakeNode, TestHub, running_hub
from tests.builders.onnx_models import layers, saved

MIB = 1 << 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(layers(8, 128), tmp_path_factory.mktemp("models") / "chain.onnx")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestHub]:
    with running_hub(tmp_path / "hub") as hub:
        monkeypatch.setenv(ENVIRONMENT, str(hub.folder / "client"))
        yield hub


@contextmanager
def _nodes(hub: TestHub, **failures: str) -> Iterator[list[FakeNode]]:
    """Nodes 'a' and 'b', each of which holds a part of the model."""
    with ExitStack() as stack:
        nodes = []
        for name, peer in (("a", "b"), ("b", "a")):
            limit = 90 * MIB
            state = NodeState(
                name, f"127.0.0.1:{len(nodes) + 1}", limit, limit, flops_per_s=1e7, links=(LinkState(peer, 1e9, 1e-4),)
            )
            nodes.append(stack.enter_context(FakeNode(hub.node(name), state, failures.get(name, ""))))
        yield nodes


def _deploy(hub: TestHub, *words: str | Path) -> int:
    return main(["deploy", "--hub", hub.address, "--reference", "declared", *map(str, words)])


def test_a_model_is_planned_sent_and_loaded_by_one_command(hub, model, tmp_path, capsys):
    with _nodes(hub) as nodes:
        assert _deploy(hub, model, "-o", tmp_path / "parts", "--json") == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["deployment"]["phase"] == "ready"
        assert shown["deployment"]["expected"]["items_per_s"] == pytest.approx(shown["plan"]["fps_bound"])
        assert {place["node"] for place in shown["deployment"]["places"]} == {"a", "b"}
        assert shown["sent_bytes"] > model.stat().st_size
        weights = 8 * 128 * 128 * 4
        assert weights < sum(node.fetched_bytes for node in nodes) < weights + 20_000
    assert len(read_runnable(tmp_path / "parts").parts) == 2


def test_the_same_model_again_sends_no_weights(hub, model, tmp_path, capsys):
    with _nodes(hub) as nodes:
        assert _deploy(hub, model, "--json") == 0
        before = [node.fetched_bytes for node in nodes]
        capsys.readouterr()
        assert _deploy(hub, model, "--name", "second", "--json") == 0
        assert json.loads(capsys.readouterr().out)["sent_bytes"] == 0
        assert [node.fetched_bytes for node in nodes] == before
    assert not list(model.parent.glob("multiedge-*"))
    assert [record.version for record in hub.client().models()] == [1]


def test_it_says_what_to_expect(hub, model, tmp_path, capsys):
    with _nodes(hub):
        assert _deploy(hub, model, "-o", tmp_path / "parts") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "chain is ready: 2 stages on a, b"
    assert lines[2].startswith("expected: at most ")
    assert [line.split(":")[0] for line in lines[3:5]] == ["memory of a", "memory of b"]
    assert lines[-1].startswith(f"run it: multiedge run {tmp_path / 'parts'} --executor fleet --hub {hub.address}")


def test_a_declared_device_takes_the_place_of_what_was_measured(hub, model, tmp_path, capsys):
    devices = tmp_path / "devices.yaml"
    devices.write_text("devices: [{name: a, flops: 1GFLOPS}, {name: elsewhere, flops: 9GFLOPS}]\n")
    with _nodes(hub):
        assert _deploy(hub, model, "--devices", devices, "--json") == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert [stage["device"] for stage in plan["stages"]] == ["a"]


def test_a_node_that_cannot_load_is_named(hub, model, capsys, monkeypatch):
    monkeypatch.setattr("multiedge.commands._bringing.FAILED_S", 0.1)
    with _nodes(hub, b="no space left"):
        assert _deploy(hub, model) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("multiedge deploy: error: deployment 'chain' failed: node 'b', stage ")
    assert "no space left; nodes go on trying, see: multiedge fleet" in error


def test_a_plan_for_other_devices_is_refused(hub, model, tmp_path, capsys):
    with _nodes(hub):
        assert _deploy(hub, model, "-o", tmp_path / "parts") == 0
    capsys.readouterr()
    with running_hub(tmp_path / "other", tls=False) as other:
        other.client_of(None).heartbeat(NodeState("c", "127.0.0.1:1"))
        assert main(["deploy", str(tmp_path / "parts"), "--hub", other.address, "--identity", str(hub.folder / "client")]) == 1
        assert "TLS: answered without TLS" in capsys.readouterr().err


def test_a_deployment_is_removed(hub, model, capsys):
    with _nodes(hub):
        assert _deploy(hub, model) == 0
        assert main(["deploy", "--hub", hub.address, "--remove", "chain"]) == 0
        assert main(["deploy", "--hub", hub.address, "--remove", "chain"]) == 1
    assert "deployment 'chain' does not exist; there are: none" in capsys.readouterr().err


def test_without_nodes_the_remedy_is_named(hub, model, capsys):
    assert _deploy(hub, model) == 1
    assert "expected at least one node, got none; start one with: multiedge node" in capsys.readouterr().err


def test_the_fleet_shows_nodes_links_and_deployments(hub, model, capsys):
    with _nodes(hub):
        assert _deploy(hub, model) == 0
        capsys.readouterr()
        assert main(["fleet", "--hub", hub.address]) == 0
        shown = capsys.readouterr().out
        assert main(["fleet", "--hub", hub.address, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [node["name"] for node in data["nodes"]] == ["a", "b"]
    assert [(each["name"], each["phase"]) for each in data["deployments"]] == [("chain", "ready")]
    assert "2 nodes" in shown.splitlines()[0]
    for word in ("chain 1", "8,000", "0.1", "ready", "not shown in 80 columns"):
        assert word in shown


def test_a_client_joins_with_a_token_for_its_name(hub, tmp_path, capsys):
    words = ["fleet", "--hub", hub.address, "--identity", str(tmp_path / "me"), "--name", "me", "--join"]
    assert main([*words, hub.token("client:me")]) == 0
    assert (tmp_path / "me" / "key.pem").exists()
    assert main([*words, hub.token("client:me")]) == 1
    assert "holds an identity already" in capsys.readouterr().err


def test_results_and_models_are_kept_listed_and_removed(hub, model, tmp_path, capsys):
    (tmp_path / "run.json").write_text('{"fps": 3}')
    with _nodes(hub):
        assert _deploy(hub, model) == 0
    capsys.readouterr()
    assert main(["fleet", "--hub", hub.address, "--keep", str(tmp_path / "run.json")]) == 0
    shown = capsys.readouterr().out
    assert "latest results" in shown
    assert "model hash" in shown
    (result,) = hub.client().results()
    assert b"".join(hub.client().read(result.sha256, 0, 10)) == b'{"fps": 3}'
    assert main(["fleet", "--hub", hub.address, "--remove-model", "chain:1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["models"], [each["name"] for each in data["results"]]) == ([], ["run"])
    assert main(["fleet", "--hub", hub.address, "--remove-model", "chain:1"]) == 1
    assert main(["fleet", "--hub", hub.address, "--remove-model", "chain"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "model 'chain': there is no version 1" in lines[0]
    assert lines[1].endswith("--remove-model: expected NAME:VERSION such as vit:1, got 'chain'")


def test_the_plans_are_shown_without_a_deployment(hub, model, tmp_path, capsys):
    with _nodes(hub):
        assert _deploy(hub, model, "--show-plans", "--source", "a", "-o", tmp_path / "pictures", "--json") == 0
    table = json.loads(capsys.readouterr().out)
    assert {"fastest"} <= {row["name"] for row in table["rows"]}
    assert table["absent"]["local"] == "is the plan of 'quickest'"
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["pareto-latency.svg"]
    assert hub.client().deployments() == ()


def test_a_table_is_deployed_with_all_of_its_plans_and_weights_are_sent_once(hub, model, tmp_path, capsys):
    with _nodes(hub) as nodes:
        words = ("--rows", "fastest,local,fallback", "--source", "b", "--accuracy", "0.9", "-o", tmp_path / "parts")
        assert _deploy(hub, model, *words, "--json") == 0
        deployment = json.loads(capsys.readouterr().out)["deployment"]
        assert deployment["phase"] == "ready"
        rows = deployment["rows"]
        assert [row["name"] for row in rows] == ["fastest", "local"]
        assert rows[0]["plan"] == deployment["plan"]
        assert {row["phase"] for row in rows} == {"ready"}
        assert all(row["expected"]["accuracy"] == 0.9 for row in rows)
        assert all(row["first"] == row["nodes"] == ["b"] for row in rows if row["kind"] == "local")
        assert sum(node.fetched_bytes for node in nodes) < 2 * 8 * 128 * 128 * 4 + 40_000
        assert main(["fleet", "--hub", hub.address]) == 0
    shown = capsys.readouterr().out
    assert "plans of chain" in shown
    assert all(row["name"] in shown for row in rows)
    assert {path.name for path in (tmp_path / "parts").iterdir() if path.is_dir()} == {row["name"] for row in rows}


def test_a_variant_of_the_model_is_a_row_with_parts_of_its_own(hub, model, tmp_path, capsys):
    variant = saved(layers(4, 128), tmp_path / "shorter.onnx")
    with _nodes(hub):
        assert _deploy(hub, model, "--rows", "fastest", "--variant", f"short={variant}", "--json") == 0
        rows = json.loads(capsys.readouterr().out)["deployment"]["rows"]
        assert [(row["name"], row["kind"], row["phase"]) for row in rows] == [
            ("fastest", "fastest", "ready"),
            ("short", "precision", "ready"),
        ]
        wider = saved(layers(4, 256), tmp_path / "wider.onnx")
        assert _deploy(hub, model, "--rows", "fastest", "--variant", f"wide={wider}") == 1
    assert "wider.onnx: input 'x' has shape [1, 256], which [1, 128] does not fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--accuracy", "0.9"), "--accuracy: has no effect without --table or --rows or --show-plans"),
        (("--table", "--accuracy", "90"), "--accuracy: expected a share from 0 to 1 such as 0.91 or float16=0.9, got '90'"),
        (("--rows", "fastest,remote"), "rows: unknown kind 'remote'"),
        (("--source", "c"), "device 'c' is not in fleet of hub"),
        (("--tokenizer", "tokenizer.json"), "--tokenizer: has no effect for chain.onnx, which has no states; leave it out"),
        (("--show-plans", "--tokenizer", "tokenizer.json"), "--tokenizer: has no effect with --show-plans"),
        (("--sequences", "2"), "--sequences: layers has no states; leave it out"),
        (("--first-on", "a", "--strategy", "flow"), "first_on, last_on: strategy 'flow' cannot keep stages on a device; use"),
    ],
)
def test_options_of_a_table_that_cannot_be_used_are_refused(hub, model, capsys, words, line):
    with _nodes(hub):
        assert _deploy(hub, model, *words) == 1
    assert line in capsys.readouterr().err
