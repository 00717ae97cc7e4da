"""Small helpers with their names in Ianvs."""

from __future__ import annotations

import importlib
import os
import sys
import time

from multiedge.errors import ConfigError, MultiedgeError

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


def get_file_format(url: str) -> str:
    """The file name extension of `url` without its dot."""
    return os.path.splitext(url)[1][1:]


def get_local_time() -> str:
    """The present time in the format of the `time` column."""
    return time.strftime(TIME_FORMAT, time.localtime())


def load_module(url: str) -> None:
    """Imports a python file or package, which can then be imported by its name."""
    folder, file = os.path.split(os.path.abspath(url))
    sys.path.insert(0, folder)
    try:
        importlib.import_module(os.path.splitext(file)[0])
    except Exception as error:
        raise ConfigError(f"{url}: cannot be imported: {one_line(error)}") from error
    finally:
        sys.path.remove(folder)


def one_line(error: BaseException) -> str:
    """`error` on one line, after the name of its class unless its text was written to be read by a user."""
    words = " ".join(str(error).split())
    kind = type(error).__name__
    if isinstance(error, MultiedgeError) or (isinstance(error, RuntimeError) and error.__cause__ is not None):
        return words
    return f"{kind}: {words}" if words else kind
