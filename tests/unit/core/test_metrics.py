"""Users' metrics: what they give becomes a plain value, and what they raise is named."""

import math
from dataclasses import replace

import numpy as np
import pytest

from core.testcasecontroller.metrics.metrics import parse_metrics
from multiedge.errors import ConfigError
from multiedge.formats.fields import Field
from multiedge.measurements import Item, Measurements, Memory
from tests.builders.ianvs_files import metric_entry


def metric(tmp_path, body):
    (parsed,) = parse_metrics(Field([metric_entry(tmp_path, "score", body)], "t"))
    return parsed


@pytest.mark.parametrize(
    ("body", "value"),
    [
        pytest.param("return len(y_true) + len(y_pred)", 5, id="both-arguments"),
        pytest.param("return 0.5", 0.5, id="float"),
        pytest.param("return 'n<64'", "n<64", id="a-word"),
        pytest.param("import numpy; return numpy.float32(0.25)", 0.25, id="numpy-scalar"),
        pytest.param("import numpy; return numpy.array([[7]])", 7, id="array-of-one"),
        pytest.param("return True", True, id="boolean"),
    ],
)
def test_a_value_is_a_plain_one(tmp_path, body, value):
    computed = metric(tmp_path, body).compute([1, 2, 3], [4, 5])
    assert computed == value
    assert not isinstance(computed, np.generic | np.ndarray)


def test_nothing_is_not_a_number(tmp_path):
    assert math.isnan(metric(tmp_path, "return None").compute([], []))
    assert math.isnan(metric(tmp_path, "pass").compute([], []))


def test_an_array_of_several_stays_as_it_is(tmp_path):
    assert metric(tmp_path, "import numpy; return numpy.arange(3)").compute([], []).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("return y_pred['pred']", "TypeError: list indices must be integers or slices, not str"),
    ],
)
def test_a_metric_that_fails_is_named_with_its_file(tmp_path, body, reason):
    with pytest.raises(RuntimeError, match=rf"^metric 'score' \(.*score\.py\): {reason}$"):
        metric(tmp_path, body).compute([], [])


def test_metrics_come_in_the_order_of_the_file_each_from_its_own(tmp_path):
    entries = [metric_entry(tmp_path, name, f"return '{name}'") for name in ("second", "first")]
    metrics = parse_metrics(Field(entries, "t"))
    assert [(each.name, each.compute([], [])) for each in metrics] == [("second", "second"), ("first", "first")]


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        ([], "t: expected a list of at least 1 entry"),
        (None, "t: expected a list"),
        (
            [{"name": "fsp"}],
            r"t: \[0\]\.url: expected the file of metric 'fsp', since the library has none of that name; did you mean 'fps'\?",
        ),
        ([{"name": "fps", "url": "none.py"}], r"t: \[0\]\.url: no such file 'none.py'"),
        ([{"name": "fps", "path": "a.py"}], r"t: \[0\]: unknown key 'path'"),
    ],
    ids=["empty", "missing", "built-in", "no-file", "unknown-key"],
)
def test_metrics_that_cannot_be_used_are_one_clear_line(entries, error):
    with pytest.raises(ConfigError, match=error):
        parse_metrics(Field(entries, "t"))


RUN = Measurements((Item(0, 0.0, 0.0, 1.0), Item(1, 0.0, 0.0, 2.0)), (), 0.0, 2.0, memory=(Memory("a", 3_000_000),))


@pytest.mark.parametrize(("name", "value"), [("fps", 1.0), ("peak_memory_bytes", 3e6), ("peak_memory", 3.0)])
def test_a_metric_of_the_library_needs_no_file(name, value):
    (parsed,) = parse_metrics(Field([{"name": name}], "t"))
    assert parsed.compute([], {"measurements": RUN, "plan": None}) == value
    assert math.isnan(parse_metrics(Field([{"name": "plan_gap"}], "t"))[0].compute([], {"measurements": RUN}))


def test_the_verdict_of_a_run_is_a_column_without_a_file():
    (parsed,) = parse_metrics(Field([{"name": "verdict"}], "t"))
    assert parsed.compute([], {"measurements": RUN}) == "VALID"
    assert parsed.compute([], {"measurements": replace(RUN, items=())}) == "INVALID"
    with pytest.raises(ConfigError, match="did you mean 'verdict'"):
        parse_metrics(Field([{"name": "verdicts"}], "t"))


@pytest.mark.parametrize("name", ["fps", "verdict"])
@pytest.mark.parametrize("result", [[1], {}, {"measurements": 1}])
def test_a_metric_of_the_library_needs_measurements(name, result):
    (parsed,) = parse_metrics(Field([{"name": name}], "t"))
    with pytest.raises(RuntimeError, match=f"metric '{name}': expected predict to return a mapping with 'measurements'"):
        parsed.compute([], result)


def test_a_metric_that_is_listed_twice_is_refused(tmp_path):
    entry = metric_entry(tmp_path, "score", "return 1")
    with pytest.raises(ConfigError, match=r"t: \[1\]: metric 'score' is listed twice"):
        parse_metrics(Field([entry, entry], "t"))
