"""The functions of transforms: found, or refused with the reason."""

from __future__ import annotations

import pytest

from multiedge.backends.composed.functions import function_of
from multiedge.composed import Call
from multiedge.errors import ModelError


def call(function: str, source: str = "") -> Call:
    return Call(function, ("image",), ("boxes",), source=source)


def test_a_function_is_that_of_an_installed_module_or_of_a_text() -> None:
    assert function_of(call("json:dumps"), "c.onnx")([1]) == "[1]"
    assert function_of(call("twice", "BY = 2\ndef twice(value):\n    return BY * value\n"), "c.onnx")(4) == 8


def test_a_text_may_define_what_looks_up_its_own_module() -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Box:\n    left: int\n"
    assert function_of(call("Box", text), "c.onnx")(3).left == 3


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (call("no_such_module:f"), "module 'no_such_module' cannot be imported: ModuleNotFoundError"),
        (call("json:dumbs"), "module 'json' has no function 'dumbs'; did you mean 'dumps'"),
        (call("json:__doc__"), "module 'json' has no function '__doc__'"),
        (call("f", "def g(): pass"), "its file has no function 'f'"),
        (call("f", "1/0"), "the file of its function cannot be imported: ZeroDivisionError"),
        (call("f", "def f("), "the file of its function cannot be imported: SyntaxError"),
    ],
)
def test_a_function_that_is_not_there_is_refused(given: Call, text: str) -> None:
    with pytest.raises(ModelError, match=f"^c.onnx: step 'crop': {text}"):
        function_of(given, "c.onnx: step 'crop'")
