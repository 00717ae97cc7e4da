"""Names of strategies, profilers, backends, executors and metrics, imported only when used.

A kind's table maps a name to 'module:attribute'. Packages from outside add theirs through the entry-point group
`multiedge.<kind>s`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module, metadata
from typing import Any

from multiedge.errors import ConfigError, did_you_mean


def entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    """What installed packages register in the group. A scan reads every package's metadata, so one serves all groups."""
    return tuple(_scanned(tuple(sys.path)).select(group=group))


@cache
def _scanned(path: tuple[str, ...]) -> metadata.SelectableGroups | metadata.EntryPoints:
    """The entry points found along `path`, which is sys.path: what is found there changes with it alone."""
    return metadata.entry_points()


class Registry:
    """The names of one kind.

    >>> kinds = Registry("executor", {"inline": "multiedge.errors:ConfigError"})
    >>> kinds.names()
    ('inline',)
    >>> kinds.load("inline").__name__
    'ConfigError'
    """

    def __init__(self, kind: str, table: Mapping[str, str]) -> None:
        self.kind = kind
        self._table = dict(table)

    @property
    def group(self) -> str:
        """The entry-point group in which packages from outside register."""
        return f"multiedge.{self.kind}s"

    def table(self) -> dict[str, str]:
        """Every name with its 'module:attribute'. ConfigError if a package from outside registers a taken one."""
        table = dict(self._table)
        for point in entry_points(group=self.group):
            if table.get(point.name, point.value) != point.value:
                raise ConfigError(
                    f"{self.kind} '{point.name}' is registered twice: {table[point.name]} and {point.value};"
                    " uninstall one or rename it"
                )
            table[point.name] = point.value
        return table

    def names(self) -> tuple[str, ...]:
        return tuple(self.table())

    def is_own(self, name: str) -> bool:
        """Whether the library itself registers `name`, which takes no look at the installed packages."""
        return name in self._table

    def find(self, name: str, place: str = "") -> str:
        """The 'module:attribute' of `name`; ConfigError that begins with `place` and lists near names if there is none."""
        table = self.table()
        if name not in table:
            raise ConfigError(f"{place}unknown {self.kind} '{name}'{did_you_mean(name, table)}")
        return table[name]

    def load(self, name: str) -> Any:
        """What is registered under `name`; ConfigError that lists near names if there is none, or if it cannot be imported."""
        value = self.find(name)
        module, _, attribute = value.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{self.kind} '{name}' cannot be imported from {value}: {error}") from error
