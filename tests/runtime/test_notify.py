"""What the service manager is told, on a real socket; nothing ever waits for it."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from service_manager import service_manager

from edge_agent.runtime.notify import Notifier


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_each_message_arrives_as_the_protocol_has_it(*, abstract: bool) -> None:
    """By a path, and by an abstract name, as the two kinds of manager have it."""
    with service_manager(abstract=abstract) as manager:
        notifier = Notifier.from_environment(manager.environment())
        assert notifier.is_heard
        assert notifier.status("loading the model")
        assert notifier.extend(60)
        assert notifier.ready("listening on USB")
        assert notifier.reloading("changing")
        assert notifier.feed()
        assert notifier.stopping("ending")
        manager.wait_for(lambda: len(manager.messages) == 6, "six messages")
        notifier.close()
    assert [fields for _, fields in manager.messages] == [
        {"STATUS": "loading the model"},
        {"EXTEND_TIMEOUT_USEC": "60000000"},
        {"READY": "1", "STATUS": "listening on USB"},
        {"RELOADING": "1", "STATUS": "changing"},
        {"WATCHDOG": "1"},
        {"STOPPING": "1", "STATUS": "ending"},
    ]


def test_a_status_can_not_pass_for_another_field() -> None:
    """A device's name, which anybody may choose, becomes part of it."""
    with service_manager() as manager:
        notifier = Notifier.from_environment(manager.environment())
        notifier.status("deaf: USB\nREADY=1\n" + 1000 * "x")
        manager.wait_for(lambda: manager.messages, "a message")
        notifier.close()
    (_, fields), *_ = manager.messages
    assert list(fields) == ["STATUS"]
    assert fields["STATUS"].startswith("deaf: USB READY=1 xxx")
    assert len(fields["STATUS"]) == 500


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "@"}])
def test_without_a_manager_nothing_happens(environ: dict[str, str]) -> None:
    """No socket is made, and nobody has to ask first."""
    notifier = Notifier.from_environment({**environ, "WATCHDOG_USEC": "1000000"})
    assert not notifier.is_heard
    assert notifier.ready("listening")
    assert notifier.feed()
    assert notifier.watchdog_s is None
    assert notifier.unsent == 0


@pytest.mark.parametrize(
    ("variables", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({}, None),
    ],
    ids=["set", "ours", "another's", "zero", "words", "negative", "absent"],
)
def test_the_watchdog_is_asked_for_in_the_environment(variables: dict[str, str], interval_s: float | None) -> None:
    """A child that inherits the variables does not feed its parent's."""
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": "@edge-agent-nobody", **variables})
    assert notifier.watchdog_s == interval_s
    notifier.close()


def test_a_manager_that_does_not_read_is_not_waited_for() -> None:
    """Its queue fills up; the rest is counted as unsent, and comes through again when there is room."""
    address = f"edge-agent-full-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as received:
        received.bind("\0" + address)
        notifier = Notifier(f"@{address}")
        began_s = time.monotonic()
        sent = [notifier.feed() for _ in range(2000)]
        assert time.monotonic() - began_s < 1.0
        assert sent[0]
        assert not sent[-1]
        assert notifier.unsent == sent.count(False)
        received.recv(100)
        assert notifier.feed()
        notifier.close()


def test_a_manager_that_is_gone_is_complained_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the service goes on."""
    notifier = Notifier(str(tmp_path / "nobody"))
    assert not notifier.ready("listening")
    assert not notifier.feed()
    notifier.close()
    assert [record.getMessage() for record in caplog.records] == [
        "the service manager is not told anything: No such file or directory"
    ]
