"""Servers for the tests of pipelines over servers: `multiedge serve` as a process of its own, on loopback."""

import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def ended(command, **options):
    """A process that does not outlive the block."""
    process = subprocess.Popen(command, text=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def serve(directory, *options, inside=()):
    """The running server, by a command that begins with `inside`, and the lines that it printed, one for each model."""
    port = () if "--port" in options else ("--port", "0")
    command = [*inside, sys.executable, "-m", "multiedge.cli", "serve", str(directory), *port, *options]
    with ended(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for line in process.stderr:
            if line.startswith("stop with"):
                break
        else:
            raise AssertionError(f"the server ended with {process.wait(timeout=10)}")
        yield process, [process.stdout.readline().rstrip() for _ in range(_stages(directory, options))]


def _stages(directory, options):
    from multiedge.commands.serve import chosen
    from multiedge.onnx_io import read_manifest

    if Path(directory).is_file():
        return 1
    return len(chosen(read_manifest(directory), options[options.index("--device") + 1] if "--device" in options else None))


def listens_beyond_loopback(pid):
    """Addresses other than loopback on which a process or a descendant of it takes connections."""
    found = []
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            found += [each.laddr.ip for each in process.net_connections(kind="inet") if each.status == psutil.CONN_LISTEN]
    return [address for address in found if not is_loopback(address)]


def is_loopback(address):
    parsed = ip_address(address)
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback
