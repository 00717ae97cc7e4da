"""The states of a model: pairs of an input and an output that loop from one step of a sequence to the next.

Those of decoders are found by the names that exporters give them; others are named by the user. A dimension that is open in the
file and has the same name in input and output is the rows of a sequence, the first such only; another open one is the axis
along which the state grows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from multiedge.errors import ConfigError, ModelError, did_you_mean
from multiedge.graph import SEQUENCE_TENSOR, Graph, Node, Tensor
from multiedge.states import BATCH, SEQUENCE, Extended, State

Pair = tuple[str, str]
"""Names of an input and of the output that is this input of the next step."""

PATTERN = re.compile(r"past_key_values\.(\d+)\.(key|value)")
"""Inputs of optimum's and onnxruntime-genai's decoders; `present.N.key` or `.value` is the output of each."""
MASK = "attention_mask"
"""The input of these decoders that has a value for each token so far."""
MERGED = "use_cache_branch"
"""The input by which a merged decoder chooses between a first step and a later one."""
BUFFERED = ("GroupQueryAttention",)
"""Operators that can write what is new into the buffer of the past."""
UNKEPT = {
    "PagedAttention": "keeps the tokens of all sequences in blocks of one buffer",
    "DecoderMaskedMultiHeadAttention": "has a cache that is laid out for a beam search inside the runtime",
    "DecoderMaskedSelfAttention": "has a cache that is laid out for a beam search inside the runtime",
}
"""Operators whose caches are not the tensors of one sequence, and what they are."""


def with_states(graph: Graph, declared: Mapping[str, Tensor], pairs: Sequence[Pair] = ()) -> Graph:
    """The graph whose states are no inputs and outputs of the caller any more.

    Args:
        graph: A model whose `inputs` and `outputs` are those of its file.
        declared: Inputs and outputs as the file declares them, with the names of open dimensions.
        pairs: States in addition to those that are found by their names.

    Returns:
        The Graph; itself if it has no states.

    Raises:
        ModelError: If there is no such input or output, or both cannot be one state.
    """
    for pair in pairs:
        _require(graph, *pair)
    found = list(dict.fromkeys((*_by_name(graph), *pairs)))
    if not found:
        return graph
    states = tuple(_state(graph, declared, *pair) for pair in found)
    extended = _extended(graph, declared) if any(PATTERN.fullmatch(state.input) for state in states) else ()
    kept, made = {state.input for state in states}, {state.output for state in states}
    looped = {*kept, *(each.input for each in extended)}
    whole = {each.input: graph.tensors[each.input] for each in extended}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in kept}
    tensors.update({each.input: _of_own_tokens(graph, each, states) for each in extended})
    return replace(
        graph,
        nodes=tuple(node if looped.isdisjoint(node.reads) else _with_sequence(node) for node in graph.nodes),
        inputs=(*(name for name in graph.inputs if name not in kept), SEQUENCE),
        outputs=tuple(name for name in graph.outputs if name not in made),
        tensors={**tensors, SEQUENCE: SEQUENCE_TENSOR},
        parameters={**graph.parameters, **{name: graph.tensors[name] for name in kept}},
        states=states,
        extended=extended,
        whole_inputs=whole,
        refusal=_refusal(graph, kept),
    )


def step_shapes(graph: Graph, context: int, tokens: int = 1, batch: int = 1) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's inputs at one step.

    Args:
        graph: The model with its dimensions as the file declares them.
        context: Tokens of the sequence after the step.
        tokens: Tokens of the step.
        batch: Rows of the sequence.

    Returns:
        The shape of each input of the file, by name.

    Raises:
        ConfigError: If the model has no states, or the step has more tokens than the sequence.
    """
    if not graph.states:
        raise ConfigError(f"{graph.name}: has no states, so no context; give shapes of inputs instead")
    if not 1 <= tokens <= context:
        raise ConfigError(f"expected 1 to {context} tokens of a step, the context, got {tokens}")
    growing = {each.input: each.axis for each in graph.extended}
    shapes = {state.input: state.shape(batch, context - tokens) for state in graph.states}
    for name, tensor in graph.file_inputs.items():
        if name not in shapes:
            sizes = enumerate(tensor.shape or ())
            shapes[name] = tuple(
                size if isinstance(size, int) else context if growing.get(name) == axis else tokens if axis else batch
                for axis, size in sizes
            )
    return shapes


def longer_shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's inputs with one more token before the step; none if no state grows, or a shape is not known."""
    shapes = dict(graph.input_shapes)
    growing = [(state.input, state.axis) for state in graph.states if state.axis is not None]
    if not growing or len(shapes) < len(graph.file_inputs):
        return {}
    for name, longer in [*growing, *((each.input, each.axis) for each in graph.extended)]:
        shapes[name] = tuple(size + (axis == longer) for axis, size in enumerate(shapes[name]))
    return shapes


def parse_pairs(texts: Iterable[str]) -> tuple[Pair, ...]:
    """The pairs that options name, each as INPUT=OUTPUT; ConfigError for another text."""
    pairs = []
    for text in texts:
        name, _, output = text.partition("=")
        if not name or not output:
            raise ConfigError(f"--state: expected INPUT=OUTPUT, such as h=h_next, got '{text}'")
        pairs.append((name, output))
    return tuple(pairs)


def _require(graph: Graph, name: str, output: str) -> None:
    if name not in graph.inputs:
        raise ModelError(f"{graph.name}: state '{name}={output}': no input '{name}'{did_you_mean(name, graph.inputs)}")
    if output not in graph.outputs or output not in graph.producer:
        raise ModelError(f"{graph.name}: state '{name}={output}': no output '{output}'{did_you_mean(output, graph.outputs)}")


def _by_name(graph: Graph) -> list[Pair]:
    """The pairs of which the model has both, in the order of its inputs."""
    outputs = {name for name in graph.outputs if name in graph.producer}
    pairs = [(name, f"present.{match[1]}.{match[2]}") for name in graph.inputs if (match := PATTERN.fullmatch(name))]
    return [pair for pair in pairs if pair[1] in outputs]


def _state(graph: Graph, declared: Mapping[str, Tensor], name: str, output: str) -> State:
    before, after = declared[name], declared[output]
    if before.shape is None or before.dtype is None or before.dtype != after.dtype or not before.is_array:
        raise ModelError(
            f"{graph.name}: state '{name}={output}': expected tensors of one type whose dimensions are declared, got"
            f" {before.dtype} {list(before.shape or ())} and {after.dtype} {list(after.shape or ())}"
        )
    start = _start(before.shape, after.shape or ())
    if start.count(0) > 1:
        raise ModelError(f"{graph.name}: state '{name}={output}': grows along more than one axis of {list(before.shape)}")
    made, readers = graph.producer[output], graph.consumers.get(name, ())
    state = State(name, output, before.dtype, start, shared=readers == (made,) and graph.nodes[made].op_type in BUFFERED)
    shape = graph.tensors[output].shape or ()
    length = shape[state.axis] if state.axis is not None and state.axis < len(shape) else 0
    return replace(state, length=length if isinstance(length, int) else 0)


def _start(before: Sequence[int | str | None], after: Sequence[int | str | None]) -> tuple[int, ...]:
    """The shape before the first step, of the declared ones of input and output."""
    start: list[int] = []
    for axis, size in enumerate(before):
        if isinstance(size, int):
            start.append(size)
            continue
        is_same = axis < len(after) and size is not None and after[axis] == size
        is_batch = BATCH not in start and (is_same or (size is None and axis == 0))
        start.append(BATCH if is_batch else 0)
    return tuple(start)


def _extended(graph: Graph, declared: Mapping[str, Tensor]) -> tuple[Extended, ...]:
    """The mask, if it is as long as the tokens so far."""
    shape = declared[MASK].shape if MASK in graph.inputs else None
    others = {
        size for name in graph.inputs if name != MASK and not PATTERN.fullmatch(name) for size in declared[name].shape or ()
    }
    if shape is None or len(shape) != 2 or isinstance(shape[1], int) or shape[1] in others - {None}:
        return ()
    return (Extended(MASK, 1),)


def _of_own_tokens(graph: Graph, extended: Extended, states: Sequence[State]) -> Tensor:
    """The tensor with the values of one step's tokens alone; their number is not known unless that of earlier ones is."""
    tensor = graph.tensors[extended.input]
    sizes = list(tensor.shape or ())
    growing = next((state for state in states if state.axis is not None), None)
    earlier = (graph.tensors[growing.input].shape or ())[growing.axis or 0] if growing else 0
    whole = sizes[extended.axis]
    if not isinstance(whole, int) or not isinstance(earlier, int) or tensor.nbytes is None or whole <= 0:
        return replace(
            tensor, shape=tuple(None if axis == extended.axis else size for axis, size in enumerate(sizes)), nbytes=None
        )
    own = max(whole - earlier, 0)
    sizes[extended.axis] = own
    return replace(tensor, shape=tuple(sizes), nbytes=tensor.nbytes // whole * own)


def _with_sequence(node: Node) -> Node:
    return replace(node, captures=(*node.captures, SEQUENCE))


def _refusal(graph: Graph, kept: set[str]) -> str:
    """Why the states of the model cannot be kept; '' if they can."""
    for node in graph.nodes:
        if not kept.isdisjoint(node.reads):
            if node.op_type == "If" or MERGED in graph.inputs:
                return (
                    "is a merged decoder: an If chooses between steps with and without a cache, so that both halves would have"
                    " to be in every stage; export it without merging (optimum: decoder_with_past_model.onnx, or"
                    " --no-post-process)"
                )
            if node.op_type in UNKEPT:
                return (
                    f"node '{node.name}' ({node.op_type}) {UNKEPT[node.op_type]}, which cannot be kept for each sequence;"
                    " export the model with GroupQueryAttention or with attention in ONNX's own operators"
                )
    return ""
