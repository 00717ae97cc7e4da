"""Trains a decoder with torch. Its weights have the names and shapes of those in `decoder_onnx`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from llm_bench.decoder_onnx import Decoder

Progress = Callable[[str, float], None]
"""Called with what is done and the share of it that is done."""


@dataclass(frozen=True)
class Schedule:
    """How a decoder is trained.

    Attributes:
        steps: Number of steps of the optimiser.
        batch: Windows in each step.
        window: Tokens of each window.
        rate: Largest learning rate; it rises over `warmup` steps, then falls as a cosine to a tenth.
        warmup: Steps.
        decay: Weight decay (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).
        dropout: Share of the residual updates that a step leaves out.
        seed: Of weights, windows and dropout.
    """

    steps: int = 600
    batch: int = 8
    window: int = 128
    rate: float = 2e-3
    warmup: int = 40
    decay: float = 0.1
    dropout: float = 0.1
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (0.1 + 0.45 * (1 + math.cos(math.pi * share)))


class TorchDecoder(nn.Module):
    """The decoder of `decoder_onnx.Decoder`; the product at its end has the embeddings as its weight."""

    def __init__(self, decoder: Decoder, dropout: float = 0.0) -> None:
        super().__init__()
        self.decoder, self.dropout = decoder, dropout
        shapes = {name: shape for name, shape in decoder.weight_shapes().items() if name != "lm_head.weight"}
        deep = 0.02 / math.sqrt(2 * decoder.layers)  # as in GPT-2: what is added to the residual stream begins small
        for name, shape in shapes.items():
            scale = deep if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.02
            values = torch.ones(shape) if len(shape) == 1 else torch.randn(shape) * scale
            self.register_parameter(name.replace(".", "/"), nn.Parameter(values))
        angles = torch.from_numpy(np.tile(decoder.rotary_angles(), 2))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def weight(self, name: str) -> torch.Tensor:
        """The weight of this name, as `decoder_onnx` has it."""
        if name == "lm_head.weight":
            return self.weight("model.embed_tokens.weight").T
        return self.get_parameter(name.replace(".", "/"))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits, (batch, n, vocabulary), of tokens, (batch, n)."""
        stream = self.weight("model.embed_tokens.weight")[tokens]
        for layer in range(self.decoder.layers):
            stream = stream + self._dropped(self._attention(self._normal(stream, layer, "input_layernorm"), layer))
            stream = stream + self._dropped(self._feed_forward(self._normal(stream, layer, "post_attention_layernorm"), layer))
        return self._scaled(stream, self.weight("model.norm.weight")) @ self.weight("lm_head.weight")

    def _of(self, layer: int, name: str) -> torch.Tensor:
        return self.weight(f"model.layers.{layer}.{name}.weight")

    def _dropped(self, update: torch.Tensor) -> torch.Tensor:
        return functional.dropout(update, self.dropout, self.training)

    def _normal(self, stream: torch.Tensor, layer: int, name: str) -> torch.Tensor:
        return self._scaled(stream, self._of(layer, name))

    def _scaled(self, stream: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return stream * torch.rsqrt(stream.square().mean(-1, keepdim=True) + self.decoder.epsilon) * weight

    def _attention(self, stream: torch.Tensor, layer: int) -> torch.Tensor:
        batch, count, _ = stream.shape
        query, key, value = (self._heads(stream @ self._of(layer, f"self_attn.{name}_proj")) for name in "qkv")
        query, key = (self._rotated(tensor) for tensor in (query, key))
        groups = self.decoder.heads // self.decoder.kv_heads
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).reshape(batch, count, -1) @ self._of(layer, "self_attn.o_proj")

    def _heads(self, rows: torch.Tensor) -> torch.Tensor:
        """(batch, heads, n, size)"""
        batch, count, _ = rows.shape
        return rows.view(batch, count, -1, self.decoder.head_size).transpose(1, 2)

    def _rotated(self, heads: torch.Tensor) -> torch.Tensor:
        first, second = heads.chunk(2, dim=-1)
        count = heads.shape[-2]
        return heads * self.cos[:count] + torch.cat([-second, first], dim=-1) * self.sin[:count]

    def _feed_forward(self, stream: torch.Tensor, layer: int) -> torch.Tensor:
        gate, up = (stream @ self._of(layer, f"mlp.{name}_proj") for name in ("gate", "up"))
        return (functional.silu(gate) * up) @ self._of(layer, "mlp.down_proj")


@dataclass(frozen=True)
class Trained:
    """A trained decoder: its weights by name, the mean loss of its last steps in nats, and how long it took."""

    weights: dict[str, Any]
    loss: float
    seconds: float


def train(decoder: Decoder, tokens: Any, schedule: Schedule, progress: Progress = lambda done, share: None) -> Trained:
    """Trains a decoder on tokens, (n,), to predict the next one.

    Args:
        decoder: Its sizes.
        tokens: The text, as int64; more than one window of it.
        schedule: How.
        progress: Called after each step.

    Returns:
        What was trained.
    """
    torch.manual_seed(schedule.seed)
    model = TorchDecoder(decoder, schedule.dropout)
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    vectors = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [{"params": matrices, "weight_decay": schedule.decay}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=schedule.rate, betas=(0.9, 0.95))
    text, losses, begin_s = torch.from_numpy(tokens), [], time.monotonic()
    for step in range(schedule.steps):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate_at(step)
        starts = torch.randint(len(text) - schedule.window, (schedule.batch,))
        rows = torch.stack([text[start : start + schedule.window + 1] for start in starts.tolist()])
        loss = functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        progress(f"step {step + 1} of {schedule.steps}, loss {losses[-1]:.2f}", (step + 1) / schedule.steps)
    weights = {name: model.weight(name).detach().numpy().copy() for name in decoder.weight_shapes()}
    last = losses[-max(1, schedule.steps // 20) :]
    return Trained(weights, sum(last) / len(last), time.monotonic() - begin_s)


def logits_of(decoder: Decoder, weights: dict[str, Any], tokens: Any) -> Any:
    """Torch's logits, (batch, n, vocabulary), of tokens, (batch, n)."""
    model = TorchDecoder(decoder).eval()
    with torch.no_grad():
        for name in weights.keys() - {"lm_head.weight"}:
            model.weight(name).copy_(torch.from_numpy(weights[name]))
        return model(torch.from_numpy(tokens)).numpy()
