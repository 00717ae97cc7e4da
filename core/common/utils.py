"""Small helpers under the names that Ianvs gives them."""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import Any

from multiedge.errors import ConfigError
from multiedge.formats.documents import read_yaml

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


def get_file_format(url: str) -> str:
    """The ending of `url` without its dot."""
    return os.path.splitext(url)[1][1:]


def get_local_time() -> str:
    """Now, as the `time` column shows it."""
    return time.strftime(TIME_FORMAT, time.localtime())


def yaml2dict(url: str) -> Any:
    """What a yaml file holds, by the safe loader; ConfigError if it is none."""
    if get_file_format(url) not in ("yaml", "yml"):
        raise ConfigError(f"{url}: expected a file that ends in .yaml or .yml")
    return read_yaml(url).value


def load_module(url: str) -> None:
    """Imports a python file or package for what it does on import; it stays importable by its name."""
    folder, file = os.path.split(os.path.abspath(url))
    sys.path.insert(0, folder)
    try:
        importlib.import_module(os.path.splitext(file)[0])
    except Exception as error:
        raise ConfigError(f"{url}: cannot be imported: {one_line(error)}") from error
    finally:
        sys.path.remove(folder)


def one_line(error: BaseException) -> str:
    """`error` with its kind, on one line; errors that are meant for a person speak for themselves."""
    words = " ".join(str(error).split())
    kind = type(error).__name__
    if type(error).__module__.startswith("multiedge.") or (isinstance(error, RuntimeError) and error.__cause__ is not None):
        return words
    return f"{kind}: {words}" if words else kind
