"""Ianvs's configuration files: what they share beyond the decoder of the library."""

from __future__ import annotations

import os

from core.common.utils import get_file_format
from multiedge.errors import ConfigError, describe
from multiedge.formats.documents import read_yaml
from multiedge.formats.fields import Field


def read_config(url: str) -> Field:
    """What a yaml file holds; ConfigError if it is none."""
    if get_file_format(url) not in ("yaml", "yml"):
        raise ConfigError(f"{url}: expected a file that ends in .yaml or .yml")
    return read_yaml(url)


def read_section(url: str, name: str) -> Field:
    """What stands under the one top key of a yaml file."""
    document = read_config(url)
    if name not in document:
        keys = ", ".join(document.mapping()) if isinstance(document.value, dict) else describe(document.value)
        raise document.error(f"expected a mapping with the top key '{name}', got {keys or 'an empty one'}")
    return document[name]


def existing_file(field: Field) -> str:
    """The path of a file or folder; ConfigError if nothing is there."""
    url = field.name()
    if not os.path.exists(url):
        raise field.error(f"no such file '{url}' (looked from {os.getcwd()})")
    return url


def single_entry(field: Field, expectation: str) -> tuple[str, Field]:
    """The key and the value of a mapping with one key."""
    if not isinstance(field.value, dict) or len(field.value) != 1:
        raise field.expected(expectation)
    ((name, value),) = field.mapping().items()
    return name, value
