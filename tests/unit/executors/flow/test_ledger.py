import numpy as np
import pytest

from multiedge.executors.flow.ledger import REORDER, Ledger, joined, merged_log
from multiedge.transports.message import join_logs, log_row
from tests.builders.flow import FakeClock, message, vector

SINKS = (2,)


def ledger_with(items, depth=4):
    ledger = Ledger(depth)
    return ledger, [ledger.enter(item, {}, 1.0) for item in items]


def taken(ledger):
    return [(result.item, result.error) for result in ledger.wait(lambda timeout_s: None, 0.0, 0.1)]


def answer(entry, transfer=2, **fields):
    return message(transfer, 1.0, sequence=entry.sequence, ticket=entry.ticket, **fields)


def test_there_is_room_for_as_many_items_as_tickets():
    ledger, entries = ledger_with("ab", depth=2)
    assert not ledger.has_room
    ledger.answer(entries[1], {}, "", 2.0)
    assert ledger.has_room


def test_items_overtake_the_oldest_by_a_bounded_number():
    ledger, _ = ledger_with(["oldest"], depth=2)
    for number in range(REORDER * 2 - 1):
        ledger.answer(ledger.enter(number, {}, 1.0), {}, "", 2.0)
    assert not ledger.has_room


def test_results_come_out_in_the_order_of_submission():
    ledger, entries = ledger_with("abc")
    ledger.answer(entries[2], {}, "", 2.0)
    assert taken(ledger) == []
    ledger.answer(entries[0], {}, "", 2.0)
    assert taken(ledger) == [("a", "")]
    ledger.answer(entries[1], None, "broken", 2.0)
    assert taken(ledger) == [("b", "broken"), ("c", "")]
    assert ledger.unanswered == 0


def test_an_item_is_complete_with_the_last_message_that_it_waits_for():
    ledger, (entry,) = ledger_with("a")
    assert ledger.accept(answer(entry, 2), (2, 3)) is None
    assert ledger.accept(answer(entry, 3), (2, 3)) is entry


@pytest.mark.parametrize("change", ["twice", "other ticket", "answered"])
def test_a_message_that_nothing_waits_for_is_dropped_and_counted(change):
    ledger, (entry, _) = ledger_with("ab")
    if change == "twice":
        ledger.accept(answer(entry, 2), (2, 3))
        late = answer(entry, 2)
    elif change == "other ticket":
        late = answer(entry)._replace(address=answer(entry).address._replace(ticket=entry.ticket - 1))
    else:
        ledger.answer(entry, {}, "", 2.0)
        late = answer(entry)
    assert ledger.accept(late, (2, 3)) is None
    assert ledger.duplicates_dropped == 1


def test_starting_over_forgets_what_has_arrived_and_counts_the_attempt():
    ledger, entries = ledger_with("abc")
    ledger.accept(answer(entries[1]), (2, 3))
    ledger.answer(entries[0], {}, "", 2.0)
    again = ledger.start_over()
    assert [entry.item for entry in again] == ["b", "c"]
    assert [(entry.got, entry.attempts) for entry in again] == [({}, 2), ({}, 2)]


def test_waiting_pumps_until_something_is_ready():
    clock = FakeClock(0.0)
    ledger = Ledger(1, clock)
    entry = ledger.enter("a", {}, 0.0)

    def pump(timeout_s):
        clock.now_s += timeout_s
        if clock.now_s >= 0.3 and ledger.open:
            ledger.answer(entry, {}, "", clock.now_s)

    assert ledger.wait(pump, 0.25, 0.1) == []
    assert clock.now_s == pytest.approx(0.25)
    assert [result.done_s for result in ledger.wait(pump, 5.0, 0.1)] == [pytest.approx(0.35)]


def test_outputs_are_copies_in_the_order_of_the_model():
    ledger, (entry,) = ledger_with("a")
    for transfer, value in ((2, 1.0), (3, 2.0)):
        ledger.accept(message(transfer, value, ticket=entry.ticket), (2, 3))
    tensors, error = joined(entry, {2: ("y",), 3: ("z",)}, ("z", "y"))
    assert error == ""
    assert list(tensors) == ["z", "y"]
    np.testing.assert_array_equal(tensors["y"], vector(1.0))
    assert not np.shares_memory(tensors["y"], entry.got[2].arrays[0])


def test_one_error_among_the_messages_is_the_items_error():
    ledger, (entry,) = ledger_with("a")
    ledger.accept(message(2, 1.0, ticket=entry.ticket), (2, 3))
    ledger.accept(message(3, None, ticket=entry.ticket, error="stage 1 failed"), (2, 3))
    assert joined(entry, {2: ("y",), 3: ("z",)}, ("y", "z")) == ({}, "stage 1 failed")


def test_events_of_an_item_come_once_each_and_in_order():
    ledger, (entry,) = ledger_with([7])
    first, second = (log_row("compute", stage, "d0", start, start + 1.0, 0, "") for stage, start in ((0, 1.0), (1, 2.0)))
    ledger.accept(message(2, 1.0, ticket=entry.ticket, log=join_logs((second, first))), (2, 3))
    ledger.accept(message(3, 1.0, ticket=entry.ticket, log=first), (2, 3))
    assert [(event.item, event.stage, event.seconds) for event in merged_log(entry)] == [(7, 0, 1.0), (7, 1, 1.0)]


def test_without_order_results_come_as_they_are_answered_and_a_late_item_holds_none():
    ledger = Ledger(2, in_order=False)
    ledger.enter("late", {}, 1.0)
    for number in range(REORDER * 3):
        assert ledger.has_room
        ledger.answer(ledger.enter(number, {}, 1.0), {}, "", 2.0)
    assert taken(ledger) == [(number, "") for number in range(REORDER * 3)]
    assert ledger.unanswered == 1


def test_a_wait_ends_when_it_is_woken():
    clock = FakeClock()
    ledger, waits = Ledger(1, clock), []

    def pump(timeout_s):
        waits.append(timeout_s)
        clock.now_s += timeout_s
        if len(waits) == 3:
            ledger.wake()

    assert ledger.wait(pump, 5.0, 0.1) == []
    assert waits == [0.0, 0.1, 0.1]
    assert ledger.wait(pump, 0.3, 0.1) == []
    assert len(waits) > 5
