"""Passages about boards that do not exist, questions about them in four languages, and the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from workflow_bench.transforms import load_transforms

_TRANSFORMS = load_transforms("nlp")
SENTENCES_FOLDER = Path(__file__).parent / "sentences"
LANGUAGES: tuple[str, ...] = _TRANSFORMS.LANGUAGES
NAMES: list[str] = _TRANSFORMS.NAMES
MEMORIES, CLOCKS, PRICES, YEARS = (1, 2, 4, 8, 16, 32), range(1200, 1700, 100), range(40, 95, 10), range(2015, 2023)
UNITS = {"memory": "gigabytes", "clock": "megahertz", "price": "euros", "year": ""}


@dataclass(frozen=True)
class Board:
    """A board, of memory in gigabytes, a clock in megahertz, and a price in euros."""

    name: str
    memory: int
    clock: int
    price: int
    year: int


def drawn_board(name: str, generator: Generator) -> Board:
    return Board(name, *(int(generator.choice(list(values))) for values in (MEMORIES, CLOCKS, PRICES, YEARS)))


PASSAGES = (
    "the board {name} has {memory} gigabytes of memory , {clock} megahertz , costs {price} euros ; made in {year} .",
    "made in {year} , the board {name} costs {price} euros , runs at {clock} megahertz , {memory} gigabytes .",
    "{name} costs {price} euros , has a clock of {clock} megahertz , {memory} gigabytes and was made in {year} .",
)


def passage_of(board: Board, form: int) -> str:
    """What is written about a board."""
    return PASSAGES[form % len(PASSAGES)].format(**vars(board))


LEARNT_QUESTIONS = {
    "memory": (
        "how much memory does {name} have ?",
        "how many gigabytes of memory does {name} have ?",
        "what is the memory of {name} ?",
        "tell me how much memory the board {name} has .",
    ),
    "clock": (
        "how fast is {name} ?",
        "what is the clock of the board {name} ?",
        "how many megahertz does {name} have ?",
        "what speed has the board {name} ?",
    ),
    "price": (
        "how much does {name} cost ?",
        "what is the price of {name} ?",
        "how many euros is the board {name} ?",
        "what does the board {name} cost ?",
    ),
    "year": (
        "when was {name} made ?",
        "in which year was the board {name} out ?",
        "when was the board {name} out ?",
        "what year was {name} made ?",
    ),
}
"""Questions that the decoder learns from."""
ASKED = {
    "english": {
        "memory": ("how many gigabytes does the board {name} have ?", "do you know how much memory {name} has ?"),
        "clock": ("what is the speed of {name} ?", "tell me the clock of {name} ."),
        "price": ("how many euros does {name} cost ?", "tell me the price of the board {name} ."),
        "year": ("when was the board {name} made ?", "which year was {name} out ?"),
    },
    "german": {
        "memory": ("Wie viel Arbeitsspeicher hat {name}?", "Weißt du, wie groß der Speicher von {name} ist?"),
        "clock": ("Wie schnell ist die Platine {name}?", "Mit welchem Takt läuft {name}?"),
        "price": ("Was kostet {name}?", "Welchen Preis hat die Platine {name}?"),
        "year": ("Wann ist {name} erschienen?", "In welchem Jahr kam {name} heraus?"),
    },
    "french": {
        "memory": ("Combien de mémoire possède la carte {name} ?", "Quelle est la taille de la mémoire de {name} ?"),
        "clock": ("Quelle est la fréquence de {name} ?", "À quelle vitesse tourne la carte {name} ?"),
        "price": ("Combien coûte {name} ?", "Quel est le prix de la carte {name} ?"),
        "year": ("Quand est sortie la carte {name} ?", "En quelle année {name} est-elle parue ?"),
    },
    "spanish": {
        "memory": ("¿Cuánta memoria tiene {name}?", "¿De qué tamaño es la memoria de la placa {name}?"),
        "clock": ("¿A qué velocidad funciona {name}?", "¿Cuál es la frecuencia de la placa {name}?"),
        "price": ("¿Cuánto cuesta la placa {name}?", "¿Qué precio tiene {name}?"),
        "year": ("¿Cuándo salió {name}?", "¿En qué año apareció la placa {name}?"),
    },
}
"""Questions of the items, which no model learns from."""
SENTENCES = {name: (SENTENCES_FOLDER / f"{name}.txt").read_text(encoding="utf-8").split() for name in LANGUAGES}
"""Words of the texts from which the languages are learnt."""


def bytes_of(text: str) -> np.ndarray:
    """A text in UTF-8 with zeros behind it, (96,)."""
    data = text.encode("utf-8")[: _TRANSFORMS.TEXT_BYTES]
    return np.frombuffer(data.ljust(_TRANSFORMS.TEXT_BYTES, b"\0"), np.uint8)


def pieces(generator: Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of the sentences, (n, 96), in which some words are names of boards, and their languages, (n,)."""
    texts, languages = [], []
    for _ in range(count):
        language = int(generator.integers(len(LANGUAGES)))
        words = SENTENCES[LANGUAGES[language]]
        start, length = int(generator.integers(len(words) - 12)), int(generator.integers(4, 13))
        piece = words[start : start + length]
        if generator.random() < 0.7:
            piece[int(generator.integers(len(piece)))] = str(generator.choice(NAMES))
        text = " ".join(piece)
        texts.append(bytes_of(text.lower() if generator.random() < 0.5 else text))
        languages.append(language)
    return np.stack(texts), np.array(languages, np.int64)


def answer_words(board: Board, attribute: str) -> tuple[int, ...]:
    """The numbers of the words of an answer, such as those of '4 gigabytes <end>'."""
    words: Sequence[str] = (str(getattr(board, attribute)), UNITS[attribute] or "<end>", "<end>")
    return tuple(_TRANSFORMS.NUMBER_OF[word] for word in words)


def lessons(generator: Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """What the decoder learns from: passage, question, mark and the answer without its last word, (n, 33); answers, (n, 3)."""
    given, wanted = [], []
    for _ in range(count):
        board = drawn_board(str(generator.choice(NAMES)), generator)
        attribute = str(generator.choice(list(UNITS)))
        question = str(generator.choice(LEARNT_QUESTIONS[attribute])).format(name=board.name)
        passage = _TRANSFORMS.words_of(passage_of(board, int(generator.integers(len(PASSAGES)))), _TRANSFORMS.PASSAGE_WORDS)
        words = _TRANSFORMS.prompt(text=bytes_of(question), passage=passage[None])["words"][0]
        answer = answer_words(board, attribute)
        given.append(np.concatenate([words, answer[:-1]]))
        wanted.append(answer)
    return np.stack(given), np.array(wanted, np.int64)


def asked(boards: Sequence[Board], english: int, others: int, generator: Generator) -> list[tuple[str, tuple[int, ...]]]:
    """Questions, so many in English and in each other language, and the right answers: for other languages than English, their
    name."""
    made = []
    for language, count in zip(LANGUAGES, (english, *[others] * (len(LANGUAGES) - 1)), strict=True):
        for _ in range(count):
            board = boards[int(generator.integers(len(boards)))]
            attribute = str(generator.choice(list(UNITS)))
            question = str(generator.choice(ASKED[language][attribute])).format(name=board.name)
            end = _TRANSFORMS.END
            declined = (_TRANSFORMS.NUMBER_OF[language], end, end)
            made.append((question, answer_words(board, attribute) if language == "english" else declined))
    return [made[number] for number in generator.permutation(len(made))]
