"""Types and shapes of what a served stage takes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from multiedge.errors import ModelError
from multiedge.serving.signature import Signature
from tests.builders.composed import composed
from tests.builders.parts import split_at
from tests.builders.workflows import CROP, VIDEO

BEFORE_CLASSIFY = 2


def test_a_stage_of_a_workflow_takes_items_of_every_size(tmp_path: Path) -> None:
    part = split_at(composed(tmp_path, VIDEO), [BEFORE_CLASSIFY], tmp_path / "parts").parts[1]
    session: Any = SimpleNamespace(inputs=part.inputs, outputs=part.outputs)
    signature = Signature.of_part(tmp_path / "parts" / part.file, session)
    for boxes in (0, 1, 7):  # the mean of the workflow is 2.5
        signature.require_inputs({"crop/crops": np.zeros((boxes, 1, CROP, CROP), np.float32)})
    with pytest.raises(ModelError, match=r"expected float32 \['boxes', 1, 4, 4\], got float32 \[1, 1, 4, 5\]"):
        signature.require_inputs({"crop/crops": np.zeros((1, 1, CROP, CROP + 1), np.float32)})
