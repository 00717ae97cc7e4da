from multiedge.network.encoding import decode, encode
from multiedge.network.runs import LATENCY_BOUNDS_S, LatencyCounts, RunReport
from tests.builders.reports_of_runs import fault, report


def test_a_latency_counts_in_the_interval_whose_upper_end_it_does_not_exceed() -> None:
    counts = LatencyCounts().with_one(0.001).with_one(0.0011).with_one(1000.0)
    assert counts.counts[:2] == (1, 1)
    assert counts.counts[len(LATENCY_BOUNDS_S)] == 1
    assert counts.sum_s == 1000.0021


def test_a_report_is_the_same_after_its_way_to_the_hub() -> None:
    sent = report(2.0, 7, faults=(fault(),), fault_counts={"ended": 1}, has_ended=True)
    assert decode(RunReport, encode(sent), "test") == sent


def test_who_runs_it_is_what_the_hub_says() -> None:
    assert report(caller="client:mallory").of("client:anna").caller == "client:anna"
