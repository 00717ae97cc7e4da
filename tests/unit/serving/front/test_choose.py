from dataclasses import replace

import pytest

from multiedge.network.records import PlanRow
from multiedge.serving.front.bounds import Bounds, Otherwise, Prefer
from multiedge.serving.front.choose import Cause, Choice, Condition, Refusal, RowState, Why, choose
from tests.builders.rows import FASTEST, FLOAT16, LOCAL, PHONE, QUICKEST, TABLE, row

NEAREST = Otherwise.NEAREST
AT_HOME = Condition(PHONE)


def _chosen(bounds: Bounds, condition: Condition = AT_HOME, rows: tuple[PlanRow, ...] = TABLE) -> tuple[str, Why]:
    choice = choose(rows, bounds, condition)
    assert isinstance(choice, Choice), str(choice)
    return choice.row.name, choice.why


def _refused(bounds: Bounds, condition: Condition = AT_HOME, rows: tuple[PlanRow, ...] = TABLE) -> Refusal:
    refusal = choose(rows, bounds, condition)
    assert isinstance(refusal, Refusal)
    return refusal


@pytest.mark.parametrize(
    ("bounds", "name"),
    [
        (Bounds(), "float16"),
        (Bounds(min_accuracy=0.5), "quickest"),
        (Bounds(max_energy_j=3.5), "float16"),
        (Bounds(max_energy_j=3.5, min_accuracy=0.9), "local"),
        (Bounds(prefer=Prefer.ENERGY), "local"),
        (Bounds(prefer=Prefer.ENERGY, max_latency_s=0.25), "float16"),
        (Bounds(prefer=Prefer.ACCURACY), "quickest"),
        (Bounds(first_on_device=True), "quickest"),
        (Bounds(last_on_device=True), "local"),
        (Bounds(first_on_device=True, last_on_device=True), "local"),
        (Bounds(offload=False), "local"),
        (Bounds(row="fastest"), "fastest"),
    ],
)
def test_the_preferred_of_the_plans_that_keep_all_bounds_answers(bounds: Bounds, name: str) -> None:
    assert _chosen(bounds) == (name, Why.PREFERRED)


def test_requests_in_the_queue_of_a_plan_count_as_latency() -> None:
    waiting = replace(AT_HOME, rows={"float16": RowState(waiting=12), "quickest": RowState(waiting=3)})
    assert _chosen(Bounds(), waiting) == ("fastest", Why.PREFERRED)
    assert _chosen(Bounds(max_latency_s=0.19), replace(waiting, rows={**waiting.rows, "float16": RowState(waiting=5)})) == (
        "float16",
        Why.PREFERRED,
    )


def test_the_latency_that_was_seen_takes_the_place_of_the_expected_one() -> None:
    slow = replace(AT_HOME, rows={"float16": RowState(seen_latency_s=0.5), "quickest": RowState(seen_latency_s=0.3)})
    assert _chosen(Bounds(), slow) == ("fastest", Why.PREFERRED)


def test_a_queue_of_unknown_rate_has_no_known_latency() -> None:
    queued = replace(AT_HOME, rows={"only": RowState(waiting=1)})
    assert "offers unknown ms" in str(_refused(Bounds(max_latency_s=9.0), queued, (row("only", items_per_s=None),)))


@pytest.mark.parametrize(
    ("battery", "of_device", "name"),
    [(0.1, None, "float16"), (None, 0.1, "float16"), (0.9, 0.1, "quickest"), (0.2, None, "quickest")],
)
def test_a_low_battery_prefers_what_takes_least_of_the_calling_device(
    battery: float | None, of_device: float | None, name: str
) -> None:
    rows = (*TABLE[:3], replace(TABLE[3], expected=replace(TABLE[3].expected, latency_s=0.3)))
    chosen, why = _chosen(Bounds(battery=battery), replace(AT_HOME, battery=of_device), rows)
    assert chosen == name
    assert (why is Why.BATTERY) == (name == "float16")


def test_a_low_battery_breaks_no_bound() -> None:
    assert _chosen(Bounds(battery=0.05, min_accuracy=0.9, max_latency_s=0.15)) == ("quickest", Why.BATTERY)


def test_without_stated_power_a_low_battery_spares_the_time_of_the_device() -> None:
    unpowered = tuple(
        replace(each, expected=replace(each.expected, work=tuple(replace(work, energy_j=None) for work in each.expected.work)))
        for each in (FASTEST, QUICKEST)
    )
    assert _chosen(Bounds(battery=0.1), rows=unpowered) == ("fastest", Why.BATTERY)


@pytest.mark.parametrize(
    ("bounds", "condition", "name"),
    [
        (Bounds(max_latency_s=0.05), AT_HOME, "float16"),
        (Bounds(max_latency_s=0.05, min_accuracy=0.9), AT_HOME, "quickest"),
        (Bounds(max_latency_s=0.05, max_energy_j=0.5), AT_HOME, "float16"),
        (Bounds(max_latency_s=0.05, offload=False), AT_HOME, "local"),
        (Bounds(max_latency_s=0.05), replace(AT_HOME, may_offload=False), "local"),
        (Bounds(max_latency_s=0.05), Condition(rows={"float16": RowState(False)}), "quickest"),
    ],
)
def test_the_nearest_plan_answers_where_the_request_allows_it(bounds: Bounds, condition: Condition, name: str) -> None:
    assert _chosen(replace(bounds, otherwise=NEAREST), condition) == (name, Why.NEAREST)


def test_a_refusal_says_what_the_nearest_plan_offers_and_which_bound_to_change() -> None:
    assert str(_refused(Bounds(max_latency_s=0.05))) == (
        "no plan keeps max_latency_ms=50: the nearest, 'float16', offers 80 ms; set max_latency_ms=80, or otherwise=nearest"
    )
    assert str(_refused(Bounds(max_latency_s=0.05, min_accuracy=0.95, row="quickest"))).startswith(
        "no plan keeps max_latency_ms=50 and min_accuracy=0.95: the nearest, 'quickest', offers 100 ms and accuracy 0.9;"
        " set max_latency_ms=100 and set min_accuracy=0.9, or otherwise=nearest; 'fastest' "
    )


def test_a_bound_on_what_is_not_known_is_not_kept() -> None:
    refusal = str(_refused(Bounds(min_accuracy=0.5, row="float16")))
    assert "'float16', offers accuracy unknown; leave min_accuracy out, or" in refusal


@pytest.mark.parametrize(
    ("bounds", "condition", "cause"),
    [
        (Bounds(offload=False), Condition(), Cause.REMOTE),
        (Bounds(), Condition("desk", may_offload=False), Cause.REMOTE),
        (Bounds(first_on_device=True), Condition("tablet"), Cause.FIRST),
        (Bounds(last_on_device=True), Condition("tablet"), Cause.LAST),
        (Bounds(row="none"), AT_HOME, Cause.NOT_ASKED),
        (Bounds(), Condition(rows={each.name: RowState(False, "node 'desk' is lost") for each in TABLE}), Cause.UNUSABLE),
    ],
)
def test_no_plan_is_near_that_may_not_answer_at_all(bounds: Bounds, condition: Condition, cause: Cause) -> None:
    refusal = _refused(replace(bounds, otherwise=NEAREST), condition)
    assert refusal.nearest is None
    assert {each.cause for each in refusal.excluded} == {cause}


def test_a_refusal_names_the_reason_of_each_plan_up_to_four() -> None:
    lost = Condition(PHONE, rows={"fastest": RowState(False, "node 'desk' is lost")}, may_offload=False)
    assert str(_refused(Bounds(), lost, (FASTEST, QUICKEST))) == (
        "no plan may answer: 'fastest' cannot be used now (node 'desk' is lost); 'quickest' uses other devices, which the"
        " request or the offload switch forbids; multiedge deploy --rows KINDS with local makes such a plan"
    )
    away = Condition("tablet", may_offload=False)
    assert str(_refused(Bounds(), away, (*TABLE, replace(LOCAL, name="again")))).endswith(
        "; and 1 more; multiedge deploy --rows KINDS with local makes such a plan"
    )
    assert str(_refused(Bounds(), rows=())) == "no plan may answer: the deployment has none"


def test_a_name_that_no_plan_has_is_answered_with_those_that_there_are() -> None:
    refusal = str(_refused(Bounds(row="x")))
    assert refusal == "no plan has the name that the request asks for; there are: fastest, local, quickest, float16"


def test_a_plan_whose_ends_are_not_known_cannot_be_forced_to_the_device() -> None:
    unknown = replace(LOCAL, first=(), last=())
    assert _refused(Bounds(first_on_device=True), rows=(unknown,)).excluded[0].cause is Cause.FIRST


@pytest.mark.parametrize(
    ("bounds", "name"),
    [(Bounds(), "quickest"), (Bounds(min_accuracy=0.5), "float16"), (Bounds(row="float16"), "float16")],
)
def test_a_plan_that_approximates_answers_only_where_the_request_states_what_accuracy_it_needs(
    bounds: Bounds, name: str
) -> None:
    rounds = replace(FLOAT16, is_approximate=True, expected=replace(FLOAT16.expected, accuracy=0.8))
    chosen = choose((FASTEST, LOCAL, QUICKEST, rounds), bounds, AT_HOME)
    assert isinstance(chosen, Choice)
    assert chosen.row.name == name
