from __future__ import annotations

import numpy as np
import onnxruntime as ort

from multiedge.onnx_io.names import renamed_model
from tests.builders.onnx_models import parsed


def test_a_renamed_model_computes_the_same_under_new_names() -> None:
    """Names in bodies change, too: those that a body makes, and those of the graph around it that it reads."""
    model = parsed(
        "m (float[1, 4] x, bool c) => (float[1, 4] y) { h = Relu(x)"
        " y = If<then_branch = a () => (float[1, 4] p) { q = Add(h, w) p = Add(q, x) },"
        " else_branch = b () => (float[1, 4] n) { n = Sub(h, w) }>(c) }",
        w=np.ones((1, 4), np.float32),
    )
    renamed, rename = renamed_model(model, "step", {"x": "image", "c": "flag"}, {"y": "result"})
    assert [value.name for value in renamed.graph.input] == ["image", "flag"]
    assert [value.name for value in renamed.graph.output] == ["result"]
    assert (rename("w"), rename("x"), rename("")) == ("step/w", "image", "")
    session = ort.InferenceSession(renamed.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([[-1, 0, 1, 2]], np.float32)
    for flag, expected in ((True, np.maximum(x, 0) + 1 + x), (False, np.maximum(x, 0) - 1)):
        (y,) = session.run(None, {"image": x, "flag": np.array(flag)})
        assert np.array_equal(y, expected)
    assert model.graph.input[0].name == "x"
