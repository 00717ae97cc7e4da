"""Text to tokens and back, by the files that lie beside a model.

`tokenizer.json` is read by the library `tokenizers`. Which tokens end a text, and how a conversation becomes a prompt, is in
`tokenizer_config.json`, `chat_template.jinja`, `generation_config.json` or `genai_config.json`, as Hugging Face and
onnxruntime-genai write them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.decoding.contract import Tokens
from multiedge.errors import ConfigError, MissingDependencyError, ModelError, no_such, one_line
from multiedge.formats.documents import read_json, read_text
from multiedge.formats.fields import Field

TOKENIZER_FILE = "tokenizer.json"
_SETTINGS = ("tokenizer_config.json", "chat_template.jinja", "generation_config.json", "genai_config.json")
TEXT_FILES = (TOKENIZER_FILE, *_SETTINGS)
"""What is read of the files beside a model."""
Message = Mapping[str, str]
"""One message of a conversation: `role` and `content`."""


@dataclass(frozen=True)
class TextSettings:
    """What files beside a model say of its texts.

    Attributes:
        begin: The token that begins a text, as text; '' if there is none.
        end: The token that ends a text, as text; '' if there is none.
        end_tokens: Tokens that end a text, by number.
        chat_template: Jinja template that makes a prompt of a conversation; '' if there is none.
    """

    begin: str = ""
    end: str = ""
    end_tokens: frozenset[int] = frozenset()
    chat_template: str = ""


class TextTokenizer:
    """A tokenizer with the settings of its model. `raw` is a `tokenizers.Tokenizer`."""

    def __init__(self, raw: Any, settings: TextSettings, place: str = "tokenizer") -> None:
        self.raw, self.settings, self._place = raw, settings, place
        named = raw.token_to_id(settings.end) if settings.end else None
        self.end_tokens = settings.end_tokens | (frozenset() if named is None else {int(named)})

    def encode(self, text: str, *, special: bool = True) -> Tokens:
        """The tokens of a text, (n,), with those that the tokenizer puts around it if `special`."""
        return np.array(self.raw.encode(text, add_special_tokens=special).ids, np.int64)

    def encode_chat(self, messages: Sequence[Message]) -> Tokens:
        """The tokens of a conversation, (n,), up to where the model's answer begins.

        Raises ConfigError if the model has no template for conversations, or its template refuses them.
        """
        return self.encode(self._prompt_of(messages), special=False)

    def decode(self, tokens: Sequence[int] | Tokens) -> str:
        """The text of tokens, without special ones. Bytes that are no character become U+FFFD."""
        return str(self.raw.decode([int(token) for token in tokens], skip_special_tokens=True))

    def stream(self) -> TextStream:
        """What turns tokens into text as they come."""
        return TextStream(self)

    def _prompt_of(self, messages: Sequence[Message]) -> str:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        if not self.settings.chat_template:
            raise ConfigError(f"{self._place}: has no chat template; ask for a completion of a prompt instead")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        words = {"bos_token": self.settings.begin, "eos_token": self.settings.end, "add_generation_prompt": True}
        try:
            return environment.from_string(self.settings.chat_template).render(messages=list(messages), **words)
        except TemplateError as error:
            raise ConfigError(f"{self._place}: its chat template refuses this conversation: {one_line(error)}") from error


class TextStream:
    """Text of tokens, piece by piece: a character whose bytes lie in several tokens comes with the last of them."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer, self._decoder = tokenizer, DecodeStream(skip_special_tokens=True)
        self._tokens: list[int] = []
        self._size = 0

    def add(self, token: int) -> str:
        """The text that this token completes; '' if it completes none."""
        self._tokens.append(token)
        piece = self._decoder.step(self._tokenizer.raw, token) or ""
        self._size += len(piece)
        return piece

    def end(self) -> str:
        """What is left: bytes that no token has completed, as U+FFFD."""
        return self._tokenizer.decode(self._tokens)[self._size :]


def read_tokenizer(model: Path, file: Path | None = None) -> TextTokenizer:
    """The tokenizer of the model in the file or folder `model`: `file`, or the `tokenizer.json` beside the model.

    Raises ModelError if there is no such model, or the file is no tokenizer; ConfigError if there is none, since bytes or words
    would be other tokens than those that the model was trained on; MissingDependencyError without the package `tokenizers`.
    """
    if not model.exists():
        raise ModelError(no_such(model, "model file"))
    folder = model if model.is_dir() else model.parent
    place = file or folder / TOKENIZER_FILE
    if not place.is_file():
        if file is not None:
            raise ConfigError(no_such(file, "tokenizer"))
        raise ConfigError(
            f"{folder}: has no {TOKENIZER_FILE}, and no other tokens can take the place of those that the model was trained on;"
            " put the model's own beside it, or name it with --tokenizer"
        )
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDependencyError("tokenizers", extra="llm") from error
    try:
        raw = Tokenizer.from_file(str(place))
    except Exception as error:  # the library raises Exception itself
        raise ModelError(f"{place}: is no tokenizer of the library tokenizers: {one_line(error)}") from error
    return TextTokenizer(raw, read_settings(place.parent), str(place))


def text_files(model: Path, file: Path | None = None) -> dict[str, Path]:
    """The files that `read_tokenizer` reads, by the name that each has beside a model; {} if there is no tokenizer.

    Raises ConfigError if there is no such `file`.
    """
    place = file or model.parent / TOKENIZER_FILE
    if file is not None and not file.is_file():
        raise ConfigError(no_such(file, "tokenizer"))
    if not place.is_file():
        return {}
    settings = {name: place.parent / name for name in _SETTINGS}
    return {TOKENIZER_FILE: place, **{name: path for name, path in settings.items() if path.is_file()}}


def read_settings(folder: Path) -> TextSettings:
    """What the files of a folder say of a model's texts; files that are not there say nothing."""
    texts, template = _document(folder / "tokenizer_config.json"), folder / "chat_template.jinja"
    chat = read_text(template) if template.is_file() else texts["chat_template"].optional(_template, "")
    numbers = [_document(folder / "generation_config.json")["eos_token_id"]]
    genai = _document(folder / "genai_config.json")["model"]
    numbers += [genai["eos_token_id"]] if genai.given else []
    ends = frozenset(token for field in numbers for token in field.optional(_tokens, ()))
    return TextSettings(texts["bos_token"].optional(_token, ""), texts["eos_token"].optional(_token, ""), ends, chat)


def _document(path: Path) -> Field:
    return read_json(path) if path.is_file() else Field({}, str(path))


def _token(field: Field) -> str:
    """A token as text, or as a mapping that has it as `content`."""
    return field.text() if isinstance(field.value, str) else field["content"].text()


def _tokens(field: Field) -> tuple[int, ...]:
    """One number or a list of them."""
    return field.list_of(Field.count) if isinstance(field.value, list) else (field.count(),)


def _template(field: Field) -> str:
    """A template, or the one called 'default' of a list of {name, template}."""
    if isinstance(field.value, str):
        return field.text()
    named = {entry["name"].text(): entry["template"].text() for entry in field.items()}
    return named.get("default", "")


def _refuse(message: str) -> None:
    """What templates call for a conversation that they have no form for."""
    from jinja2 import TemplateError

    raise TemplateError(message)
