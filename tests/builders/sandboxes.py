"""Fleets of nodes in network namespaces, for tests and benchmarks: why there are none here, commands to their hub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from multiedge.errors import MultiedgeError
from multiedge.fleet import Device, Fleet
from multiedge.serving.sandbox import Sandbox
from multiedge.transports.namespaces import Network

CLI = (sys.executable, "-m", "multiedge.cli")


def obstacle() -> str:
    """Why there can be no sandbox here, in words; '' if there can."""
    try:
        import aiohttp  # noqa: F401
        import cryptography  # noqa: F401

        Network(Fleet((Device("d0"),)), "caller").close()
    except ImportError as error:
        return f"the extra `fleet` is not installed: {error}"
    except MultiedgeError as error:
        return str(error)
    return ""


def command(sandbox: Sandbox, *words: str | Path) -> str:
    """What a command to the sandbox's hub prints."""
    where = ("--hub", sandbox.address, "--identity", sandbox.identity.folder)
    done = subprocess.run([*CLI, *map(str, (*words, *where))], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
