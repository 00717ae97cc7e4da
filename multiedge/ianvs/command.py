"""The command `ianvs` of this machine: which Python starts it, and which `core` it imports.

A checkout of KubeEdge Ianvs is often not what the command runs: `python setup.py install` and `pip install .` copy it, and
where only this project is installed, the command starts this project's own host.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from multiedge.errors import ConfigError
from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Field, Kind

OLDEST_PYTHON = (3, 10)
_OWN_LANDMARK = Path("common", "user_module.py")
_OWN_ENTRY = "multiedge.ianvs.host"
_PROBE_TIMEOUT_S = 60.0
_ANSWER = Kind("answer of the Python that runs ianvs")
# Runs in the Python of the command, which may be an old one.
_PROBE = """
import json, sys
sys.path[0] = sys.argv[1]
from importlib.util import find_spec
def place(name):
    spec = find_spec(name)
    return spec.origin if spec and spec.origin else ""
try:
    from importlib.metadata import version
    version("ianvs")
    installed = True
except Exception:
    installed = False
places = {name: place(name) for name in ("core", "multiedge")}
print(json.dumps({"python": list(sys.version_info[:2]), "ianvs": installed, **places}))
"""


@dataclass(frozen=True)
class IanvsCommand:
    """The command at `path`: the folder that holds the `core` it imports, None if it has none; whether that is this project's
    host; the version of its Python, and whether that Python can import this project."""

    path: Path
    root: Path | None
    is_own_host: bool
    python: tuple[int, int]
    has_library: bool

    def imports(self, root: Path) -> bool:
        """Whether the `core` that it imports is the one in the folder `root`."""
        return self.root is not None and not self.is_own_host and self.root.resolve() == root.resolve()


def find_command() -> IanvsCommand | None:
    """The command `ianvs` on PATH, otherwise beside this Python; None if there is none, or if it does not say which Python
    starts it. Starts that Python once."""
    found = shutil.which("ianvs")
    path = Path(found) if found else Path(sys.executable).with_name("ianvs")
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    python = _interpreter(text)
    answer = _probe(python, path.parent) if python else None
    return None if answer is None else _command(path, text, answer)


def _command(path: Path, text: str, answer: Field) -> IanvsCommand:
    core, library = answer["core"].text(), answer["multiedge"].text()
    folder = Path(core).parent
    is_own = (_OWN_ENTRY in text and not answer["ianvs"].boolean()) or (bool(core) and (folder / _OWN_LANDMARK).is_file())
    return IanvsCommand(path, folder.parent if core else None, is_own, answer["python"].pair_of(Field.integer), bool(library))


def _interpreter(script: str) -> str | None:
    """The Python in the first line of an installed script. Where that line would be too long, it starts a shell, and the
    second line has the path."""
    lines = [*script.splitlines(), "", ""]
    words = lines[0].removeprefix("#!").split() if lines[0].startswith("#!") else []
    if words and words[0] == "/bin/sh" and lines[1].startswith("'''exec'"):
        words = [lines[1].split()[1].strip('"')]
    if words and Path(words[0]).name == "env":
        words = [shutil.which(words[-1]) or ""]
    return words[0] if words and Path(words[0]).name.startswith(("python", "pypy")) else None


def _probe(python: str, folder: Path) -> Field | None:
    """What the Python of the command finds, with the search path that a script in `folder` has."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, "-c", _PROBE, str(folder)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_json(done.stdout, python, _ANSWER)


def require_effect(command: IanvsCommand | None, root: Path) -> None:
    """Raises ConfigError, with the remedy, if the command `ianvs` would not run what is attached in `root`."""
    if command is None or command.root is None or command.is_own_host:
        return
    if not command.imports(root):
        use_that = "" if command.root.is_file() else f"to change that one, run: multiedge attach {command.root}; "
        raise ConfigError(
            f"{root}: the command {command.path} imports another core, the one in {command.root};"
            f" {use_that}to use this folder, run: pip install -e {root}"
        )
    if command.python < OLDEST_PYTHON:
        has, needs = (".".join(map(str, version)) for version in (command.python, OLDEST_PYTHON))
        raise ConfigError(
            f"{root}: the command {command.path} runs on Python {has}, and the paradigm needs {needs} or newer;"
            f" install Ianvs and this project in an environment with Python {needs}"
        )


def remark(command: IanvsCommand | None, root: Path) -> str:
    """One line: what the command `ianvs` runs, seen from the Ianvs in `root`, and what to do about it."""
    by_module = f"to run this one: PYTHONPATH={root} python -m core.cmd.benchmarking -f JOB, or first: pip install -e {root}"
    if command is None:
        return f"there is no command ianvs whose Python is known; {by_module}"
    if command.is_own_host:
        return f"the command {command.path} runs this project's own host, because no KubeEdge Ianvs is installed; {by_module}"
    if not command.imports(root):
        there = f"imports the core in {command.root}" if command.root else "finds no core"
        return f"the command {command.path} {there}, not this one; {by_module}"
    library = "" if command.has_library else "; its Python has no multi-edge-bench, which partitioning needs: install it there"
    return f"the command {command.path} imports this core{library}"
