"""How many operations an operator takes, from its shapes, against counts made by hand or by doing the work."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import pytest

from profilers.engine.rules import RULES, Call, Count, UnknownShapeError, free, rule_of

Shape = tuple[int, ...]


def count(op_type: str, inputs: list[Shape | None], output: Shape | None, domain: str = "", **attributes: Any) -> Count:
    rule = rule_of(op_type, domain)
    assert rule is not None
    named = tuple(("" if shape == () and index > 2 else f"i{index}", shape) for index, shape in enumerate(inputs))
    return rule(Call(op_type, named, (("o", output),), attributes))


@pytest.mark.parametrize(
    ("op_type", "inputs", "output", "attributes", "macs", "flops"),
    [
        pytest.param("Conv", [(1, 3, 8, 8), (4, 3, 3, 3)], (1, 4, 6, 6), {}, 4 * 36 * 27, 2 * 4 * 36 * 27, id="Conv"),
        pytest.param("Conv", [(1, 3, 8), (4, 3, 2), (4,)], (1, 4, 7), {}, 28 * 6, 2 * 28 * 6 + 28, id="Conv 1D, bias"),
        pytest.param("Conv", [(1, 4, 8, 8), (4, 1, 3, 3)], (1, 4, 6, 6), {"group": 4}, 144 * 9, 2 * 144 * 9, id="depthwise"),
        pytest.param("ConvTranspose", [(1, 2, 4), (2, 3, 2)], (1, 3, 8), {}, 8 * 6, 96, id="ConvTranspose"),
        pytest.param("ConvInteger", [(1, 3, 8), (4, 3, 2)], (1, 4, 7), {}, 28 * 6, 2 * 28 * 6, id="ConvInteger"),
        pytest.param("MatMul", [(2, 3, 5), (5, 7)], (2, 3, 7), {}, 2 * 3 * 7 * 5, 420, id="MatMul, batched"),
        pytest.param("MatMul", [(5,), (5,)], (), {}, 5, 10, id="two vectors"),
        pytest.param("Gemm", [(3, 5), (5, 7)], (3, 7), {}, 105, 210, id="Gemm"),
        pytest.param("Gemm", [(5, 3), (5, 7)], (3, 7), {"transA": 1}, 105, 210, id="Gemm, A transposed"),
        pytest.param("Gemm", [(3, 5), (5, 7), (7,)], (3, 7), {}, 105, 231, id="Gemm with C"),
        pytest.param("Einsum", [(3, 5)], (3,), {"equation": "ij->i"}, 0, 15, id="a sum of one operand"),
        pytest.param("Einsum", [(3, 5), (5, 7)], (3, 7), {"equation": "ij, jk -> ik"}, 105, 210, id="a product"),
        pytest.param("Einsum", [(3,), (3,), (3,)], (), {"equation": "i,i,i->"}, 6, 12, id="three operands"),
        pytest.param("Einsum", [(9, 3, 5), (9, 5, 7)], (9, 3, 7), {"equation": "...ij,...jk->...ik"}, 945, 1890, id="ellipsis"),
        pytest.param("RNN", [(4, 2, 3), (1, 5, 3)], (4, 1, 2, 5), {}, 40 * 8, 640 + 40 * 2, id="RNN"),
        pytest.param("GRU", [(4, 2, 3), (2, 15, 3)], (4, 2, 2, 5), {}, 80 * 3 * 8, 3840 + 80 * 15, id="GRU, both directions"),
        pytest.param("MaxPool", [(1, 1, 4, 4)], (1, 1, 3, 3), {"kernel_shape": (2, 2)}, 0, 36, id="MaxPool"),
        pytest.param("Resize", [(1, 1, 2, 2)], (1, 1, 4, 4), {"mode": "linear"}, 0, 16 * 3 * 2, id="Resize, linear, two axes"),
        pytest.param("Resize", [(1, 1, 2, 4)], (1, 1, 4, 4), {"mode": "cubic"}, 0, 16 * 8, id="Resize, cubic, one axis"),
        pytest.param("Resize", [(1, 1, 2, 2)], (1, 1, 4, 4), {}, 0, 0, id="Resize, nearest"),
        pytest.param("GridSample", [(1, 2, 5, 5), (1, 3, 3, 2)], (1, 2, 3, 3), {}, 0, 18 * (8 + 4), id="GridSample"),
        pytest.param("TopK", [(2, 8)], (2, 3), {}, 0, 16 * 3, id="TopK: log2 8 comparisons"),
        pytest.param("TopK", [(1,)], (1,), {}, 0, 1, id="TopK of one"),
        pytest.param("DFT", [(1, 8, 2)], (1, 8, 2), {"axis": 1}, 0, 5 * 8 * 3, id="DFT"),
        pytest.param("LRN", [(1, 5, 2, 2)], (1, 5, 2, 2), {"size": 3}, 0, 20 * 10, id="LRN"),
        pytest.param("Sum", [(3,), (3,), (3,)], (3,), {}, 0, 6, id="Sum of three"),
        pytest.param("Max", [(3,)], (3,), {}, 0, 0, id="Max of one"),
        pytest.param("Softmax", [(2, 5)], (2, 5), {}, 0, 50, id="Softmax"),
        pytest.param("ReduceSum", [(2, 5)], (2, 1), {}, 0, 10, id="a reduction counts its input"),
        pytest.param("Add", [(1,), (2, 5)], (2, 5), {}, 0, 10, id="broadcast counts the output"),
        pytest.param("Transpose", [(2, 5)], (5, 2), {}, 0, 0, id="moving is free"),
        pytest.param("Relu", [(0, 5)], (0, 5), {}, 0, 0, id="an empty tensor"),
    ],
)
def test_counts_by_hand(
    op_type: str, inputs: list[Shape | None], output: Shape, attributes: dict[str, Any], macs: int, flops: int
) -> None:
    assert count(op_type, inputs, output, **attributes) == Count(macs, flops)


def naive_convolution(
    batch: int, channels: int, length: int, out: int, kernel: int, group: int, stride: int
) -> tuple[int, Shape]:
    """Multiplications of a 1-D convolution without padding, one by one, and the output's shape."""
    steps = range(0, length - kernel + 1, stride)
    done = 0
    for _, target, _ in product(range(batch), range(out), steps):
        of_group = target // (out // group)
        done += sum(1 for source, _ in product(range(channels), range(kernel)) if source // (channels // group) == of_group)
    return done, (batch, out, len(steps))


@pytest.mark.parametrize(
    ("batch", "channels", "length", "out", "kernel", "group", "stride"),
    [(1, 2, 5, 3, 2, 1, 1), (2, 4, 7, 6, 3, 2, 1), (1, 4, 9, 4, 3, 4, 2), (3, 1, 3, 1, 3, 1, 1)],
)
def test_a_convolution_counts_the_products_that_are_formed(
    batch: int, channels: int, length: int, out: int, kernel: int, group: int, stride: int
) -> None:
    products, shape = naive_convolution(batch, channels, length, out, kernel, group, stride)
    weight = (out, channels // group, kernel)
    assert count("Conv", [(batch, channels, length), weight], shape, group=group, strides=(stride,)).macs == products


@pytest.mark.parametrize(
    ("inputs", "attributes", "macs"),
    [
        pytest.param([(1, 2, 5, 8), (1, 2, 7, 8), (1, 2, 7, 4)], {}, 2 * 5 * 7 * 12, id="heads apart"),
        pytest.param(
            [(1, 5, 16), (1, 7, 16), (1, 7, 8)], {"q_num_heads": 2, "kv_num_heads": 2}, 2 * 5 * 7 * 12, id="heads together"
        ),
        pytest.param(
            [(1, 2, 1, 8), (1, 2, 1, 8), (1, 2, 1, 4), (1, 1), (1, 2, 6, 8)], {}, 2 * 1 * 7 * 12, id="with a cache of 6 steps"
        ),
    ],
)
def test_attention_is_scores_and_weighted_values(inputs: list[Shape], attributes: dict[str, int], macs: int) -> None:
    named = tuple((f"i{index}", shape) for index, shape in enumerate(inputs))
    found = RULES["Attention"](Call("Attention", named, (("o", None),), attributes))
    scores = macs // 12
    assert found == Count(macs, 2 * macs + 5 * scores)


def test_the_packed_attention_of_another_domain_has_a_rule_of_its_own() -> None:
    rows, width, heads = 4, 6, 2
    projected = 3 * width
    found = count("Attention", [(1, rows, width), (width, projected)], (1, rows, width), "com.microsoft", num_heads=heads)
    assert found.macs == rows * width * projected + 2 * rows * rows * width
    assert rule_of("Attention", "com.microsoft") is not rule_of("Attention", "")


@pytest.mark.parametrize(
    ("op_type", "domain", "known"),
    [
        ("Conv", "", True),
        ("Conv", "ai.onnx", True),
        ("FusedConv", "com.microsoft", True),
        ("Conv", "acme", False),
        ("Loop", "", False),
        ("Wavelet", "", False),
    ],
)
def test_only_operators_of_known_domains_have_a_rule(op_type: str, domain: str, known: bool) -> None:
    assert (rule_of(op_type, domain) is not None) == known


@pytest.mark.parametrize("op_type", sorted(RULES))
def test_no_rule_takes_an_unknown_shape_for_a_known_one(op_type: str) -> None:
    values = tuple((f"i{index}", None) for index in range(10))
    call = Call(op_type, values, (("o", None),), {"equation": "a,b->ab", "K": 1, "N": 1, "kernel_shape": (1,)})
    if RULES[op_type] is free:
        assert RULES[op_type](call) == Count()
    else:
        with pytest.raises(UnknownShapeError, match=r"^(o|i\d)$"):
            RULES[op_type](call)


def test_an_input_left_out_is_not_there() -> None:
    call = Call("Conv", (("x", (1, 1, 3)), ("w", (1, 1, 1)), ("", None)), (("y", (1, 1, 3)),), {})
    assert not call.has(2)
    assert not call.has(9)
    assert call.given() == 2
    assert RULES["Conv"](call).flops == 2 * prod((1, 1, 3))
    with pytest.raises(UnknownShapeError) as error:
        call.input(7)
    assert error.value.name == "#7"
