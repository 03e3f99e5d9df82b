"""Asking a service: what people read when there is none, or none that answers."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.errors import ServiceError
from edge_agent.gateway import client
from edge_agent.gateway.client import ask_service


@contextmanager
def service(path: Path, behave: Callable[[socket.socket], None]) -> Iterator[None]:
    """Accept one connection in a thread, and behave."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def work() -> None:
            connection, _ = listener.accept()
            with connection:
                behave(connection)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            thread.join(10)
            path.unlink()


def replies(*parts: bytes) -> Callable[[socket.socket], None]:
    """Read the request, then send the parts."""

    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        for part in parts:
            connection.sendall(part)

    return behave


def test_the_data_is_returned(tmp_path: Path) -> None:
    """In however many parts it comes."""
    with service(tmp_path / "s", replies(b'{"ok": true, "da', b'ta": {"state": "idle"}}\n')):
        assert ask_service(tmp_path / "s", {"get": "status"}) == {"state": "idle"}


def test_the_first_place_where_one_listens_is_asked(tmp_path: Path) -> None:
    """What is absent or dead is passed over."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    places = [tmp_path / "absent", tmp_path / "dead", tmp_path / "s"]
    with service(tmp_path / "s", replies(b'{"ok": true, "data": 5}\n')):
        assert ask_service(places, {}) == 5


def test_nobody_there_has_a_remedy(tmp_path: Path) -> None:
    """Absent: start it. Left behind: start it again, which of several says more."""
    with pytest.raises(ServiceError, match="no service answers; is `edge-agent run` running"):
        ask_service(tmp_path / "absent", {})
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    with pytest.raises(ServiceError, match="dead: the service that had it has ended; start it with"):
        ask_service([tmp_path / "dead", tmp_path / "absent"], {})
    with pytest.raises(ServiceError, match="can't be used"):
        ask_service(tmp_path / ("x" * 200), {})


def test_who_may_not_use_it_hears_how_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its group. Root may everything, so the refusal is made by hand."""

    def refuse(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("edge_agent.gateway.client.socket.socket.connect", refuse)
    with pytest.raises(ServiceError, match="usermod -aG edge-agent"):
        ask_service([tmp_path / "a", tmp_path / "b"], {})


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b'{"ok": false, "error": {"code": "unknown", "message": "ask for status"}}\n', "ask for status"),
        (b"", "broke off without an answer"),
        (b'{"ok": tr', "broke off without an answer"),
        (b"HTTP/1.1 400 Bad Request\n", "is no edge-agent"),
        (b"[]\n", "is no edge-agent"),
        (b"{}\n", "is no edge-agent"),
        (b'{"ok": false}\n', "is no edge-agent"),
    ],
)
def test_what_else_may_answer_is_one_clear_error(tmp_path: Path, reply: bytes, message: str) -> None:
    """A refusal, an end, or something that is not ours."""
    with service(tmp_path / "s", replies(reply)), pytest.raises(ServiceError, match=message):
        ask_service(tmp_path / "s", {})


def test_a_service_that_hangs_is_given_up(tmp_path: Path) -> None:
    """Silent, or slow without end."""
    done = threading.Event()
    with service(tmp_path / "s", lambda _: assert_done(done)):
        with pytest.raises(ServiceError, match="did not answer in time"):
            ask_service(tmp_path / "s", {}, timeout_s=0.01)
        done.set()


def assert_done(done: threading.Event) -> None:
    """Wait until the test is done."""
    assert done.wait(10)


def test_an_answer_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded whatever listens there."""
    monkeypatch.setattr(client, "_MOST_ANSWER_BYTES", 1 << 16)

    def babble(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"x" * 4096)
        except (BrokenPipeError, ConnectionResetError):
            return

    with service(tmp_path / "s", babble), pytest.raises(ServiceError, match="does not stop"):
        ask_service(tmp_path / "s", {})


def test_who_is_turned_away_hears_why(tmp_path: Path) -> None:
    """The answer was there before the request could be sent."""

    def turn_away(connection: socket.socket) -> None:
        connection.sendall(b'{"ok": false, "error": {"code": "busy", "message": "8 connections are open"}}\n')

    with service(tmp_path / "s", turn_away), pytest.raises(ServiceError, match="8 connections"):
        ask_service(tmp_path / "s", {"pad": "x" * 3000})


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    """Whatever the outcome."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    for _ in range(5):
        with pytest.raises(ServiceError):
            ask_service(tmp_path / "absent", {})
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
