"""Text to tokens and back, and what the files beside a model say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from multiedge.decoding.tokenizer import read_settings, read_tokenizer, text_files
from multiedge.errors import ConfigError, ModelError
from tests.builders.text_models import END, byte_tokenizer, write_tokenizer

TEXT = "naïve – 你好 🙂 e\u0301"


def test_what_is_read_beside_a_model_is_listed(tmp_path: Path) -> None:
    assert text_files(tmp_path / "model.onnx") == {}
    tokenizer, settings = write_tokenizer(tmp_path), tmp_path / "generation_config.json"
    settings.write_text("{}")
    both = {tokenizer.name: tokenizer, settings.name: settings}
    assert text_files(tmp_path / "model.onnx") == text_files(tmp_path / "elsewhere" / "model.onnx", tokenizer) == both
    other = tokenizer.rename(tmp_path / "other.json")
    assert text_files(tmp_path / "model.onnx", other) == {"tokenizer.json": other, settings.name: settings}
    with pytest.raises(ConfigError, match="no such tokenizer"):
        text_files(tmp_path / "model.onnx", tmp_path / "none.json")


def test_a_character_comes_with_the_last_of_its_tokens() -> None:
    tokenizer = byte_tokenizer()
    stream = tokenizer.stream()
    pieces = [stream.add(token) for token in tokenizer.encode(TEXT).tolist()]
    assert "".join(pieces) == TEXT
    assert len(pieces) == len(TEXT.encode())
    assert not any("\ufffd" in piece for piece in pieces)
    assert pieces[:4] == ["n", "a", "", "ï"]
    assert stream.end() == ""


def test_bytes_that_no_token_completes_are_marked_at_the_end() -> None:
    tokenizer = byte_tokenizer()
    tokens = tokenizer.encode("a🙂").tolist()[:-1]
    stream = tokenizer.stream()
    shown = "".join(stream.add(token) for token in tokens)
    assert shown + stream.end() == tokenizer.decode(tokens)
    assert shown == "a"


def test_bytes_that_are_no_character_are_marked_once_others_follow() -> None:
    tokenizer = byte_tokenizer()
    tokens = [*tokenizer.encode("🙂").tolist()[:2], *tokenizer.encode("ab").tolist()]
    stream = tokenizer.stream()
    assert "".join(stream.add(token) for token in tokens) + stream.end() == tokenizer.decode(tokens) != ""


def test_special_tokens_have_no_text() -> None:
    tokenizer = byte_tokenizer()
    (end,) = tokenizer.end_tokens
    assert tokenizer.decode([*tokenizer.encode("hi"), end]) == "hi"


def test_a_conversation_becomes_a_prompt_by_the_models_template() -> None:
    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}[assistant]"
    tokenizer = byte_tokenizer(chat_template=template)
    tokens = tokenizer.encode_chat([{"role": "user", "content": "hi"}])
    assert tokenizer.raw.decode(tokens.tolist(), skip_special_tokens=False) == f"[user] hi{END}[assistant]"


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("", "tokenizer: has no chat template; ask for a completion of a prompt instead"),
        ("{{ raise_exception('no system role') }}", "tokenizer: its chat template refuses this conversation: no system role"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "tokenizer: its chat template refuses this conversation: "),
    ],
)
def test_a_conversation_without_a_usable_template_is_refused(template: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        byte_tokenizer(chat_template=template).encode_chat([{"role": "user", "content": "hi"}])
    assert str(caught.value).startswith(line)


def test_a_model_that_is_not_there_is_refused_before_its_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        read_tokenizer(tmp_path / "model.onnx")


def test_a_model_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json, and no other tokens can take the place"):
        read_tokenizer(tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match="no such tokenizer"):
        read_tokenizer(tmp_path / "model.onnx", tmp_path / "other.json")


def test_a_file_that_is_no_tokenizer_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="is no tokenizer of the library tokenizers: ") as caught:
        read_tokenizer(tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


def test_the_tokenizer_beside_a_model_is_read_with_its_settings(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": END, "lstrip": False}}))
    (tmp_path / "model.onnx").touch()
    tokenizer = read_tokenizer(tmp_path / "model.onnx")
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert tokenizer.end_tokens == {256}


@pytest.mark.parametrize(
    ("file", "content", "ends"),
    [
        ("generation_config.json", {"eos_token_id": 7}, {7}),
        ("generation_config.json", {"eos_token_id": [7, 8]}, {7, 8}),
        ("generation_config.json", {"eos_token_id": None}, set()),
        ("genai_config.json", {"model": {"eos_token_id": [9], "type": "llama"}}, {9}),
        ("genai_config.json", {"search": {}}, set()),
    ],
)
def test_tokens_that_end_a_text_are_read_from_the_files_that_have_them(
    tmp_path: Path, file: str, content: dict[str, object], ends: set[int]
) -> None:
    (tmp_path / file).write_text(json.dumps(content))
    assert read_settings(tmp_path).end_tokens == ends


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("one", "one"),
        ([{"name": "default", "template": "two"}, {"name": "rag", "template": "three"}], "two"),
        ([{"name": "rag", "template": "three"}], ""),
    ],
)
def test_the_template_for_conversations_is_that_called_default(tmp_path: Path, template: object, expected: str) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    assert read_settings(tmp_path).chat_template == expected


def test_a_template_may_have_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("own")
    assert read_settings(tmp_path).chat_template == "own"


def test_a_setting_of_another_type_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": "end"}')
    with pytest.raises(ConfigError, match=r"generation_config.json: eos_token_id: expected a whole number"):
        read_settings(tmp_path)
