"""The folder of one workflow: its documents, models, items with their right answers, and a note of what they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from multiedge.errors import ConfigError
from multiedge.files import write_text
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Kind
from multiedge.onnx_io.npz import write_npz

NOTE, INDEX = "note.json", "index.txt"
RECIPE = "1"
"""Raise this when what is made changes, so that older folders are made again."""
_KIND = Kind("note of a workflow's models", remedy="run prepare.py again", source="run prepare.py, which writes it")
Answer = tuple[int, ...]
"""The right answer to an item: a class, or several whole numbers."""


@dataclass(frozen=True)
class Note:
    """What a folder holds.

    Attributes:
        items: What the items are, such as "photographs".
        count: How many there are.
        models: A line about each model: what it is, and how it was made.
        seconds: How long it took to make.
    """

    items: str
    count: int
    models: Mapping[str, str]
    seconds: float = 0.0


@dataclass
class WorkflowFolder:
    """The folder of a workflow while it is made.

    Attributes:
        path: Where it is.
        given: Models of the user by name, which are copied instead of made.
        seed: Of everything that is drawn.
        progress: Called with what is done and the share of it.
    """

    path: Path
    given: Mapping[str, Path] = field(default_factory=dict)
    seed: int = 0
    progress: Callable[[str, float], None] = lambda done, share: None
    models: dict[str, str] = field(default_factory=dict)

    def model(self, name: str, make: Callable[[Path], str]) -> Path:
        """The file of a model: the user's, otherwise what `make` writes; it returns a line about the model."""
        path = self.path / f"{name}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in self.given:
            shutil.copyfile(_file(self.given[name]), path)
            self.models[name] = f"file {self.given[name].resolve()}"
        else:
            self.models[name] = make(path)
        return path

    def items(self, what: str, rows: Iterable[tuple[Mapping[str, np.ndarray], Answer]]) -> Note:
        """Writes items, each with its right answer, and the index of both that Ianvs reads."""
        folder, lines = self.path / "items", []
        shutil.rmtree(folder, ignore_errors=True)
        for number, (arrays, answer) in enumerate(rows):
            name = f"{number:05d}.npz"
            write_npz(folder / name, arrays)
            lines.append(f"{folder.name}/{name} {','.join(map(str, answer))}\n")
        write_text(self.path / INDEX, "".join(lines))
        return Note(what, len(lines), dict(self.models))


def _file(path: Path) -> Path:
    if not path.is_file():
        raise ConfigError(f"{path}: expected a model's ONNX file, found none")
    return path


def read_items(folder: Path) -> list[tuple[Path, Answer]]:
    """The items of a folder with their right answers."""
    index = folder / INDEX
    if not index.is_file():
        raise ConfigError(f"{index}: expected the items of a workflow, found no file; run prepare.py first")
    rows = [line.rpartition(" ") for line in index.read_text(encoding="utf-8").splitlines()]
    return [(folder / name, parse_answer(answer)) for name, _, answer in rows]


def parse_answer(text: object) -> Answer:
    """The whole numbers of an answer as an index has it; hosts that make each word an absolute path put a folder before it."""
    return tuple(int(each) for each in str(text).rpartition("/")[2].split(","))


def write_note(folder: Path, note: Note, given: Mapping[str, Path], seed: int) -> None:
    content = {
        "made_of": _made_of(given, seed),
        "items": note.items,
        "count": note.count,
        "seconds": round(note.seconds, 1),
        "models": dict(note.models),
    }
    write_text(folder / NOTE, json.dumps(content, indent=1) + "\n")


def read_note(folder: Path) -> Note:
    content = read_json(folder / NOTE, _KIND)
    models = content["models"].mapping_of(lambda each: each.text())
    return Note(content["items"].text(), content["count"].integer(), models, content["seconds"].number())


def is_made(folder: Path, given: Mapping[str, Path], seed: int) -> bool:
    """Whether the folder was made as it would be made now."""
    path = folder / NOTE
    if not path.is_file():
        return False
    content = json.loads(path.read_text(encoding="utf-8"))
    return bool(content.get("made_of") == _made_of(given, seed))


def _made_of(given: Mapping[str, Path], seed: int) -> dict[str, object]:
    """What a folder follows from: a file of the user may have been written again. ConfigError if there is none."""
    status = {name: _file(path).stat() for name, path in given.items()}
    files = {name: [str(given[name]), each.st_size, each.st_mtime_ns] for name, each in status.items()}
    return {"recipe": RECIPE, "seed": seed, "given": files}
