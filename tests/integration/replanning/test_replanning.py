"""A running pipeline that plans anew when its fleet changes: other parts, the same answers, nothing lost."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import multiedge as me
from multiedge.errors import ChangedError
from multiedge.executors import open_pipeline
from multiedge.files import owner
from multiedge.fleet import Link
from multiedge.replanning import replanner
from multiedge.replanning.replanner import FOLDER, Replanner
from multiedge.trace import DeviceEvent, LinkEvent, Trace
from tests.builders.onnx_models import layers, saved

WIDTH, LAYERS, ITEMS = 64, 8, 300
FAST = Link(1e9, 0.0)
FLEET = me.Fleet(
    (me.Device("a", speed=1.0), me.Device("b", speed=1.0), me.Device("c", speed=1.0)),
    {("a", "b"): FAST, ("b", "c"): FAST, ("a", "c"): FAST},
    name="three",
)


@pytest.fixture
def parts(tmp_path):
    """A chain of equal layers in a folder, cut in three."""
    model = layers(LAYERS, WIDTH)
    weights = [onnx.numpy_helper.to_array(weight) for weight in model.graph.initializer]
    path = saved(model, tmp_path / "chain.onnx")
    read = me.read_graph(path)
    profile = me.profile_model(read, FLEET)
    plan = me.plan_by_hand(profile, FLEET, [me.Stage.span("a", 0, 3), me.Stage.span("b", 3, 6), me.Stage.span("c", 6, LAYERS)])
    return me.write_parts(read, plan, tmp_path / "parts"), weights


def expected(x, weights):
    for weight in weights:
        x = x @ weight
    return x


def run(manifest, weights, trace):
    rng = np.random.default_rng(1)
    items = [rng.standard_normal((1, WIDTH)).astype(np.float32) for _ in range(ITEMS)]

    def slowly():
        # Paced by the caller, so that the trace's events fall into the run.
        for item in items:
            time.sleep(0.005)
            yield {"x": item}

    with (
        Replanner(manifest, FLEET) as replan,
        open_pipeline(manifest, FLEET, trace=trace, replan=replan) as pipeline,
    ):
        results, measurements = pipeline.map(slowly())
    assert [result.item for result in results] == list(range(ITEMS))
    for item, result in zip(items, results, strict=True):
        np.testing.assert_allclose(result.require()["y"], expected(item, weights), rtol=1e-4, atol=1e-6)
    return measurements


def test_a_device_that_leaves_is_planned_around_and_used_again(parts):
    manifest, weights = parts
    trace = Trace((DeviceEvent(0.3, "b", "leave"), DeviceEvent(0.9, "b", "return")))
    measurements = run(manifest, weights, trace)
    kinds = [fault.kind for fault in measurements.faults]
    assert kinds[0] == "leave"
    assert all(fault.recovered_s is not None for fault in measurements.faults if fault.kind == "leave")
    assert any(event.kind == "replan" for event in measurements.events)
    during = {event.device for event in measurements.events if event.kind == "compute" and 0.7 < event.start_s < 0.85}
    assert "b" not in during


@pytest.mark.slow
def test_a_link_that_fades_is_avoided(parts):
    manifest, weights = parts
    slow = 2e3
    trace = Trace(tuple(LinkEvent(0.2, ("a", other), bandwidth_bytes_per_s=slow) for other in ("b", "c")))
    measurements = run(manifest, weights, trace)
    late = [event for event in measurements.events if event.kind == "transfer" and event.start_s > 1.2 and event.item >= 0]
    assert not [event for event in late if {event.device, event.peer} in ({"a", "b"}, {"a", "c"})]


def test_parts_made_on_the_way_are_removed(parts, tmp_path):
    manifest, _ = parts
    with Replanner(manifest, FLEET) as replan:
        made = replan(FLEET.without("b"))
        assert made.directory != manifest.directory
        assert {part.device for part in made.parts} <= {"a", "c"}
    assert not list((tmp_path / "parts").glob(".replan*"))


def test_a_plan_that_is_nearly_as_good_stays(parts):
    manifest, _ = parts
    slightly = replace(FLEET, links={pair: Link(0.99e9, 0.0) for pair in FLEET.links})
    with Replanner(manifest, FLEET) as replan:
        best = replan(FLEET)
        assert replan(slightly) is best


def test_a_run_does_not_remove_the_parts_of_another(parts, tmp_path):
    manifest, _ = parts
    with Replanner(manifest, FLEET) as one:
        made = one(FLEET.without("b"))
        with Replanner(manifest, FLEET) as other:
            also_made = other(FLEET.without("c"))
            assert {part.device for part in also_made.parts} <= {"a", "b"}
        assert me.read_manifest(made.directory) == made
        assert not Path(also_made.directory).exists()
    assert not (tmp_path / "parts" / FOLDER).exists()


def test_parts_of_a_run_that_was_killed_are_removed_by_the_next_one(parts, tmp_path):
    manifest, _ = parts
    namespace = owner().partition(".")[2]
    left = tmp_path / "parts" / FOLDER / f"multiedge-999999999.{namespace}-x"
    left.mkdir(parents=True)
    with Replanner(manifest, FLEET) as replan:
        replan(FLEET.without("b"))
        assert not left.exists()


def test_a_plan_that_cannot_be_written_leaves_the_one_in_force(parts, monkeypatch):
    manifest, _ = parts

    def full(*arguments):
        raise OSError("no space left on device")

    with Replanner(manifest, FLEET) as replan:
        with monkeypatch.context() as patch:
            patch.setattr(replanner, "write_parts", full)
            with pytest.raises(OSError, match="no space left"):
                replan(FLEET.without("b"))
        made = replan(FLEET.without("b"))
        assert {part.device for part in made.parts} <= {"a", "c"}


def test_a_run_whose_new_plans_cannot_be_written_goes_on_with_its_stages(parts, tmp_path):
    manifest, weights = parts
    (tmp_path / "parts" / FOLDER).write_text("no folder")
    measurements = run(manifest, weights, Trace((DeviceEvent(0.3, "b", "leave"),)))
    assert all(fault.recovered_s is not None for fault in measurements.faults)


def test_no_parts_are_linked_to_weights_that_have_changed(parts):
    manifest, _ = parts
    with Replanner(manifest, FLEET) as replan:
        with open(manifest.model, "r+b") as model:
            model.write(model.read(1))
        with pytest.raises(ChangedError, match="has changed since the plan was written"):
            replan(FLEET.without("b"))
