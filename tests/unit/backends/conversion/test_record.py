"""Records of conversions as files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from multiedge.backends.conversion.gate import SampleError
from multiedge.backends.conversion.record import Conversion, State, load_conversion, save_conversion
from multiedge.errors import ModelError

RECORD = Conversion(
    State.FAILED,
    "m.onnx",
    "SomeBackend",
    "1",
    "float16",
    {"precision": "float16", "threads": 2},
    tolerance=1e-2,
    started_s=1.5,
    finished_s=2.5,
    reason="wrong",
    is_final=True,
    errors=(SampleError("random", "y", math.inf, None, "gives no such output"), SampleError("zeros", "y", 0.5, 1.0)),
    left_out=("batch 2",),
    agreement=1.0,
    latency_s=0.1,
    reference_latency_s=0.2,
    artefact={"m.some": "xxh3:0"},
)


def test_a_record_comes_back_as_it_was_and_holds_no_infinity(tmp_path: Path) -> None:
    save_conversion(RECORD, tmp_path / "r.json")
    data = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert data["errors"][0]["relative"] is None
    loaded = load_conversion(tmp_path / "r.json")
    assert loaded == RECORD
    assert (loaded.worst_error, loaded.latency_ratio) == (math.inf, 0.5)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"state": "done"}, "state: unknown value 'done'"),
        ({"schema": "other/1"}, "expected schema"),
        ({"errors": [{}]}, r"errors\[0\]"),
    ],
)
def test_a_damaged_record_is_refused_by_field(tmp_path: Path, change: dict[str, object], text: str) -> None:
    save_conversion(RECORD, tmp_path / "r.json")
    data = json.loads((tmp_path / "r.json").read_text())
    (tmp_path / "r.json").write_text(json.dumps({**data, **change}))
    with pytest.raises(ModelError, match=text):
        load_conversion(tmp_path / "r.json")
