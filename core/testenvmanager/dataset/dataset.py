"""The dataset of a test environment: the paths of its indexes, and their samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.common.config import existing_file
from core.common.utils import get_file_format
from core.testenvmanager.dataset.index import FORMATS, Row, read_rows
from multiedge.errors import ConfigError
from multiedge.formats.fields import Field

_SPELLINGS = ("index", "data", "data_info", "url")
_NO_LABEL = 0


@dataclass(frozen=True)
class Samples:
    """Items of one index. `x` and `y` are numpy arrays of equal length, of strings for a .txt index."""

    data_type: str
    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def num_examples(self) -> int:
        return len(self)


@dataclass(frozen=True)
class Dataset:
    """Paths of the training index (None if there is none) and of the test index; `label` names a label column."""

    train_url: str | None
    test_url: str
    label: str | None = None

    def load_data(
        self,
        file: str,
        data_type: str,
        label: str | None = None,
        use_raw: bool = False,
        feature_process: Callable[[str], Row] | None = None,
    ) -> Samples:
        """The samples of the index `file`. With `use_raw`, `x` has all words of each line and `y` is empty.
        `feature_process` returns the input and the label of a line."""
        rows = read_rows(file, label or self.label)
        if feature_process is not None:
            rows = [list(feature_process(" ".join(map(str, row)))) for row in rows]
        if use_raw:
            is_ragged = len({len(row) for row in rows}) > 1
            return Samples(data_type, np.array(rows, dtype=object if is_ragged else None), np.array([]))
        labels = [row[1] if len(row) > 1 else _NO_LABEL for row in rows]
        return Samples(data_type, np.array([row[0] for row in rows]), np.array(labels))

    def check(self) -> None:
        """Raises ConfigError if the indexes cannot be read or there is nothing to test on."""
        if self.train_url:
            read_rows(self.train_url, self.label)
        if not read_rows(self.test_url, self.label):
            raise ConfigError(f"{self.test_url}: the test dataset is empty; expected one item a line")


def parse_dataset(field: Field) -> Dataset:
    """The dataset that a test environment describes, in any of the spellings that Ianvs's files use."""
    spellings = [f"{part}_{spelling}" for part in ("train", "test") for spelling in _SPELLINGS]
    content = field.record((*spellings, "label"))
    test_url = _index(content, "test")
    if test_url is None:
        raise field.error(f"expected one of {', '.join(spellings[len(_SPELLINGS) :])}, got none of them")
    return Dataset(_index(content, "train"), test_url, content["label"].optional(Field.text) or None)


def _index(content: Field, part: str) -> str | None:
    """The path under the one spelling that is used. An empty text counts as not given, as in Ianvs."""
    keys = [key for key in (f"{part}_{spelling}" for spelling in _SPELLINGS) if content[key].given and content[key].value != ""]
    if not keys:
        return None
    if len(keys) > 1:
        raise content.error(f"{' and '.join(keys)} mean the same; keep one")
    field = content[keys[0]]
    if get_file_format(field.name()) not in FORMATS:
        raise field.expected(f"a file that ends in .{', .'.join(FORMATS)}")
    return existing_file(field)
