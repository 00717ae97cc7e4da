"""How many operations one ONNX operator takes, from the shapes of what it reads and writes.

A multiply-accumulate (MAC) is counted where a product is added to a running sum: in convolutions, matrix products,
recurrent cells and attention. Every other operation counts 1 FLOP per scalar +, -, x, /, comparison or elementary
function (exp, sqrt, erf, ...); 1 MAC is 2 FLOPs. Operators that only move or relabel data count 0. The counts are those of
the definition in the ONNX standard, without regard to how a runtime computes it (Winograd, fused kernels).

Operators of which the work depends on data (NonMaxSuppression, Loop, If, ...) and operators that are not in `RULES` have
no count: `profilers.engine.macs` lists them and never takes them for free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, log2, prod
from typing import Any

from multiedge.composed import DOMAIN, FIRST_OF, WHEN

Shape = tuple[int, ...]


class UnknownShapeError(LookupError):
    """A count needs the shape of a tensor that has no static shape; `name` is the tensor."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Call:
    """One use of an operator. `inputs` and `outputs` are (name, shape or None) pairs; '' marks one left out."""

    op_type: str
    inputs: tuple[tuple[str, Shape | None], ...]
    outputs: tuple[tuple[str, Shape | None], ...]
    attributes: Mapping[str, Any]

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index][0] != ""

    def given(self) -> int:
        """How many inputs are not left out."""
        return sum(name != "" for name, _ in self.inputs)

    def input(self, index: int) -> Shape:
        return _known(self.inputs, index)

    def output(self, index: int = 0) -> Shape:
        return _known(self.outputs, index)


@dataclass(frozen=True)
class Count:
    """Work of one node. `flops` are all floating-point (or integer) operations, the two of each MAC included."""

    macs: int = 0
    flops: int = 0


Rule = Callable[[Call], Count]


def _known(values: tuple[tuple[str, Shape | None], ...], index: int) -> Shape:
    if index >= len(values):
        raise UnknownShapeError(f"#{index}")
    name, shape = values[index]
    if shape is None:
        raise UnknownShapeError(name)
    return shape


def _macs(macs: int, extra_flops: int = 0) -> Count:
    return Count(macs, 2 * macs + extra_flops)


def free(call: Call) -> Count:
    """Data is moved, relabelled or made constant; nothing is computed."""
    return Count()


def per_output(flops: int) -> Rule:
    """`flops` for each element of the first output."""
    return lambda call: Count(0, flops * prod(call.output()))


def per_input(flops: int) -> Rule:
    """`flops` for each element of the first input: reductions, normalisations, softmax."""
    return lambda call: Count(0, flops * prod(call.input(0)))


def variadic(call: Call) -> Count:
    """Sum, Mean, Max and Min of n tensors: n - 1 operations per element of the output."""
    return Count(0, max(call.given() - 1, 0) * prod(call.output()))


def convolution(weight: int = 1, bias: int = 2) -> Rule:
    """out x (in channels / group) x kernel. The weight is (out channels, in channels / group, *kernel)."""

    def count(call: Call) -> Count:
        out = prod(call.output())
        return _macs(out * prod(call.input(weight)[1:]), out if call.has(bias) else 0)

    return count


def transposed_convolution(call: Call) -> Count:
    """Each input element meets (out channels / group) x kernel. The weight is (in channels, out channels / group, *kernel)."""
    return _macs(prod(call.input(0)) * prod(call.input(1)[1:]), prod(call.output()) if call.has(2) else 0)


def matrix_product(call: Call) -> Count:
    """out x inner dimension, batched or not."""
    return _macs(prod(call.output()) * call.input(0)[-1])


def general_matrix_product(call: Call) -> Count:
    """Gemm: rows x columns x inner dimension, and the addition of C."""
    inner = call.input(0)[0 if call.attributes.get("transA", 0) else 1]
    out = prod(call.output())
    return _macs(out * inner, out if call.has(2) else 0)


def quantised_weight_product(call: Call) -> Count:
    """MatMulNBits: the inner dimension is the attribute K; unpacking a weight takes 2 operations."""
    inner, columns = int(call.attributes["K"]), int(call.attributes["N"])
    return _macs(prod(call.output()) * inner, 2 * inner * columns)


def einstein_sum(call: Call) -> Count:
    """The product of all index sizes, once per operand beyond the first; a sum of one operand counts additions only."""
    equation = str(call.attributes["equation"]).replace(" ", "")
    sizes: dict[str, int] = {}
    for term, index in zip(equation.split("->")[0].split(","), range(len(call.inputs)), strict=False):
        letters, shape = term.replace("...", ""), call.input(index)
        ellipsis_at = term.find("...")
        head = len(letters) if ellipsis_at < 0 else ellipsis_at
        tail = len(letters) - head
        sizes.update(zip(letters[:head], shape[:head], strict=True))
        sizes.update(zip(letters[head:], shape[len(shape) - tail :], strict=True))
        broadcast = prod(shape[head : len(shape) - tail])
        sizes["..."] = max(sizes.get("...", 1), broadcast)
    space = prod(sizes.values())
    return _macs(space * (len(call.inputs) - 1)) if len(call.inputs) > 1 else Count(0, space)


def recurrent(gates: int, activation_flops: int) -> Rule:
    """RNN, GRU, LSTM: sequence x batch x directions x gates x hidden x (input + hidden).

    W is (directions, gates x hidden, input)."""

    def count(call: Call) -> Count:
        steps, batch = call.input(0)[0], call.input(0)[1]
        directions, rows, width = call.input(1)
        hidden = rows // gates
        cells = steps * batch * directions * hidden
        return _macs(cells * gates * (width + hidden), cells * activation_flops)

    return count


def attention(call: Call) -> Count:
    """Attention of the standard (opset 23): Q.K and weights.V over heads, and a softmax of the scores."""
    query, key, value = call.input(0), call.input(1), call.input(2)
    if len(query) == 4:
        batch, heads, rows, width = query
        columns, value_width = key[2], value[3]
    else:
        batch, rows = query[:2]
        heads = int(call.attributes["q_num_heads"])
        width, value_width = query[2] // heads, value[2] // int(call.attributes["kv_num_heads"])
        columns = key[1]
    if call.has(4):
        columns += call.input(4)[2]
    scores = batch * heads * rows * columns
    return _macs(scores * (width + value_width), scores * SOFTMAX_FLOPS)


def packed_attention(call: Call) -> Count:
    """com.microsoft.Attention: the projections to Q, K and V, then attention."""
    batch, rows, width = call.input(0)
    projected = call.input(1)[-1]
    scores = batch * int(call.attributes["num_heads"]) * rows * rows
    return _macs(batch * rows * width * projected + 2 * batch * rows * rows * (projected // 3), scores * SOFTMAX_FLOPS)


def pooling(call: Call) -> Count:
    """kernel size operations for each output."""
    return Count(0, prod(call.output()) * prod(call.attributes["kernel_shape"]))


def local_response(call: Call) -> Count:
    """LRN: squares and sums over `size` channels, then scale, shift, power and quotient."""
    return Count(0, prod(call.output()) * (2 * int(call.attributes["size"]) + 4))


def interpolation(call: Call) -> Count:
    """Resize and Upsample: nearest moves data; linear takes 3 operations per axis pair and cubic 8, per resized axis."""
    flops = {"nearest": 0, "linear": 3, "cubic": 8}.get(str(call.attributes.get("mode", "nearest")), 3)
    source, target = call.input(0), call.output()
    axes = sum(a != b for a, b in zip(source, target, strict=True))
    return Count(0, prod(target) * flops * axes)


def grid_sample(call: Call) -> Count:
    """4 weighted neighbours per output (2 x spatial axes doublings), and the weights."""
    axes = len(call.output()) - 2
    return Count(0, prod(call.output()) * (2 ** (axes + 1) + 2 * axes))


def sorting(call: Call) -> Count:
    """n log2 n comparisons along the axis; taken over the whole tensor's last axis where none is named."""
    shape = call.input(0)
    length = shape[int(call.attributes.get("axis", -1))] if shape else 1
    return Count(0, prod(shape) * max(1, ceil(log2(max(length, 2)))))


def fourier(call: Call) -> Count:
    """5 n log2 n operations per transform of length n (the usual count of a fast Fourier transform)."""
    shape = call.output()
    length = shape[int(call.attributes.get("axis", 1)) % len(shape)]
    return Count(0, 5 * (prod(shape) // 2) * ceil(log2(max(length, 2))))


SOFTMAX_FLOPS = 5
"""Maximum, difference, exponential, sum, quotient."""
NORM_FLOPS = 8
"""Mean (1), variance (3), centre, divide, scale and shift."""

_FREE = """Cast CastLike Compress Concat ConcatFromSequence Constant ConstantOfShape DepthToSpace Dropout Expand EyeLike
Flatten Gather GatherElements GatherND Identity NonZero OneHot Optional OptionalGetElement OptionalHasElement Pad
RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reshape ReverseSequence Scatter ScatterElements
ScatterND SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength Shape Size Slice
SpaceToDepth Split SplitToSequence Squeeze TensorScatter Tile Transpose Trilu Unsqueeze BitCast"""

_ONE_PER_OUTPUT = """Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil
Cos Cosh Div Equal Erf Exp Floor Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Log Mod Mul Neg Not Or Pow
PRelu Reciprocal Relu Round Sign Sin Sinh Sqrt Sub Tan Tanh ThresholdedRelu Where Xor"""

_ONE_PER_INPUT = """ArgMax ArgMin CumSum GlobalAveragePool GlobalMaxPool ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
CumProd"""

_BY_FLOPS_PER_OUTPUT = {
    2: "Clip LeakyRelu BatchNormalization QuantizeLinear DequantizeLinear Elu Shrink",
    3: "HardSigmoid Celu Selu Softplus DynamicQuantizeLinear QLinearAdd QLinearMul ThresholdedElu",
    4: "HardSwish Sigmoid Softsign QuickGelu QLinearSigmoid QLinearLeakyRelu",
    5: "Gelu Swish FastGelu BiasGelu",
    6: "Mish RotaryEmbedding BiasSplitGelu",
}

_BY_FLOPS_PER_INPUT = {
    2: "ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum GlobalLpPool QLinearGlobalAveragePool",
    3: "ReduceLogSumExp LpNormalization Hardmax",
    5: "Softmax LogSoftmax RMSNormalization SimplifiedLayerNormalization MeanVarianceNormalization QLinearSoftmax",
    6: "SkipSimplifiedLayerNormalization",
    8: "LayerNormalization InstanceNormalization GroupNormalization",
    9: "SkipLayerNormalization SkipGroupNorm",
}


def _table() -> dict[str, Rule]:
    rules: dict[str, Rule] = dict.fromkeys(_FREE.split(), free)
    rules.update(dict.fromkeys(_ONE_PER_OUTPUT.split(), per_output(1)))
    rules.update(dict.fromkeys(_ONE_PER_INPUT.split(), per_input(1)))
    for flops, names in _BY_FLOPS_PER_OUTPUT.items():
        rules.update(dict.fromkeys(names.split(), per_output(flops)))
    for flops, names in _BY_FLOPS_PER_INPUT.items():
        rules.update(dict.fromkeys(names.split(), per_input(flops)))
    rules.update(dict.fromkeys(("Sum", "Mean", "Max", "Min"), variadic))
    rules.update(dict.fromkeys(("Conv", "FusedConv"), convolution()))
    rules.update(dict.fromkeys(("MatMul", "FusedMatMul", "MatMulInteger", "MatMulIntegerToFloat"), matrix_product))
    rules.update(dict.fromkeys(("AveragePool", "MaxPool", "LpPool", "QLinearAveragePool"), pooling))
    rules.update(dict.fromkeys(("Gemm", "FusedGemm"), general_matrix_product))
    rules.update(dict.fromkeys(("Resize", "Upsample"), interpolation))
    rules.update(dict.fromkeys(("TopK", "Unique"), sorting))
    return rules


RULES: Mapping[str, Rule] = {
    **_table(),
    "ConvInteger": convolution(bias=9),
    "QLinearConv": convolution(weight=3, bias=8),
    "DeformConv": convolution(bias=3),
    "ConvTranspose": transposed_convolution,
    "QLinearMatMul": matrix_product,
    "DynamicQuantizeMatMul": matrix_product,
    "MatMulNBits": quantised_weight_product,
    "Einsum": einstein_sum,
    "RNN": recurrent(1, 2),
    "GRU": recurrent(3, 15),
    "LSTM": recurrent(4, 20),
    "Attention": attention,
    "com.microsoft.Attention": packed_attention,
    "LRN": local_response,
    "GridSample": grid_sample,
    "DFT": fourier,
    f"{DOMAIN}.{WHEN}": free,
    f"{DOMAIN}.{FIRST_OF}": free,
}
"""By operator type; a rule for another domain's operator of a standard name carries the domain before it."""

DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Domains of which the operator names mean what `RULES` takes them for."""


def rule_of(op_type: str, domain: str) -> Rule | None:
    """The counting rule of an operator, or None if there is none."""
    if f"{domain}.{op_type}" in RULES:
        return RULES[f"{domain}.{op_type}"]
    return RULES.get(op_type) if domain in DOMAINS else None
