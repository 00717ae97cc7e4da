"""The examples of deploy/: what their own validators say, and that their commands are those of this project."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from multiedge import cli

DEPLOY = Path(__file__).parents[3] / "deploy"
UNITS = sorted(DEPLOY.glob("systemd/*.service"))
PROGRAM = "/opt/multiedge/bin/multiedge"


def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def daemon_set() -> Any:
    return yaml.safe_load((DEPLOY / "kubernetes" / "nodes.yaml").read_text())


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each command of the examples, without the program."""
    for unit in UNITS:
        yield unit.name, shlex.split(re.search(rf"^ExecStart={PROGRAM} (.*)$", unit.read_text(), re.MULTILINE)[1])
    for name, service in compose()["services"].items():
        yield f"compose {name}", service["command"]
    (script,) = daemon_set()["spec"]["template"]["spec"]["containers"][0]["args"]
    yield "kubernetes", shlex.split(script.removeprefix("exec multiedge "))


COMMANDS = list(commands())


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_each_unit(tmp_path: Path, unit: Path) -> None:
    """With the program at a path that exists here."""
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(PROGRAM, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_compose_file_fits_the_schema_of_its_specification() -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(DEPLOY / "compose.yaml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_daemon_set_fits_the_schema_of_kubernetes() -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    validator.validate(daemon_set(), validator.latest_version(), strict=True)


@pytest.mark.parametrize(("place", "words"), COMMANDS, ids=[place for place, _ in COMMANDS])
def test_each_command_exists_with_its_options(place: str, words: list[str]) -> None:
    args = cli.build_parser(words[0]).parse_args(words)
    assert args.command in ("hub", "node")


def test_services_run_without_privileges() -> None:
    for unit in UNITS:
        assert {"NoNewPrivileges=true", "ProtectSystem=strict", "CapabilityBoundingSet="} <= set(unit.read_text().splitlines())
    for service in compose()["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"]
    container = daemon_set()["spec"]["template"]["spec"]["containers"][0]
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
