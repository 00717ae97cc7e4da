"""Messages through Unix sockets: the mailbox's file, and peers that come and go."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from multiedge.transports.pipe import PipeEndpoint
from multiedge.transports.rundir import file_of
from tests.builders.endpoints import message, receive, sequences


def test_a_mailbox_replaces_the_file_of_an_earlier_process(tmp_path: Path) -> None:
    inbox = file_of(tmp_path, "inbox", "a")
    inbox.write_text("left behind")
    end = PipeEndpoint(tmp_path, "a")
    assert stat.S_ISSOCK(inbox.stat().st_mode)
    end.close()


def test_a_peer_that_starts_later_is_reached(tmp_path: Path) -> None:
    """What is sent before is lost, and the sender goes on."""
    a = PipeEndpoint(tmp_path, "a")
    a.send("b", message(0))
    b = PipeEndpoint(tmp_path, "b")
    a.send("b", message(1))
    assert sequences(receive(b, 1)) == [1]
    for end in (a, b):
        end.close()


def test_a_peer_that_has_gone_costs_one_connection_and_no_error(tmp_path: Path) -> None:
    a, b = PipeEndpoint(tmp_path, "a"), PipeEndpoint(tmp_path, "b")
    a.send("b", message(0))
    receive(b, 1)
    b.close()
    for sequence in range(1, 4):
        a.send("b", message(sequence))
    again = PipeEndpoint(tmp_path, "b")
    a.send("b", message(4))
    assert sequences(receive(again, 1)) == [4]
    for end in (a, again):
        end.close()


def test_a_connection_that_cannot_be_made_leaves_no_descriptor_open(tmp_path: Path) -> None:
    a = PipeEndpoint(tmp_path, "a")
    file_of(tmp_path, "inbox", "file").write_text("no socket")
    before = len(os.listdir("/proc/self/fd"))
    for sequence in range(50):
        a.send("file", message(sequence))
        a.send("absent", message(sequence))
    # Threads that earlier tests left may open some meanwhile; one for each message would be a hundred.
    assert len(os.listdir("/proc/self/fd")) < before + 20
    a.close()


def test_closing_gives_every_descriptor_back(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    a, b = PipeEndpoint(tmp_path, "a"), PipeEndpoint(tmp_path, "b")
    a.send("b", message(0))
    receive(b, 1)
    for end in (a, b):
        end.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_listener_is_not_blocked_by_a_connection_that_says_nothing(tmp_path: Path) -> None:
    a, b = PipeEndpoint(tmp_path, "a"), PipeEndpoint(tmp_path, "b")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(os.fspath(file_of(tmp_path, "inbox", "b")))
        a.send("b", message(1))
        assert sequences(receive(b, 1)) == [1]
    for end in (a, b):
        end.close()
