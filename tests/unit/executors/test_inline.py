"""All stages in this process, with sessions faked: order of stages, what is recorded, and what fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multiedge.backends import stages
from multiedge.errors import ModelError, PipelineError, StageError
from multiedge.executors.inline import InlineExecutor, InlineOptions
from multiedge.plan import CALLER, Transfer
from tests.builders.flow import FakeSession, chain_manifest, vector
from tests.builders.pipelines import synthetic_fleet


@pytest.fixture
def sessions(monkeypatch):
    """A session per stage that adds its number plus 1, in the order in which they were opened."""
    opened = []

    def open_stage(backend, folder, part, device):
        number = len(opened)
        opened.append(FakeSession(lambda tensors: {f"t{number + 1}": tensors[f"t{number}"] + number + 1}))
        return opened[-1]

    monkeypatch.setattr(stages, "open_stage", open_stage)
    return opened


def executor(manifest=None, **options):
    return InlineExecutor(manifest or chain_manifest("d0", "d1"), synthetic_fleet(2), InlineOptions(**options))


def test_an_item_goes_through_every_stage_in_submit(sessions):
    with executor() as running:
        running.submit(4, {"t0": vector(0)})
        assert running.unanswered == 1
        assert running.has_room
        (result,) = running.poll(0)
        assert running.unanswered == 0
    assert result.item == 4
    assert result.issued_s <= result.done_s
    assert list(result.require()) == ["t2"]
    np.testing.assert_array_equal(result.require()["t2"], vector(3))


def test_results_come_in_the_order_of_submission(sessions):
    with executor() as running:
        for number in (3, 1, 2):
            running.submit(number, {"t0": vector(number)})
        assert [result.item for result in running.poll(0)] == [3, 1, 2]
        assert running.poll(0) == []


def test_a_tensor_that_skips_a_stage_is_kept_for_the_one_that_reads_it(sessions, monkeypatch):
    chain = chain_manifest("d0", "d1")
    skip = replace(chain, transfers=(*chain.transfers, Transfer(CALLER, 1, ("t0",), 16)))
    with executor(skip) as running:
        sessions[1].compute = lambda tensors: {"t2": tensors["t1"] + 10 * tensors["t0"]}
        running.submit(0, {"t0": vector(2)})
        np.testing.assert_array_equal(running.poll(0)[0].require()["t2"], vector(23))


def test_a_stage_that_fails_fails_its_item_only_and_later_stages_do_not_run(sessions):
    with executor() as running:
        ran = []
        sessions[0].compute = lambda tensors: {"t1": tensors["t0"]}

        def refuse_seven(tensors):
            ran.append(float(tensors["t1"][0]))
            if ran[-1] == 7:
                raise ModelError("seven is\n refused")
            return {"t2": tensors["t1"]}

        sessions[1].compute = refuse_seven
        for value in (7, 8):
            running.submit(value, {"t0": vector(value)})
        bad, good = running.poll(0)
    assert (bad.tensors, bad.error) == (None, "stage 1 on 'd1' failed: ModelError: seven is refused")
    assert good.error == ""
    with pytest.raises(StageError, match="item 7: stage 1 on 'd1' failed"):
        bad.require()


def test_inputs_are_checked_by_name(sessions):
    with executor() as running:
        with pytest.raises(StageError, match="item 0: input 't0' is missing; known: x"):
            running.submit(0, {"x": vector(1)})
        with pytest.raises(StageError, match="item 0: unknown input 'x'; known: t0"):
            running.submit(0, {"t0": vector(1), "x": vector(1)})


def test_events_are_loads_and_computations(sessions):
    with executor() as running:
        running.submit(0, {"t0": vector(0)})
        running.poll(0)
        running.mark()
        running.submit(1, {"t0": vector(0)})
        events = running.record().events
    assert [(event.kind, event.item, event.stage, event.device) for event in events] == [
        ("load", -1, 0, "d0"),
        ("load", -1, 1, "d1"),
        ("compute", 1, 0, "d0"),
        ("compute", 1, 1, "d1"),
    ]


def test_without_record_events_only_loads_are_kept(sessions):
    with executor(record_events=False) as running:
        running.submit(0, {"t0": vector(0)})
        assert {event.kind for event in running.record().events} == {"load"}


def test_the_results_hold_its_own_options_and_what_computed_each_device(sessions):
    with executor(seed=3) as running:
        record = running.record()
    assert [(ran.stage, ran.device, ran.backend, ran.precision) for ran in record.runtimes] == [
        (0, "d0", "synthetic", "float32"),
        (1, "d1", "synthetic", "float32"),
    ]
    assert record.settings == {
        "seed": 3,
        "warmup_items": 2,
        "record_events": True,
        "backends": {},
        "executor": "inline",
        "transport": "none",
        "emulation": "none",
        "providers": {"d0": "fake", "d1": "fake"},
    }


def test_a_stage_that_cannot_start_is_named_and_the_others_are_closed(sessions, monkeypatch):
    opens = stages.open_stage

    def second_fails(backend, folder, part, device):
        if sessions:
            raise ModelError("no such model file")
        return opens(backend, folder, part, device)

    monkeypatch.setattr(stages, "open_stage", second_fails)
    running = executor()
    with pytest.raises(PipelineError, match="stage 1 on 'd1' could not start: no such model file"):
        running.start()
    assert sessions[0].closed


def test_a_device_that_the_fleet_does_not_have_is_named(sessions):
    with pytest.raises(PipelineError, match="stage 0 on 'd9' could not start: device 'd9' is not in"):
        executor(chain_manifest("d9")).start()


def test_the_end_closes_every_session(sessions):
    with executor():
        pass
    assert [session.closed for session in sessions] == [True, True]
