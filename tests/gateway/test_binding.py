"""Taking the socket's file: stale ones are replaced, live ones are not, and of two services one gets it."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_agent.errors import SocketError
from edge_agent.gateway import binding
from edge_agent.gateway.binding import Binding, bind, release
from edge_agent.gateway.places import SocketPlace


@pytest.fixture
def place(tmp_path: Path) -> SocketPlace:
    """A place in a directory that is not there yet."""
    return SocketPlace(tmp_path / "run" / "edge-agent.sock", 0o600, None)


@pytest.fixture
def bound(place: SocketPlace) -> Iterator[Binding]:
    """A service that has it."""
    bound = bind(place)
    yield bound
    bound.listener.close()


def leave_behind(path: Path) -> None:
    """Make the file of a service that died."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_a_file_that_was_left_behind_is_replaced(place: SocketPlace) -> None:
    """Nobody has to clean up after a crash."""
    leave_behind(place.path)
    bound = bind(place)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place.path))
    bound.listener.close()
    release(bound)
    assert list(place.path.parent.iterdir()) == []


def test_a_live_service_keeps_it(place: SocketPlace, bound: Binding) -> None:
    """The second one hears which process has it, and the first one goes on."""
    with pytest.raises(SocketError, match=f"another service has it, process {os.getpid()}; stop that one first"):
        bind(place)
    assert place.path.stat().st_ino == bound.identity[1]
    assert [entry.name for entry in place.path.parent.iterdir()] == ["edge-agent.sock"]


def test_the_process_that_has_it_is_named(place: SocketPlace) -> None:
    """Also where it is another one."""
    place.path.parent.mkdir()
    code = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
        "print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(place.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(SocketError, match=f"process {other.pid};"):
            bind(place)
        assert other.stdin is not None
        other.stdin.close()


def test_a_service_whose_queue_is_full_is_alive(place: SocketPlace) -> None:
    """It is only slow to accept."""
    place.path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as slow:
        slow.bind(str(place.path))
        slow.listen(0)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for client in clients:
            client.setblocking(False)  # noqa: FBT003 - socket's own signature
            client.connect_ex(str(place.path))
        with pytest.raises(SocketError, match="another service has it"):
            bind(place)
        for client in clients:
            client.close()


def test_of_many_that_start_at_once_one_gets_it(place: SocketPlace) -> None:
    """Also where a dead one left its file, which is when they could take each other's away."""
    leave_behind(place.path)

    def try_to_bind(_number: int) -> Binding | SocketError:
        try:
            return bind(place)
        except SocketError as error:
            return error

    # Threads share a process number, and with it the draft's name: the lock keeps even them apart.
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(try_to_bind, range(24)))
    won = [outcome for outcome in outcomes if isinstance(outcome, Binding)]
    assert len(won) == 1
    assert place.path.stat().st_ino == won[0].identity[1]
    won[0].listener.close()


def test_a_lock_that_is_held_for_ever_hangs_nobody(place: SocketPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives up, and says why."""
    monkeypatch.setattr(binding, "_LOCK_PAUSE_S", 0.0001)
    place.path.parent.mkdir()
    descriptor = os.open(place.path.parent, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(SocketError, match="locks its directory"):
        bind(place)
    os.close(descriptor)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_no_socket_is_left_alone(place: SocketPlace, kind: str) -> None:
    """It may be dear to somebody."""
    place.path.parent.mkdir()
    if kind == "file":
        place.path.write_text("dear")
    else:
        place.path.mkdir()
    with pytest.raises(SocketError, match="is no socket; move it away"):
        bind(place)
    assert place.path.exists()


def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    """The kernel's own message says nothing."""
    with pytest.raises(SocketError, match="too long for a socket; set XDG_RUNTIME_DIR"):
        bind(SocketPlace(tmp_path / ("x" * 100) / "edge-agent.sock", 0o600, None))


def test_a_directory_that_can_t_be_made_is_told(tmp_path: Path) -> None:
    """With the reason."""
    (tmp_path / "run").write_text("a file")
    with pytest.raises(SocketError, match="can't be made: "):
        bind(SocketPlace(tmp_path / "run" / "edge-agent.sock", 0o600, None))


@pytest.mark.parametrize(("mode", "group"), [(0o600, None), (0o660, "no-such-group"), (0o660, "root")])
def test_the_file_has_its_mode_from_the_beginning(place: SocketPlace, mode: int, group: str | None) -> None:
    """Whatever the umask; a group that is not there is passed over."""
    if group == "root" and os.getuid() != 0 and os.getgid() != 0:
        group = None
    before = os.umask(0o077)
    try:
        bound = bind(SocketPlace(place.path, mode, group))
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.path.stat().st_mode) == mode
    bound.listener.close()


def test_a_file_that_is_another_s_by_now_is_left(place: SocketPlace, bound: Binding) -> None:
    """Somebody removed ours and a new service came."""
    place.path.unlink()
    release(bound)
    later = bind(place)
    release(bound)
    assert place.path.exists()
    later.listener.close()
    release(later)
    assert not place.path.exists()


def test_the_listener_is_not_inherited(bound: Binding) -> None:
    """Children must not keep the socket alive after us, nor may it block."""
    assert not bound.listener.get_inheritable()
    assert not bound.listener.getblocking()
