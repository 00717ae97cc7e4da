"""The lines that `multiedge sandbox` prints are commands that exist."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from multiedge import cli
from multiedge.commands.sandbox import next_lines
from multiedge.network.identity import Identity


def test_the_lines_to_type_next_name_hub_and_identity_and_are_commands():
    sandbox = SimpleNamespace(address="198.18.0.2:8470", identity=Identity(Path("/tmp/a b/client")))
    first, *commands = next_lines(sandbox)
    assert first == "export MULTIEDGE_IDENTITY='/tmp/a b/client'"
    for line in commands:
        program, *words = shlex.split(line)
        assert program == "multiedge"
        assert "198.18.0.2:8470" in words
        cli.build_parser(words[0]).parse_args(words)


def test_a_number_of_nodes_and_a_file_of_devices_are_not_given_together(capsys):
    with pytest.raises(SystemExit):
        cli.main(["sandbox", "--nodes", "2", "--devices", "devices.yaml"])
    assert "not allowed with argument" in capsys.readouterr().err
