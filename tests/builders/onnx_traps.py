"""Small models that are each hard to cut in one way. `TRAPS` maps a name to a function that makes the model.

Most are written in ONNX's own text form (`onnx.parser`), a few nodes each; onnxruntime runs all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.builders.onnx_models import noise, parsed

TRAPS: dict[str, Callable[[], onnx.ModelProto]] = {}


def trap(build: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
    TRAPS[build.__name__] = build
    return build


@trap
def skip_connections() -> onnx.ModelProto:
    return parsed(
        """g (float[2,16] x) => (float[2,16] y) {
            a = Relu(x)  b = MatMul(a, w)  c = Add(b, a)  d = Tanh(c)  e = Add(d, x)  y = Add(e, a)
        }""",
        w=noise(16, 16),
    )


@trap
def several_inputs_and_outputs() -> onnx.ModelProto:
    return parsed(
        """g (float[4] p, int64[2] q, float[4] r) => (float[4] y, int64[2] z, float[4] u, bool[2] v) {
            a = Add(p, r)  b = Add(q, q)  u = Neg(a)  v = Equal(b, q)  c = Mul(a, p)  z = Mul(b, q)  y = Sub(c, r)
        }"""
    )


@trap
def mask_that_every_block_reads() -> onnx.ModelProto:
    return parsed(
        """g (float[1,8,8] x, int64[1,8] attention_mask) => (float[1,8,8] y) {
            m = Cast<to = 1>(attention_mask)  n = Unsqueeze(m, axis)
            a = MatMul(x, w)  b = Add(a, n)  c = Softmax<axis = -1>(b)
            d = MatMul(c, w)  e = Add(d, n)  f = Softmax<axis = -1>(e)
            h = MatMul(f, w)  i = Add(h, n)  y = Softmax<axis = -1>(i)
        }""",
        w=noise(8, 8),
        axis=np.array([1], dtype=np.int64),
    )


@trap
def input_read_last() -> onnx.ModelProto:
    return parsed("g (float[3] x, float[3] late) => (float[3] y) { a = Relu(x)  b = Exp(a)  c = Tanh(b)  y = Add(c, late) }")


@trap
def output_made_first_and_read_on() -> onnx.ModelProto:
    return parsed(
        "g (float[3] x) => (float[3] early, float[3] y) { early = Exp(x)  a = Neg(early)  b = Abs(a)  y = Add(b, early) }"
    )


@trap
def input_that_is_output() -> onnx.ModelProto:
    return parsed("g (float[3] x, float[3] z) => (float[3] y, float[3] x, float[3] z) { a = Exp(x)  b = Neg(a)  y = Abs(b) }")


@trap
def initialiser_that_is_output() -> onnx.ModelProto:
    return parsed("g (float[3] x) => (float[3] y, float[3] k) { a = Exp(x)  b = Neg(a)  y = Abs(b) }", k=noise(3))


@trap
def constant_that_is_output() -> onnx.ModelProto:
    return parsed(
        """g (float[3] x) => (float[3] y, float[3] k) {
            c = Constant<value_floats = [1.0, 2.0, 3.0]>()  k = Neg(c)  a = Exp(x)  b = Add(a, c)  y = Mul(b, k)
        }"""
    )


@trap
def weights_shared_by_parts() -> onnx.ModelProto:
    return parsed(
        "g (float[1,64] x) => (float[1,64] y) { a = MatMul(x, w)  b = Tanh(a)  c = MatMul(b, w)  y = MatMul(c, w) }",
        w=noise(64, 64) / 64,
    )


@trap
def constants_shared_by_parts() -> onnx.ModelProto:
    return parsed(
        """g (float[2,8] x) => (float[4,4] y) {
            s = Constant<value_ints = [4, 4]>()  one = Constant<value_float = 1.0>()
            two = Add(one, one)  a = Mul(x, two)  b = Reshape(a, s)  c = Exp(b)  d = Mul(c, two)  y = Reshape(d, s)
        }"""
    )


@trap
def optional_inputs_left_out() -> onnx.ModelProto:
    return parsed(
        """g (float[1,1,4,4] x) => (float[1,1,8,8] y) {
            a = Clip(x, , high)  b = Relu(a)  c = Resize<mode = "nearest">(b, , scales)  d = Clip(c, high)  y = Exp(d)
        }""",
        high=np.float32(0.5),
        scales=np.array([1, 1, 2, 2], dtype=np.float32),
    )


@trap
def optional_outputs_left_out() -> onnx.ModelProto:
    model = parsed(
        "g (float[2,1,8] x) => (float[1,1,4] y) { a = Exp(x)  s, h = LSTM<hidden_size = 4>(a, w, r)  y = Neg(h) }",
        w=noise(1, 16, 8),
        r=noise(1, 16, 4),
    )
    model.graph.node[1].output[0] = ""
    return model


@trap
def branches_that_capture() -> onnx.ModelProto:
    return parsed(
        """g (float[4] x, bool flag) => (float[4] y) {
            a = Exp(x)  b = Neg(x)
            c = If (flag) <
                then_branch = t () => (float[4] t_out) { t_mid = Add(a, k)  t_out = Mul(t_mid, x) },
                else_branch = e () => (float[4] e_out) { e_out = Sub(b, k) }
            >
            d = Abs(c)  y = Add(d, a)
        }""",
        k=noise(4),
    )


@trap
def branches_within_branches() -> onnx.ModelProto:
    return parsed(
        """g (float[4] x, bool p, bool q) => (float[4] y) {
            a = Exp(x)  b = Neg(a)
            c = If (p) <
                then_branch = t () => (float[4] t_out) {
                    t_out = If (q) <
                        then_branch = tt () => (float[4] tt_out) { tt_out = Add(a, x) },
                        else_branch = te () => (float[4] te_out) { te_out = Mul(b, x) }
                    >
                },
                else_branch = e () => (float[4] e_out) { e_out = Identity(b) }
            >
            y = Tanh(c)
        }"""
    )


@trap
def branch_with_large_weights() -> onnx.ModelProto:
    model = parsed(
        """g (float[1,32] x, bool flag) => (float[1,32] y) {
            a = Exp(x)
            b = If (flag) <
                then_branch = t () => (float[1,32] t_out) { t_out = MatMul(a, w) },
                else_branch = e () => (float[1,32] e_out) { e_out = MatMul(x, w) }
            >
            y = Tanh(b)
        }"""
    )
    for attribute in model.graph.node[1].attribute:
        attribute.g.initializer.append(numpy_helper.from_array(noise(32, 32), "w"))
    return model


@trap
def loop_that_captures() -> onnx.ModelProto:
    return parsed(
        """g (float[4] x) => (float[4] y) {
            step = Exp(x)  start = Neg(x)
            last = Loop (count, true, start) <
                body = l (int64 i, bool go, float[4] state) => (bool go_on, float[4] next) {
                    go_on = Identity(go)  grown = Add(state, step)  next = Mul(grown, k)
                }
            >
            y = Tanh(last)
        }""",
        count=np.array(3),
        true=np.array(True),
        k=noise(4),
    )


@trap
def scan_that_captures() -> onnx.ModelProto:
    return parsed(
        """g (float[5,4] x) => (float[4] y, float[5,4] z) {
            bias = ReduceMean<axes = [0], keepdims = 0>(x)  start = Neg(bias)
            y, all = Scan <num_scan_inputs = 1,
                body = s (float[4] state, float[4] row) => (float[4] next, float[4] out) {
                    sum = Add(state, row)  next = Tanh(sum)  out = Sub(next, bias)
                }
            > (start, x)
            z = Abs(all)
        }"""
    )


@trap
def functions_of_the_model() -> onnx.ModelProto:
    return parsed(
        """g (float[4] x) => (float[4] y) { a = local.twice(x)  b = Exp(a)  c = local.outer(b)  y = Neg(c) }""",
        opsets='"" : 17, "local" : 1',
        functions="""
        <domain: "local", opset_import: ["" : 17]> twice (v) => (r) { r = Add(v, v) }
        <domain: "local", opset_import: ["" : 17, "local" : 1]> outer (v) => (r) { t = local.twice(v)  r = Tanh(t) }""",
    )


@trap
def custom_domain() -> onnx.ModelProto:
    return parsed(
        """g (float[2,8] x) => (float[2,8] y) {
            a = Exp(x)  b = com.microsoft.Gelu(a)  c = com.microsoft.FusedMatMul(b, w)
            d = Neg(c)  y = com.microsoft.QuickGelu(d)
        }""",
        opsets='"" : 17, "com.microsoft" : 1',
        w=noise(8, 8),
    )


@trap
def quantised_with_qdq() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    return parsed(
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
            xq = QuantizeLinear(x, s, z)  xd = DequantizeLinear(xq, s, z)
            wd = DequantizeLinear<axis = 0>(w, ws, wz)
            a = Conv<pads = [1, 1, 1, 1]>(xd, wd)
            aq = QuantizeLinear(a, s, z)  ad = DequantizeLinear(aq, s, z)
            b = Relu(ad)
            bq = QuantizeLinear(b, s, z)  y = DequantizeLinear(bq, s, z)
        }""",
        s=np.float32(0.05),
        z=np.uint8(128),
        # 7 bits: fused kernels of processors without VNNI add two products of 8 bits in 16 bits.
        w=rng.integers(-63, 64, (4, 4, 3, 3)).astype(np.int8),
        ws=np.full(4, 0.02, dtype=np.float32),
        wz=np.zeros(4, dtype=np.int8),
    )


@trap
def quantised_with_operators() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    model = parsed(
        """g (float[2,16] x) => (float[2,8] y) {
            q, s, z = DynamicQuantizeLinear(x)  i = MatMulInteger(q, w, z, wz)
            f = Cast<to = 1>(i)  k = Mul(s, ws)  y = Mul(f, k)
        }""",
        w=rng.integers(-127, 127, (16, 8)).astype(np.int8),
        wz=np.int8(0),
        ws=np.float32(0.02),
    )
    annotation = onnx.TensorAnnotation(tensor_name="f")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="ws")
    model.graph.quantization_annotation.append(annotation)
    return model


@trap
def sequences_across_the_cut() -> onnx.ModelProto:
    return parsed(
        """g (float[6,4] x) => (float[2,4] y, int64 n) {
            a = Exp(x)  s = SplitToSequence<axis = 0>(a, two)  n = SequenceLength(s)
            t = SequenceInsert(s, k)  b = SequenceAt(t, one)  y = Neg(b)
        }""",
        two=np.array(2),
        one=np.array(1),
        k=noise(2, 4),
    )


@trap
def sequence_as_output() -> onnx.ModelProto:
    return parsed(
        """g (float[6,4] x) => (seq(float[M,4]) s, float[6,4] y) {
            a = Exp(x)  s = SplitToSequence(a, two)  y = ConcatFromSequence<axis = 0>(s)
        }""",
        two=np.array(2),
    )


@trap
def strings_across_the_cut() -> onnx.ModelProto:
    return parsed(
        """g (string[3] words, string[2] more) => (string[3] y, bool[5] same) {
            a = Concat<axis = 0>(words, more)  b = Gather(a, order)  same = Equal(b, a)
            c = Identity(b)  y = Slice(c, zero, three)
        }""",
        opsets='"" : 19',
        ir=9,
        order=np.array([4, 3, 2, 1, 0]),
        zero=np.array([0]),
        three=np.array([3]),
    )


@trap
def string_weights() -> onnx.ModelProto:
    model = parsed("g (int64[2] i) => (string[2] y) { a = Gather(names, i)  b = Identity(a)  y = Identity(b) }")
    words = np.array([f"a name of some length, number {number}" for number in range(100)], dtype=object)
    model.graph.initializer.append(numpy_helper.from_array(words, "names"))
    return model


@trap
def maps_at_the_end() -> onnx.ModelProto:
    model = parsed(
        "g (float[2,3] x) => (float[2,3] p) { a = Exp(x)  b = Neg(a)  p = Softmax(b) }", opsets='"" : 17, "ai.onnx.ml" : 2'
    )
    model.graph.node.append(helper.make_node("ZipMap", ["p"], ["m"], domain="ai.onnx.ml", classlabels_strings=["a", "b", "c"]))
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    )
    model.graph.output.append(helper.make_value_info("m", kind))
    return model


@trap
def optional_values() -> onnx.ModelProto:
    return parsed(
        "g (float[4] x) => (float[4] y) { a = Exp(x)  o = Optional(a)  e = OptionalGetElement(o)  y = Neg(e) }",
        opsets='"" : 18',
    )


@trap
def old_opset_with_weights_as_inputs() -> onnx.ModelProto:
    return parsed(
        """g (float[2,8] x, float[8,8] w, float[8] b) => (float[2,8] y) {
            a = MatMul(x, w)  c = Add(a, b)  d = Relu(c)  e = MatMul(d, w)  y = Add(e, b)
        }""",
        ir=3,
        opsets='"" : 7',
        w=noise(8, 8),
        b=noise(8),
    )


@trap
def weights_that_a_caller_may_override() -> onnx.ModelProto:
    return parsed(
        "g (float[2,8] x, float[8,8] w) => (float[2,8] y) { a = MatMul(x, w)  b = Relu(a)  c = MatMul(b, w)  y = Tanh(c) }",
        w=noise(8, 8),
    )


@trap
def nodes_out_of_order() -> onnx.ModelProto:
    model = skip_connections()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    return model


@trap
def names_missing() -> onnx.ModelProto:
    model = skip_connections()
    for node, name in zip(model.graph.node, ("first", "", "", "Relu_1", "", "last"), strict=True):
        node.name = name
    return model


@trap
def names_with_odd_characters() -> onnx.ModelProto:
    model = skip_connections()
    renamed = {"a": "/block.0/a b:0", "b": "é/ü", "c": "..", "d": "c,d", "e": '"e"'}
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [renamed.get(name, name) for name in values]
    return model


@trap
def scalars_across_the_cut() -> onnx.ModelProto:
    return parsed(
        """g (float[3,4] x) => (float[2,2] y) {
            s = Shape(x)  n = Gather(s, zero)  f = Cast<to = 1>(n)  m = ReduceMax<keepdims = 0>(x)  k = Mul(f, m)
            two = Constant<value_ints = [2, 2]>()  y = Expand(k, two)
        }""",
        zero=np.array(0),
    )


@trap
def shapes_across_the_cut() -> onnx.ModelProto:
    return parsed(
        """g (float[N,C,4] x) => (float[P,Q] y) {
            s = Shape(x)  a = Exp(x)  n = Gather(s, first)  k = Concat<axis = 0>(n, minus)  y = Reshape(a, k)
        }""",
        first=np.array([0]),
        minus=np.array([-1]),
    )


@trap
def empty_tensors() -> onnx.ModelProto:
    return parsed(
        "g (float[0,4] x, float[2,4] z) => (float[2,4] y, float[0,4] e) { e = Exp(x)  a = Concat<axis = 0>(e, z)  y = Neg(a) }"
    )


@trap
def nodes_that_nobody_reads() -> onnx.ModelProto:
    return parsed(
        """g (float[4] x, float[4] unread) => (float[4] y) {
            a = Exp(x)  dead = Neg(a)  deader = Abs(dead)  b = Tanh(a)  y = Neg(b)
        }"""
    )


@trap
def half_precision_weights() -> onnx.ModelProto:
    return parsed(
        "g (float16[2,32] x) => (float16[2,32] y) { a = MatMul(x, w)  b = Tanh(a)  c = MatMul(b, w)  y = Tanh(c) }",
        w=noise(32, 32).astype(np.float16),
    )


@trap
def four_bit_weights() -> onnx.ModelProto:
    model = parsed(
        "g (float[2,64] x) => (float[2,64] y) { w = DequantizeLinear(q, s)  a = MatMul(x, w)  b = Tanh(a)  y = MatMul(b, w) }",
        ir=10,
        opsets='"" : 21',
        s=np.float32(0.1),
    )
    values = np.random.default_rng(0).integers(-8, 7, (64, 64))
    model.graph.initializer.append(helper.make_tensor("q", TensorProto.INT4, [64, 64], values.flatten().tolist()))
    return model


@trap
def weights_in_typed_fields() -> onnx.ModelProto:
    model = parsed(
        """g (float[1,32] x) => (double[1,32] y) {
            a = MatMul(x, w)  i = Gather<axis = 1>(a, order)  d = Cast<to = 11>(i)  y = MatMul(d, v)
        }"""
    )
    order = np.random.default_rng(0).permutation(32).astype(np.int64)
    model.graph.initializer.extend(
        [
            helper.make_tensor("w", TensorProto.FLOAT, [32, 32], noise(32, 32).flatten().tolist()),
            helper.make_tensor("v", TensorProto.DOUBLE, [32, 32], noise(32, 32).astype(float).flatten().tolist()),
            helper.make_tensor("order", TensorProto.INT64, [32], order.tolist()),
        ]
    )
    return model


@trap
def large_constant_node() -> onnx.ModelProto:
    model = parsed("g (float[1,32] x) => (float[1,32] y) { a = MatMul(x, w)  b = Tanh(a)  c = MatMul(b, w)  y = Tanh(c) }")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(noise(32, 32))))
    return model


@trap
def sparse_weights() -> onnx.ModelProto:
    model = parsed("g (float[2,8] x) => (float[2,8] y) { a = MatMul(x, w)  b = Tanh(a)  c = MatMul(b, w)  y = Tanh(c) }")
    values = numpy_helper.from_array(np.array([1.5, -2.0, 3.0], dtype=np.float32), "w")
    places = numpy_helper.from_array(np.array([0, 9, 27], dtype=np.int64), "w_indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [8, 8]))
    return model


@trap
def sizes_that_share_a_name() -> onnx.ModelProto:
    return parsed(
        "g (float[batch,4] x, float[batch,4] z) => (float[batch,8] y) { a = Exp(x)  b = Concat<axis = 1>(a, z)  y = Neg(b) }"
    )


@trap
def table_looked_up_by_index() -> onnx.ModelProto:
    return parsed(
        "g (int32[1,9] ids) => (float[1,9,8] y) { i = Cast<to = 7>(ids)  a = Gather(table, i)  b = Tanh(a)  y = Neg(b) }",
        table=noise(11, 8),
    )


@trap
def metadata_everywhere() -> onnx.ModelProto:
    model = skip_connections()
    model.producer_name, model.producer_version, model.domain = "tester", "7", "org.example"
    model.model_version, model.doc_string = 42, "about the model"
    helper.set_model_props(model, {"classes": "cat,dog", "licence": "none"})
    return model
