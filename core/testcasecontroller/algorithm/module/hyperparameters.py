"""Hyperparameter grids."""

from __future__ import annotations

import os
from itertools import product
from typing import Any

from core.common import fields
from core.common.utils import yaml2dict
from multiedge.errors import ConfigError

_FROM_FILES = "other_hyperparameters"


def parse_grid(data: object, place: str) -> tuple[dict[str, Any], ...]:
    """Every combination of the values listed, the last hyperparameter changing fastest; one empty one if none is.

    `other_hyperparameters` names yaml files whose content holds for all combinations; the grid overrides it.
    """
    if data is None:
        return ({},)
    base: dict[str, Any] = {}
    grid: dict[str, list[Any]] = {}
    for index, entry in enumerate(fields.entries(data, place)):
        name, values = _axis(entry, f"{place}[{index}]")
        if name == _FROM_FILES:
            base.update(_from_files(values, f"{place}[{index}].{name}"))
        else:
            grid[name] = values
    return tuple({**base, **dict(zip(grid, values, strict=True))} for values in product(*grid.values()))


def _axis(entry: object, place: str) -> tuple[str, list[Any]]:
    if not isinstance(entry, dict) or len(entry) != 1:
        raise ConfigError(f"{place}: expected one hyperparameter as 'name: {{values: [...]}}', got {fields.found(entry)}")
    ((name, content),) = entry.items()
    here = f"{place}.{name}"
    values = fields.mapping(content, here, ("values",)).get("values")
    return str(name), fields.entries(values, f"{here}.values")


def _from_files(urls: list[Any], place: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for url in urls:
        if not isinstance(url, str) or not os.path.isfile(url):
            raise ConfigError(f"{place}: no such file '{url}' (looked from {os.getcwd()})")
        content = yaml2dict(url)
        if not isinstance(content, dict):
            raise ConfigError(f"{url}: expected a mapping of hyperparameters, got {fields.found(content)}")
        merged.update({str(key): value for key, value in content.items()})
    return merged
