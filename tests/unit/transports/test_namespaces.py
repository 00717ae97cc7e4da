"""Networks of the kernel: who gets which address, the arguments of `ip` and `tc`, and the errors where they fail."""

from __future__ import annotations

import math
import os
from argparse import ArgumentParser
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from multiedge.commands import run as run_command
from multiedge.commands.arguments import run as run_arguments
from multiedge.errors import ConfigError, PipelineError
from multiedge.executors.processes import pick_transport
from multiedge.executors.workers.options import Emulation, ProcessesOptions
from multiedge.files import owner
from multiedge.fleet import Device, Fleet, Link
from multiedge.network.identity import Identity
from multiedge.transports import namespaces
from multiedge.transports.namespaces import (
    RANGE,
    Network,
    Subnet,
    address_commands,
    free_subnet,
    namespace_commands,
    plan_ends,
    shaping_command,
)

FLEET = Fleet((Device("phone"), Device("../laptop of ours")), {("phone", "../laptop of ours"): Link(2e6)}, source="phone")
HERE = Subnet("198.18.7.0/24")


def test_each_end_has_one_address_and_a_name_that_the_kernel_takes() -> None:
    ends = plan_ends(FLEET, "caller", HERE, count(5))
    assert [(end.name, end.place, end.host) for end in ends] == [
        ("caller", "phone", "198.18.7.1"),
        ("phone", "phone", "198.18.7.2"),
        ("../laptop of ours", "../laptop of ours", "198.18.7.3"),
    ]
    assert [end.namespace for end in ends] == [None, f"multiedge-{owner()}-6", f"multiedge-{owner()}-7"]
    interfaces = {end: [end.interface(peer) for peer in ends if peer is not end] for end in ends}
    assert all(len(name) <= 15 for names in interfaces.values() for name in names)
    assert all(len(set(names)) == 2 for names in interfaces.values())


def test_more_devices_than_addresses_are_refused() -> None:
    fleet = Fleet(tuple(Device(f"d{number}") for number in range(254)), name="crowd")
    with pytest.raises(ConfigError, match="crowd: network namespaces take up to 253 devices, got 254"):
        plan_ends(fleet, "caller", HERE, count())


def test_there_is_a_pair_of_interfaces_for_every_two_ends() -> None:
    caller, phone, _ = ends = plan_ends(FLEET, "caller", HERE, count())
    pid = os.getpid()
    assert namespace_commands(ends) == [
        f"netns add multiedge-{owner()}-1",
        f"netns add multiedge-{owner()}-2",
        f"link add name me{pid}-1 type veth peer name to-0 netns multiedge-{owner()}-1",
        f"link add name me{pid}-2 type veth peer name to-0 netns multiedge-{owner()}-2",
        f"link add name to-2 netns multiedge-{owner()}-1 type veth peer name to-1 netns multiedge-{owner()}-2",
    ]
    assert address_commands(phone, ends) == [
        "link set lo up",
        "addr add 198.18.7.2 peer 198.18.7.1 dev to-0",
        "link set to-0 addrgenmode none",
        "link set to-0 up",
        "addr add 198.18.7.2 peer 198.18.7.3 dev to-2",
        "link set to-2 addrgenmode none",
        "link set to-2 up",
    ]
    assert "link set lo up" not in address_commands(caller, ends)


def test_a_bucket_lets_full_packets_carry_what_was_words() -> None:
    """8 bits, times 1514 bytes of a full packet over the 1448 of a message in it; a burst of a millisecond or two packets."""
    assert shaping_command("to-1", Link(20e6)) == "qdisc replace dev to-1 root tbf rate 167292818bit burst 20912 limit 8mb"
    assert shaping_command("to-1", Link(1e6)) == "qdisc replace dev to-1 root tbf rate 8364641bit burst 3028 limit 8mb"
    assert shaping_command("to-1", Link(math.inf)) == "qdisc replace dev to-1 root noqueue"
    assert shaping_command("to-1", Link(1e-3)) == shaping_command("to-1", Link(64.0))


def test_a_subnet_is_chosen_that_nobody_uses() -> None:
    first = free_subnet([])
    assert first.subnet_of(RANGE)
    assert not free_subnet([first]).overlaps(first)
    with pytest.raises(PipelineError, match=r"every address of 198\.18\.0\.0/15 is in use"):
        free_subnet([RANGE])


def tools(folder: Path, monkeypatch: pytest.MonkeyPatch, **said: str) -> Path:
    """Makes `ip` and `tc` of our own the only ones; they log their arguments, and batches end as `said` by the tool."""
    log = folder / "log"
    for tool in ("ip", "tc"):
        script = f"#!/bin/sh\ncase $* in *-json*) exit;; esac\necho {tool} $* >>{log}\ncat >>{log}\n"
        if tool in said:
            script += f"printf '{said[tool]}' >&2\nexit 1\n"
        (folder / tool).write_text(script)
        (folder / tool).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join((str(folder), "/bin", "/usr/bin")))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(namespaces, "NAMESPACES", folder)
    return log


def test_what_the_kernel_refuses_is_said_in_one_line_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = "Error: Specified qdisc kind is unknown.\\nCommand failed -:2\\n"
    log = tools(tmp_path, monkeypatch, tc=refused)
    with pytest.raises(PipelineError) as caught:
        Network(Fleet(FLEET.devices, {("phone", "../laptop of ours"): Link(2e6)}), "caller")
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("network namespaces: `tc qdisc replace dev me")
    assert "failed: Error: Specified qdisc kind is unknown.; see docs/emulation.md" in line
    last = log.read_text().split("ip -force -batch -\n")[-1].splitlines()
    assert [words.split()[:2] for words in last] == [["link", "del"]] * 2


@pytest.mark.parametrize(
    ("uid", "path", "expected"),
    [
        (1000, "/nowhere", "network namespaces: expected root, running as user 1000; use sudo, or leave them off"),
        (0, "/nowhere", "network namespaces: `ip` is not installed; install iproute2, or leave them off"),
    ],
)
def test_without_the_rights_for_namespaces_the_error_says_why(
    uid: int, path: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setenv("PATH", path)
    with pytest.raises(ConfigError) as caught:
        Network(FLEET, "caller")
    assert str(caught.value) == expected


def test_networks_of_dead_runs_are_swept_up_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tools(tmp_path, monkeypatch)
    dead = 2**22 + 1  # above every process number that Linux gives
    for name in (f"multiedge-{owner(dead)}-1", f"multiedge-{owner()}-1", "multiedge-mine-1", "other"):
        (tmp_path / name).touch()
    namespaces.remove_orphans()
    assert log.read_text().splitlines() == ["ip -force -batch -", f"netns del multiedge-{owner(dead)}-1"]


NAMESPACES_ON = ProcessesOptions(emulation=Emulation(namespaces=True))


def test_only_tcp_crosses_namespaces() -> None:
    assert pick_transport(NAMESPACES_ON) == "tcp"
    with pytest.raises(ConfigError, match="transport: expected 'tcp' between network namespaces, got 'pipe'"):
        pick_transport(replace(NAMESPACES_ON, transport="pipe"))
    identities = {"caller": Identity(Path("caller"))}
    assert pick_transport(replace(NAMESPACES_ON, identities=identities)) == "tls"
    with pytest.raises(ConfigError, match="transport: expected 'tls' with identities, got 'tcp'"):
        pick_transport(replace(NAMESPACES_ON, transport="tcp", identities=identities))
    with pytest.raises(ConfigError, match="identities: caller: expected an Identity of Python, got 'folder'"):
        ProcessesOptions(identities={"caller": "folder"})


def test_the_command_line_asks_for_namespaces() -> None:
    parser = ArgumentParser()
    run_arguments.add_arguments(parser)
    words = ["plan", "--random", "1", "--namespaces"]
    assert run_command.executor_options(parser.parse_args(words), FLEET)["emulation"] == Emulation(namespaces=True)
    assert "emulation" not in run_command.executor_options(parser.parse_args(words[:-1]), FLEET)
    with pytest.raises(ConfigError, match="namespaces: expected links to be emulated"):
        run_command.executor_options(parser.parse_args([*words, "--no-emulate"]), FLEET)
