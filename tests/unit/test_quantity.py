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


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("8 Gbps", quantity.BANDWIDTH, 1e9),
        ("8b/s", quantity.BANDWIDTH, 1.0),
        ("1KiB/s", quantity.BANDWIDTH, 1024),
        ("3 GB/s", quantity.MEMORY_BANDWIDTH, 3e9),
        (3, quantity.MEMORY_BANDWIDTH, 3e9),
        ("1 s", quantity.SECONDS, 1.0),
        ("1500", quantity.SECONDS, 1.5),
        ("750mW", quantity.WATTS, 0.75),
        ("2kWh", quantity.JOULES, 7.2e6),
        ("50nJ", quantity.JOULES_PER_BYTE, 50e-9),
        ("2e3", quantity.FACTOR, 2000.0),
        (".5", quantity.FACTOR, 0.5),
        ("+1.", quantity.FACTOR, 1.0),
        ("  7  ", quantity.FACTOR, 7.0),
        (0, quantity.FACTOR, 0.0),
        ("3TFLOP/s", quantity.FLOPS, 3e12),
        ("512mib", quantity.BYTES, 2**29),
    ],
)
def test_every_kind_has_its_units(text, kind, expected):
    assert quantity.parse(text, kind) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("18", quantity.JOULES),  # joules have no unit of their own: 18 could be Wh
        ("5 m", quantity.SECONDS),
        ("1 W/s", quantity.WATTS),
        ("0x10", quantity.FACTOR),
        ("1,5", quantity.FACTOR),
        ("1 2", quantity.FACTOR),
        ("-0.1", quantity.FACTOR),
        (2**64, quantity.BYTES),
        (float("inf"), quantity.FACTOR),
    ],
)
def test_what_is_no_such_quantity_is_refused(text, kind):
    with pytest.raises(ValueError, match="expected a"):
        quantity.parse(text, kind)


@pytest.mark.parametrize(("text", "expected"), [("8Mb/s", 1e6), ("8MB/s", 8e6), ("8MBPS", 1e6), ("8mbps", 1e6)])
def test_bits_and_bytes_differ(text, expected):
    assert quantity.parse(text, quantity.BANDWIDTH) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (2**20, "1.0 MiB"),
        (2**30 * 1.25, "1.2 GiB"),
        (-1536, "-1.5 KiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_bytes_for_people_at_the_edges_of_units(nbytes, text):
    assert quantity.human_bytes(nbytes) == text
