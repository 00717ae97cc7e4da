"""`multiedge node`: what it starts with, and what it says when it cannot begin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from multiedge.cli import main
from multiedge.commands import node
from multiedge.network.identity import Identity
from multiedge.serving.node.agent import NodeOptions


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[NodeOptions]:
    """The options of agents that are ended as soon as they start."""
    options: list[NodeOptions] = []

    class FakeAgent:
        address = "127.0.0.1:8471"

        def __init__(self, given: NodeOptions) -> None:
            options.append(given)

        def start(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        def close(self) -> None:
            pass

    monkeypatch.setattr(node, "Agent", FakeAgent)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return options


def test_defaults_are_this_machine_and_all_of_it(started: list[NodeOptions], tmp_path: Path) -> None:
    assert main(["node", "--hub", "localhost", "--name", "pi"]) == 0
    (options,) = started
    assert (options.hub, options.host, options.port) == ("localhost:8470", "127.0.0.1", 8471)
    assert options.folder == tmp_path / "multiedge" / "nodes" / "pi"
    assert options.identity is None
    assert (options.limits.cpu_share, options.cache_bytes, options.probe_bytes) == (1.0, 16 << 30, 4 << 20)


def test_options_reach_the_agent(started: list[NodeOptions], tmp_path: Path) -> None:
    words = ["--memory", "100MiB", "--threads", "1", "--cpu-share", "0.5", "--cache", "1GiB", "--probe", "0"]
    assert (
        main(["node", "--hub", "127.0.0.1:9", "--name", "pi", "--listen", "127.0.0.1:5", "--data", str(tmp_path), *words]) == 0
    )
    (options,) = started
    assert (options.limits.memory_bytes, options.limits.threads, options.limits.cpu_share) == (100 << 20, 1, 0.5)
    assert (options.cache_bytes, options.probe_bytes, options.port, options.folder) == (1 << 30, 0, 5, tmp_path)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--hub", "a:b"], "--hub: expected HOST:PORT, got 'a:b'"),
        (["--hub", "10.0.0.1"], "get a token with `multiedge hub token`, give --join TOKEN"),
        (["--hub", "localhost", "--name", "a/b"], "--name: expected a name of up to 63 letters"),
        (["--hub", "localhost", "--listen", "x"], "--listen"),
        (["--hub", "localhost", "--listen", "0.0.0.0:1"], "--listen: 0.0.0.0 is not this machine alone, so TLS is needed"),
        (["--hub", "localhost", "--memory", "lots"], "--memory: expected a size"),
        (["--hub", "localhost", "--memory", "1PiB"], "--memory: expected"),
        (["--hub", "localhost", "--cache", "0"], "--cache: expected a size above 0, got '0'"),
        (["--hub", "localhost", "--probe", "-1"], "--probe"),
        (["--hub", "localhost", "--threads", "0"], "--threads: expected 1 to"),
        (["--hub", "localhost", "--cpu-share", "2"], "--cpu-share: expected more than 0 and at most 1, got 2"),
        (["--hub", "localhost", "--join", "abc"], "token: expected one that `multiedge hub token` prints"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cryptography")
    assert main(["node", "--name", "pi", "--data", str(tmp_path), *words]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert line in errors[0]


def test_help_imports_neither_runtime_nor_agent() -> None:
    code = "import sys; from multiedge.cli import main\ntry: main(['node', '--help'])\nexcept SystemExit: pass\n"
    code += "print([name for name in ('onnx', 'numpy', 'psutil', 'ssl', 'multiedge.serving') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_it_listens_and_ends_in_time_without_a_hub(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "multiedge", "node", "--hub", "127.0.0.1:9", "--name", "pi", "--data", str(tmp_path)]
    process = subprocess.Popen([*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    timer = threading.Timer(30, process.kill)
    timer.start()
    try:
        assert process.stdout.readline().startswith("node 'pi' on 127.0.0.1:")
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    finally:
        timer.cancel()
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_node_joins_once_with_a_token_and_again_with_another(
    started: list[NodeOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a service does that is started again by the same line, and one whose token was removed from its settings."""
    joined = []

    def join(hub: str, token: str, holder: str, folder: Path) -> Identity:
        joined.append(token[:16])
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("ca.pem", "cert.pem", "key.pem"):
            (folder / name).write_text("")
        return Identity(folder)

    monkeypatch.setattr("multiedge.serving.hub.joining.join", join)
    tokens = ["-".join((digit * 16, digit * 32, digit * 64)) for digit in "ab"]
    words = ["node", "--hub", "10.0.0.1", "--name", "pi", "--data", str(tmp_path), "--listen", "127.0.0.1:5", "--join"]
    for token in (tokens[0], tokens[0], "", tokens[1], ""):
        assert main([*words, token]) == 0
    assert joined == ["a" * 16, "b" * 16]
    assert {options.identity for options in started} == {Identity(tmp_path / "identity")}
