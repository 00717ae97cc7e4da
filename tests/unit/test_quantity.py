import pytest

from multiedge import quantity


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("1024", quantity.BYTES, 2**30),
        (1024, quantity.BYTES, 2**30),
        ("2GiB", quantity.BYTES, 2**31),
        ("2 GB", quantity.BYTES, 2e9),
        ("1.5kB", quantity.BYTES, 1500),
        ("100", quantity.BANDWIDTH, 12.5e6),
        ("1Gbit/s", quantity.BANDWIDTH, 125e6),
        ("12MB/s", quantity.BANDWIDTH, 12e6),
        (2, quantity.SECONDS, 0.002),
        ("50us", quantity.SECONDS, 50e-6),
        ("2.6", quantity.FREQUENCY, 2.6e9),
        ("800MHz", quantity.FREQUENCY, 8e8),
        ("20gflops", quantity.FLOPS, 20e9),
        ("10Wh", quantity.JOULES, 36e3),
    ],
)
def test_parse_gives_base_units(text, kind, expected):
    assert quantity.parse(text, kind) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["lots", "", "-1", "1 parsec", None, True, [1], "nan", "1e400"])
def test_parse_names_expectation_and_finding(text):
    with pytest.raises(ValueError, match=r"expected a size such as '2GiB'.*got"):
        quantity.parse(text, quantity.BYTES)


def test_case_that_would_be_ambiguous_is_refused():
    with pytest.raises(ValueError, match="expected a bandwidth"):
        quantity.parse("1mB/S", quantity.BANDWIDTH)


@pytest.mark.parametrize(("nbytes", "text"), [(0, "0 B"), (1536, "1.5 KiB"), (3 * 2**40, "3.0 TiB")])
def test_human_bytes(nbytes, text):
    assert quantity.human_bytes(nbytes) == text
