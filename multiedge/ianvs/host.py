"""The location of the Ianvs host, and the command `ianvs` that starts it.

The host's package is called `core`, because users' files import `core...` as they do in KubeEdge Ianvs. Two distributions
with a top-level `core` would overwrite each other's files on installation, without a warning from pip. Therefore a wheel
holds the host below this package, in `_host/`, and it can be imported as `core` only in the process that runs it. In a
checkout it is beside this package.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from multiedge.errors import MultiedgeError

HERE = Path(__file__).parents[1]
_UPSTREAM = "ianvs"
_LANDMARK = Path("core", "common", "user_module.py")


def host_folder() -> Path:
    """The folder to put on `sys.path` so that `core` is this project's host; MultiedgeError if the host is missing."""
    for folder in (HERE / "_host", HERE.parent):
        if (folder / _LANDMARK).is_file():
            return folder
    raise MultiedgeError(f"this installation in {HERE} has no Ianvs host; run: pip install --force-reinstall multi-edge-bench")


def upstream_version() -> str | None:
    """The version of KubeEdge Ianvs that is installed beside this project, None if there is none."""
    try:
        return version(_UPSTREAM)
    except PackageNotFoundError:
        return None


def main() -> int:
    """The command `ianvs`. Where KubeEdge Ianvs is installed, its host runs, since the name is its command's."""
    upstream = upstream_version()
    if upstream is None:
        _remark_on(Path.cwd())
        return run_host()
    note = "KubeEdge Ianvs %s is installed, so its host runs; `python -m multiedge.ianvs.host` runs this project's"
    print(note % upstream, file=sys.stderr)
    return _benchmarking()() or 0


def _remark_on(folder: Path) -> None:
    """A note on stderr if the current folder is a checkout of KubeEdge Ianvs, whose host the user may expect to run."""
    is_checkout = (folder / "core" / "cmd" / "benchmarking.py").is_file() and not (folder / _LANDMARK).is_file()
    if is_checkout:
        note = (
            "the KubeEdge Ianvs in this folder is not installed, so the host of multi-edge-bench runs;"
            " `python -m core.cmd.benchmarking` runs the one in this folder"
        )
        print(note, file=sys.stderr)


def run_host() -> int:
    """Runs this project's host, whatever else is called `core`."""
    sys.path.insert(0, str(host_folder()))
    return _benchmarking()() or 0


def _benchmarking() -> Callable[[], int | None]:
    main: Callable[[], int | None] = import_module("core.cmd.benchmarking").main
    return main


if __name__ == "__main__":
    sys.exit(run_host())
