from multiedge.executors.flow.stage_clock import ENOUGH, SAMPLES, StageClock, StageDeadlines, percentile_99


def clock_after(seconds, times=ENOUGH, **changes):
    clock = StageClock(StageDeadlines(**{"factor": 10.0, "floor_s": 2.0, "first_s": 60.0, **changes}), {1: 9.0})
    for _ in range(times):
        clock.saw(0, "d0", seconds)
    return clock


def test_an_unknown_stage_may_take_as_long_as_a_first_item():
    assert clock_after(1.0, times=0).limit_s(0, "d0") == 60.0


def test_a_stage_that_the_plan_expects_to_be_slow_may_take_a_multiple_of_that():
    assert clock_after(1.0).limit_s(1, "d0") == 90.0


def test_observed_times_count_once_there_are_enough():
    assert clock_after(1.0, times=ENOUGH - 1).limit_s(0, "d0") == 60.0
    assert clock_after(1.0, times=ENOUGH).limit_s(0, "d0") == 10.0


def test_no_limit_is_below_the_floor():
    assert clock_after(0.001).limit_s(0, "d0") == 2.0


def test_observed_times_of_one_device_say_nothing_about_another():
    assert clock_after(1.0).limit_s(0, "d1") == 60.0


def test_a_limit_that_was_exceeded_doubles_each_time():
    clock = clock_after(1.0)
    clock.was_slow(0)
    clock.was_slow(0)
    assert clock.limit_s(0, "d0") == 40.0
    assert clock.limit_s(1, "d0") == 90.0


def test_old_times_are_forgotten():
    clock = clock_after(9.0)
    for _ in range(SAMPLES):
        clock.saw(0, "d0", 1.0)
    assert clock.limit_s(0, "d0") == 10.0


def test_the_percentile_is_one_of_the_times():
    assert percentile_99(tuple(map(float, range(1, 101)))) == 99.0
    assert percentile_99((3.0, 1.0, 2.0)) == 3.0


def test_a_stage_whose_items_differ_has_its_first_limit_for_good():
    clock = StageClock(StageDeadlines(factor=10.0, floor_s=2.0, first_s=60.0), {}, uneven={0})
    for _ in range(SAMPLES):
        clock.saw(0, "d0", 0.01)
        clock.saw(1, "d0", 0.01)
    assert (clock.limit_s(0, "d0"), clock.limit_s(1, "d0")) == (60.0, 2.0)
