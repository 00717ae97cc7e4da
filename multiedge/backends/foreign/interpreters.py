"""Python interpreters of a given version on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from multiedge.errors import ConfigError

MANAGED = (
    ("PYENV_ROOT", "~/.pyenv", "versions/{version}*/bin/python"),
    ("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python", "cpython-{version}.*/bin/python3"),
    ("ASDF_DATA_DIR", "~/.asdf", "installs/python/{version}*/bin/python"),
    ("MISE_DATA_DIR", "~/.local/share/mise", "installs/python/{version}*/bin/python"),
    ("CONDA_ROOT", "~/miniconda3", "envs/*/bin/python{version}"),
    ("CONDA_ROOT", "~/miniforge3", "envs/*/bin/python{version}"),
)
"""Where version managers keep interpreters: an environment variable with the folder, the usual folder, a pattern in it."""
CHECK = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
LIMIT_S = 20.0


def variable_of(version: str) -> str:
    """The environment variable that names an interpreter of the version.

    >>> variable_of("3.12")
    'MULTIEDGE_PYTHON_3_12'
    """
    return f"MULTIEDGE_PYTHON_{version.replace('.', '_')}"


def find_interpreter(version: str, purpose: str, named: str = "") -> Path:
    """An interpreter of the version that can set up environments.

    Looks at `named`, if it is given, alone; then at the one in the environment variable; on PATH; in the folders of version
    managers.

    Args:
        version: Such as '3.12'.
        purpose: What needs it, for the error.
        named: A path or a name on PATH that the user gave.

    Raises:
        ConfigError: If there is none; the line has the remedy.
    """
    variable = variable_of(version)
    stated = named or os.environ.get(variable, "")
    if stated:
        if not _is_one(Path(shutil.which(stated) or stated), version):
            place = "option 'python'" if named else variable
            raise ConfigError(f"{purpose}: {place}: expected an interpreter of Python {version} with venv, got '{stated}'")
        return Path(shutil.which(stated) or stated)
    for path in _candidates(version):
        if _is_one(path, version):
            return path
    raise ConfigError(
        f"{purpose} needs Python {version}, which was not found on PATH or in the folders of version managers; install it,"
        f" or set {variable} to its path"
    )


def _candidates(version: str) -> Iterator[Path]:
    if sys.version_info[:2] == tuple(int(part) for part in version.split(".")):
        yield Path(sys.executable)
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield Path(on_path)
    for variable, usual, pattern in MANAGED:
        root = Path(os.environ.get(variable) or usual).expanduser()
        yield from sorted(root.glob(pattern.format(version=version)), reverse=True)


def _is_one(path: Path, version: str) -> bool:
    """Whether it runs and is of that version: the launchers of version managers exist without the version that they start."""
    try:
        done = subprocess.run([path, "-I", "-c", CHECK], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip() == version
