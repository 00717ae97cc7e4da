"""A pipeline on processors that its stages share, against rates that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from multiedge.plan import Path
from multiedge.planning.shared_host import Admission, Host, Work, competing_threads, outcome

MANY = Admission(items=10_000, in_flight=20)


def chain(*works: tuple[float, float], threads: int = 1) -> tuple[Work, ...]:
    """Stages in a row, each on a device of its own, of (computing, waiting) seconds."""
    return tuple(
        Work((f"device {number}",), computing_s, waiting_s, threads, (number - 1,) if number else ())
        for number, (computing_s, waiting_s) in enumerate(works)
    )


def fps(works: Sequence[Work], cores: float, admission: Admission = MANY, other_threads: float = 0.0) -> float:
    return outcome(tuple(works), admission, Host(cores, other_threads)).fps


@pytest.mark.parametrize(
    ("works", "cores", "expected"),
    [
        pytest.param(chain((0.5, 0)), 1, 2.0, id="one-stage"),
        pytest.param(chain((1, 0), (1, 0)), 2, 1.0, id="two-stages-with-a-processor-each"),
        pytest.param(chain((1, 0), (2, 0)), 8, 0.5, id="the-slower-stage-limits"),
        pytest.param(chain((1, 0), (1, 0), (1, 0)), 2, 2 / 3, id="three-stages-share-two-processors"),
        pytest.param(chain((1, 0), (1, 0), (1, 0)), 1, 1 / 3, id="three-stages-share-one"),
        pytest.param(chain((1, 3), (1, 3)), 2, 0.25, id="slow-devices-need-a-processor-at-times"),
        pytest.param(chain((1, 1), (1, 1)), 1, 1 / 3, id="slow-devices-that-compute-together-delay-each-other"),
        pytest.param(chain((1, 0), threads=4), 2, 0.5, id="four-threads-on-two-processors"),
    ],
)
def test_processors_are_shared(works: Sequence[Work], cores: float, expected: float) -> None:
    assert fps(works, cores) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("cores", "expected"), [(2, 1.5), (1, 0.75)])
def test_items_share_processors_on_the_paths_that_they_take(cores: float, expected: float) -> None:
    # Two of three items take a second on a, the others two seconds on b: 4/3 s of processor time for an item.
    works = (Work(("a",), 1.0), Work(("b",), 2.0))
    result = outcome(works, MANY, Host(cores), (Path((0,), 1.0), Path((1,), 0.5)))
    assert result.fps == pytest.approx(expected, rel=0.02)


def test_stages_wait_for_those_before_them_on_their_path_only() -> None:
    works = (Work(("a",), 1.0), Work(("b",), 1.0), Work(("c",), 1.0, after=(0, 1)))
    assert outcome(works, Admission(1, 1), Host(4), (Path((0, 2), 1.0), Path((1, 2), 1.0))).fps == pytest.approx(0.5)


def test_replicas_take_items_in_turn() -> None:
    works = (Work(("a", "b"), 1.0),)
    assert fps(works, 2) == pytest.approx(2.0, rel=0.01)
    assert fps(works, 1) == pytest.approx(1.0, rel=0.01)


def test_stages_of_one_device_take_turns() -> None:
    assert fps((Work(("a",), 1.0), Work(("a",), 2.0, after=(0,))), 4) == pytest.approx(1 / 3, rel=0.01)


def test_a_delay_holds_up_an_item_and_not_the_next_one() -> None:
    works = (*chain((1, 0)), Work((), 0.0, 5.0, after=(0,)))
    assert fps(works, 1) == pytest.approx(1.0, rel=0.01)
    assert fps(works, 1, Admission(1, 1)) == pytest.approx(1 / 6)


def test_few_items_pay_for_filling_the_pipeline() -> None:
    assert fps(chain((1, 0), (1, 0)), 2, Admission(4, 20)) == pytest.approx(4 / 5)


def test_one_item_at_a_time_takes_the_sum_of_the_stages() -> None:
    assert fps(chain((1, 0), (2, 0)), 2, Admission(10, 1, in_groups=True)) == pytest.approx(1 / 3)


def test_a_group_waits_for_the_answers_of_the_one_before() -> None:
    assert fps(chain((1, 0), (1, 0)), 2, Admission(800, 8, in_groups=True)) == pytest.approx(8 / 9)


def test_parallel_stages_share_and_join() -> None:
    works = (Work(("a",), 1.0), Work(("b",), 1.0), Work(("c",), 1.0, after=(0, 1)))
    assert fps(works, 3, Admission(1, 1)) == pytest.approx(1 / 2)
    assert fps(works, 1, Admission(1, 1)) == pytest.approx(1 / 3)


def test_other_work_competes_as_a_thread_does() -> None:
    result = outcome(chain((1, 0)), MANY, Host(1, other_threads=1.0))
    assert (result.fps, result.other_cores) == (pytest.approx(0.5, rel=0.01), pytest.approx(0.5))


def test_other_work_beside_free_processors_costs_nothing() -> None:
    result = outcome(chain((1, 0)), MANY, Host(2, other_threads=1.0))
    assert (result.fps, result.other_cores) == (pytest.approx(1.0, rel=0.01), pytest.approx(1.0))


@pytest.mark.parametrize("threads", [0.0, 0.3, 1.0, 2.5, 200.0])
def test_the_threads_of_other_work_follow_from_its_processor_time(threads: float) -> None:
    works = chain((1, 0), (0.5, 0.5), (1, 0))
    has = outcome(works, MANY, Host(2, threads)).other_cores
    assert competing_threads(works, MANY, 2, has) == pytest.approx(threads, rel=0.01, abs=0.05)


def test_a_pace_stretches_the_wait_of_a_slow_device_too() -> None:
    assert Work(("a",), 1.0, 3.0).at_pace(0.5) == Work(("a",), 2.0, 6.0)


@pytest.mark.parametrize(
    ("threads", "other", "expected"),
    [
        pytest.param(1, 0.0, 1.0, id="alone"),
        pytest.param(2, 0.0, 1 / 1.5, id="beside another thread"),
        pytest.param(1, 0.5, 1 / 1.25, id="beside half a thread"),
        pytest.param(3, 0.0, 2 / 3 / 1.5 / 1.2, id="in turns and beside"),
        pytest.param(2, 0.5, 2 / 2.5 / 1.5 / 1.1, id="half a thread too many"),
    ],
)
def test_threads_beside_each_other_and_in_turns_get_less_done(threads: int, other: float, expected: float) -> None:
    assert Host(2, other, beside=1.5, in_turns=1.2).rate(threads) == pytest.approx(expected)


def test_other_work_has_its_share_of_the_processors_however_much_it_gets_done() -> None:
    works = (Work(("a",), 1.0),)
    slowed, plain = (outcome(works, Admission(10, 1), Host(1, 1.0, in_turns=factor)) for factor in (1.5, 1.0))
    assert slowed.other_cores == plain.other_cores == pytest.approx(0.5)
    assert slowed.fps == pytest.approx(plain.fps / 1.5)
