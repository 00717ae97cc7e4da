"""Hyperparameter grids."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

from core.common.config import existing_file, read_config, single_entry
from multiedge.formats.fields import Field

_FROM_FILES = "other_hyperparameters"


def parse_grid(field: Field) -> tuple[dict[str, Any], ...]:
    """Every combination of the values listed, the last hyperparameter changing fastest; a single empty one if none is listed.

    `other_hyperparameters` names yaml files whose content holds for all combinations; the grid overrides it.
    """
    if not field.given:
        return ({},)
    base: dict[str, Any] = {}
    grid: dict[str, list[Any]] = {}
    for entry in field.items(least=1):
        name, content = single_entry(entry, "one hyperparameter as 'name: {values: [...]}'")
        values = content.record(("values",))["values"].items(least=1)
        if name == _FROM_FILES:
            base.update(_from_files(values))
        else:
            grid[name] = [value.value for value in values]
    return tuple({**base, **dict(zip(grid, values, strict=True))} for values in product(*grid.values()))


def _from_files(urls: Iterable[Field]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for url in urls:
        content = read_config(existing_file(url))
        merged.update({name: field.value for name, field in content.mapping().items()})
    return merged
