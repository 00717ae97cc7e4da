"""How many packets a command sends, in a network namespace whose only way out is a counted interface that leads nowhere."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

SPACE = ("unshare", "--user", "--map-root-user", "--net", "--")
NETWORK = """
set -e
echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6 || true  # the kernel would look for routers by itself
ip link set lo up
ip link add out type veth peer name nowhere
ip address add 192.0.2.1/24 dev out
ip link set nowhere up
ip link set out up
ip neighbour add 192.0.2.254 lladdr 02:00:00:00:00:01 dev out
ip route add default via 192.0.2.254 dev out
"$@" > /dev/null
cat /proc/self/net/dev
"""
SENT = 9
"""The column of sent packets in /proc/net/dev, after the interface's name."""


def obstacle() -> str:
    """Why packets cannot be counted here, in words; '' if they can."""
    absent = [name for name in ("unshare", "ip") if shutil.which(name) is None]
    if absent:
        return f"{absent[0]} is not installed"
    done = _run(["true"])
    return "" if done.returncode == 0 else f"no network namespace can be made: {done.stderr.strip()}"


def packets_sent(command: Sequence[str]) -> int:
    """Packets that the command and its children send to any address, also to this machine's own."""
    done = _run(command)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.partition(":") for line in done.stdout.splitlines()]
    return sum(int(counts.split()[SENT]) for name, _, counts in rows if name.strip() in ("lo", "out"))


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    words = [*SPACE, "bash", "-c", NETWORK, "network", *command]
    return subprocess.run(words, capture_output=True, text=True, check=False)
