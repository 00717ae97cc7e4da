"""Which inputs of a language model hold tokens, mask and positions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.decoding.contract import Tokens
from multiedge.errors import ModelError, did_you_mean
from multiedge.graph import Graph, Tensor
from multiedge.states import SEQUENCE, Extended, State

TOKENS, MASK, POSITIONS, LOGITS = "input_ids", "attention_mask", "position_ids", "logits"


@dataclass(frozen=True)
class StepSignature:
    """The inputs and outputs of a language model by what they hold.

    Attributes:
        tokens: The input for tokens, (batch, n).
        mask: That for 1 for each token, (batch, n), or (batch, past + n); None if the model has none.
        positions: That for the number of tokens before each token, (batch, n); None if the model has none.
        logits: The output with the logits of the next token, (batch, n or 1, vocabulary).
        vocabulary: Number of tokens that have logits; None if the model does not state it.
        masks_past: Whether the mask is of earlier tokens, too: where states are kept, the mask is kept as well.
        fixed_state: A state that keeps its shape, so that no tokens can be taken back; '' if there is none.
    """

    tokens: Tensor
    mask: Tensor | None
    positions: Tensor | None
    logits: str
    vocabulary: int | None
    masks_past: bool = False
    fixed_state: str = ""

    @property
    def no_cut(self) -> str:
        """Why tokens cannot be taken back; '' if they can."""
        if not self.fixed_state:
            return ""
        return f"state '{self.fixed_state}' keeps its shape, so that tokens cannot be taken back"

    def item(self, tokens: Tokens, past: int) -> dict[str, npt.NDArray[Any]]:
        """Tokens, (batch, n), with the mask and positions that the model takes, after `past` earlier tokens."""
        batch, count = tokens.shape
        values = [(self.tokens, tokens)]
        if self.mask is not None:
            values.append((self.mask, np.ones((batch, past + count if self.masks_past else count), np.int64)))
        if self.positions is not None:
            values.append((self.positions, np.broadcast_to(np.arange(past, past + count), tokens.shape)))
        return {tensor.name: array.astype(tensor.dtype or "int64") for tensor, array in values}


def step_signature(graph: Graph) -> StepSignature:
    """The inputs and outputs of a language model by what they hold.

    Args:
        graph: The model, with open dimensions as its file declares them.

    Returns:
        The signature.

    Raises:
        ModelError: If the model has no tokens, logits or states, states that cannot be kept, or an input of an unknown kind.
    """
    if graph.refusal:
        raise ModelError(f"{graph.name}: {graph.refusal}")
    inputs, outputs = ({name: graph.tensors[name] for name in names} for names in (graph.inputs, graph.outputs))
    return signature_of(graph.name, inputs, outputs, graph.states, graph.extended)


def signature_of(
    name: str,
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
    states: Collection[State],
    extended: Collection[Extended],
) -> StepSignature:
    """The same of a model whose file is elsewhere, by its tensors and what its stages keep; `name` begins errors."""
    inputs = {each: tensor for each, tensor in inputs.items() if each != SEQUENCE}
    mask, positions = inputs.pop(MASK, None), inputs.pop(POSITIONS, None)
    tokens = inputs.get(TOKENS) or _only(name, inputs)
    others = [each for each in inputs if each != tokens.name]
    if others:
        raise ModelError(
            f"{name}: input '{others[0]}' holds neither tokens, mask nor positions; if it is a state, name it:"
            f" --state {others[0]}=OUTPUT"
        )
    if not states:
        raise ModelError(
            f"{name}: has no states, so that it would forget earlier tokens; export it with its past keys and values, or"
            " name its states: --state INPUT=OUTPUT"
        )
    logits = LOGITS if LOGITS in outputs or len(outputs) != 1 else next(iter(outputs))
    if logits not in outputs:
        raise ModelError(f"{name}: is no language model: expected an output '{LOGITS}'{did_you_mean(LOGITS, outputs)}")
    shape = outputs[logits].shape or (None,)
    masks_past = mask is not None and MASK not in {each.input for each in extended}
    vocabulary = shape[-1] if isinstance(shape[-1], int) else None
    fixed = next((state.input for state in states if state.axis is None), "")
    return StepSignature(tokens, mask, positions, logits, vocabulary, masks_past, fixed)


def _only(name: str, inputs: Mapping[str, Tensor]) -> Tensor:
    """The one input that can hold tokens."""
    integers = [tensor for tensor in inputs.values() if tensor.dtype in ("int32", "int64")]
    if len(integers) != 1:
        raise ModelError(f"{name}: is no language model: expected an input '{TOKENS}'{did_you_mean(TOKENS, inputs)}")
    return integers[0]
