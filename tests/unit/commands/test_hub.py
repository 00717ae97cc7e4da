"""`multiedge hub`: what it makes, prints and refuses."""

import signal
import socket
import subprocess
import sys

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("cryptography")

from multiedge.cli import main
from multiedge.network.client import HubClient
from multiedge.network.identity import Identity
from multiedge.serving.hub.authority import Token
from multiedge.serving.hub.store import Store


@pytest.fixture
def folder(tmp_path, capsys):
    assert main(["hub", "init", "--data", str(tmp_path / "hub")]) == 0
    return tmp_path / "hub"


def test_init_makes_identities_and_says_what_to_do_next(tmp_path, capsys):
    assert main(["hub", "init", "--data", str(tmp_path / "hub")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"hub: multiedge hub run --data {tmp_path / 'hub'} --listen ADDRESS:8470"
    assert lines[-1] == f"this client: export MULTIEDGE_IDENTITY={tmp_path / 'hub' / 'client'}"
    assert main(["hub", "init", "--data", str(tmp_path / "hub")]) == 1
    assert "holds a CA already" in capsys.readouterr().err


def test_the_token_alone_is_on_stdout(folder, capsys):
    capsys.readouterr()
    assert main(["hub", "token", "--data", str(folder), "--name", "phone", "--hours", "2"]) == 0
    shown = capsys.readouterr()
    token = Token.parse(shown.out)
    record = Store(folder).token(token.number)
    assert record is not None
    assert record.holder == "node:phone"
    assert shown.err.startswith("good for 2 h, one time: multiedge node --hub")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["token", "--hours", "0"], "--hours: expected more than 0 and at most 8784, got 0"),
        (["token", "--hours", "nan"], "--hours: expected more than 0 and at most 8784, got nan"),
        (["token", "--client"], "--client: expected a name for the client; add --name NAME"),
        (["token", "--name", "../x"], "--name: expected a name of up to 63 letters"),
        (["run", "--listen", "x:y"], "--listen: expected HOST:PORT, got 'x:y'"),
        (["run", "--max-file", "0"], "--max-file: expected a size above 0, got '0'"),
        (["run", "--max-file", "much"], "--max-file: expected a size such as"),
    ],
)
def test_a_mistake_is_one_line(folder, capsys, words, line):
    assert main(["hub", *words, "--data", str(folder)]) == 1
    assert capsys.readouterr().err.startswith(f"multiedge hub: error: {line}")


def test_beyond_this_machine_tls_is_needed(tmp_path, capsys):
    assert main(["hub", "run", "--data", str(tmp_path), "--listen", "198.51.100.1:0"]) == 1
    assert "is not this machine alone, so TLS is needed; make certificates with `multiedge hub init`" in capsys.readouterr().err


def test_a_token_needs_a_ca(tmp_path, capsys):
    assert main(["hub", "token", "--data", str(tmp_path)]) == 1
    assert "make one with: multiedge hub init" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_until_a_signal_and_leaves_in_peace(folder, number):
    command = [sys.executable, "-m", "multiedge", "hub", "run", "--data", str(folder), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        kind, address, tls = process.stdout.readline().split()
        assert (kind, tls) == ("hub", "TLS")
        with HubClient(address, Identity(folder / "client")) as client:
            assert client.state().nodes == 0
            process.send_signal(number)
            assert process.wait(timeout=10) == 0
        assert "Traceback" not in process.stderr.read()


def test_a_taken_port_is_one_line(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["hub", "run", "--data", str(folder), "--listen", address]) == 1
    assert f"hub: cannot listen on {address}: address already in use; choose another with --listen" in capsys.readouterr().err
