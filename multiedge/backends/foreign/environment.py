"""Environments of another Python: folders with pinned packages, set up on first use and kept."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from multiedge.backends.foreign.interpreters import find_interpreter
from multiedge.backends.kept import made_once
from multiedge.errors import ModelError, one_line
from multiedge.files import cache_folder

HIDDEN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")
"""Variables that would lead another interpreter to this one's packages."""
FREEZE = "packages.txt"
"""The file in an environment that names what was installed."""
PIP = ("-I", "-m", "pip", "--disable-pip-version-check", "--no-input")


@dataclass(frozen=True)
class Environment:
    """Packages for a version of Python.

    Attributes:
        name: What it is for, in words of a file name.
        python: The version, such as '3.12'.
        packages: What pip installs, each with its version.
        interpreter: The interpreter that the user named; '' to look for one.
        is_alone: Whether what the packages depend on is left out.
    """

    name: str
    python: str
    packages: tuple[str, ...]
    interpreter: str = ""
    is_alone: bool = False

    @property
    def folder(self) -> Path:
        """Where it is kept; another Python or other packages are another folder."""
        content = hashlib.sha256(repr((self.python, self.packages, self.interpreter, self.is_alone)).encode()).hexdigest()
        return cache_folder("environments") / f"{self.name}-{content[:12]}"

    @property
    def executable(self) -> Path:
        """Its Python; the file is there once `set_up` has run."""
        return self.folder / "bin" / "python"

    def set_up(self) -> Path:
        """Its Python; installs the packages if that is not done yet, which takes a network and minutes.

        Raises:
            ConfigError: If there is no interpreter of the version.
            ModelError: If the packages cannot be installed.
        """
        if not self.executable.exists():
            interpreter = find_interpreter(self.python, self.name, self.interpreter)
            if self.executable.is_symlink():  # to an interpreter that was removed: the packages are of no use without it
                shutil.rmtree(self.folder, ignore_errors=True)
            made_once(self.folder, lambda draft: self._install(interpreter, draft), "environments")
        return self.executable

    def installed(self, package: str) -> str:
        """The version of the package that was installed; '' if the environment or the package is not there."""
        path = self.folder / FREEZE
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        line = re.search(rf"^{re.escape(package)}==(\S+)$", text, re.MULTILINE)
        return line[1] if line else ""

    def _install(self, interpreter: Path, draft: Path) -> None:
        # The folder is renamed afterwards, which its python survives; the scripts beside it would not, and are not used.
        self._run([str(interpreter), "-I", "-m", "venv", str(draft)])
        python = str(draft / "bin" / "python")
        alone = ["--no-deps"] if self.is_alone else []
        self._run([python, *PIP, "install", "--only-binary", ":all:", *alone, *self.packages])
        (draft / FREEZE).write_text(self._run([python, *PIP, "freeze"]), encoding="utf-8")

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, env=foreign_environment(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.strip().splitlines()[
                -1:
            ]
            reason = one_line(RuntimeError(" ".join(told)))
            raise ModelError(
                f"{self.folder}: packages {' '.join(self.packages)} for Python {self.python} cannot be installed: {reason}"
            )
        return done.stdout


def foreign_environment() -> Mapping[str, str]:
    """The environment of a process of another interpreter: this one's, without what leads to this one's packages."""
    return {name: value for name, value in os.environ.items() if name not in HIDDEN}
