"""A connected socket that lets no more of a message in than it may be large."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

_FIRST = {0x20, 0xE0, 0xF0}
"""CONNACK, DISCONNECT and AUTH: all that may come first."""
_TLS_RECORDS = range(0x14, 0x18)
_PUBLISH, _QOS_2 = 0x30, 0x04
_LENGTH_BYTES, _GOES_ON = 4, 0x80


class PacketGate:
    """Stands between paho and a connected socket. Belongs to the loop.

    Paho builds a packet of any announced size, up to 256 MiB, and keeps any number of messages of QoS 2, whatever was
    agreed with the broker. This follows the fixed headers (MQTT 5, section 2.1) and breaks off instead.

    Attributes:
        failure: Why the connection ended, where the reason is not that it was closed.
        has_answered: Whether anything came.
        closed: Is done when the socket is closed.
    """

    def __init__(self, connection: socket.socket, *, most_bytes: int) -> None:
        self._socket = connection
        self._most_bytes = most_bytes
        self._body = 0
        self._length: list[int] | None = None
        self.has_answered = False
        self.failure: OSError | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_tls(self) -> bool:
        """Whether what goes through is encrypted."""
        return isinstance(self._socket, ssl.SSLSocket)

    def recv(self, most: int) -> bytes:
        """Return up to `most` bytes, b"" at the end.

        Raises:
            OSError: The connection broke, or what came is not to be taken.
        """
        if self.failure is not None:
            raise self.failure
        try:
            data = self._socket.recv(most)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.failure = error
            raise
        self._follow(data)
        return data

    def send(self, data: bytes) -> int:
        """Send what there is room for, and return how much that was.

        Raises:
            OSError: The connection broke.
        """
        if self.failure is not None:
            raise self.failure
        try:
            return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            # paho writes again when the socket can take more; TLS's own wish is no different to it.
            raise BlockingIOError from None
        except OSError as error:
            # What the broker said before it broke off is the better reason: it is read next.
            self.failure = self.failure or self._last_words() or error
            raise

    def break_off(self, reason: str) -> None:
        """Let every further call fail."""
        self.failure = self.failure or ConnectionAbortedError(reason)

    def pending(self) -> int:
        """Return how many bytes are decrypted and not taken."""
        return self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0

    def fileno(self) -> int:
        """Return the descriptor, -1 when closed."""
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:
        """Set it."""
        self._socket.setblocking(flag)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        if not self.closed.done():
            self.closed.set_result(None)

    def _last_words(self) -> OSError | None:
        try:
            self._socket.recv(1)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            return error
        except OSError:
            return None
        return None

    def _follow(self, data: bytes) -> None:
        for start, byte in enumerate(data):
            if self._body:
                taken = min(self._body, len(data) - start)
                self._body -= taken
                return  # paho asks for the rest of one body, never for more
            if self._length is None:
                self._begin(byte)
            else:
                self._length.append(byte)
                if not byte & _GOES_ON:
                    self._end_header(self._length)
                elif len(self._length) == _LENGTH_BYTES:
                    raise self._fail("sent a length that MQTT does not know")

    def _begin(self, byte: int) -> None:
        if not self.has_answered and byte not in _FIRST:
            raise self._fail(
                "answers with TLS where plain text is expected; set mqtt.tls.enabled or correct mqtt.port"
                if byte in _TLS_RECORDS
                else "answers with something that is not MQTT; check mqtt.host and mqtt.port"
            )
        self.has_answered = True
        if byte & 0xF0 == _PUBLISH and byte & _QOS_2:
            raise self._fail("sent a message of QoS 2, which nobody subscribed to")
        self._length = []

    def _end_header(self, length: list[int]) -> None:
        size = sum((byte & ~_GOES_ON) << (7 * at) for at, byte in enumerate(length))
        if 1 + len(length) + size > self._most_bytes:
            raise self._fail(f"sent a packet of {size} bytes; at most {self._most_bytes} were agreed")
        self._body = size
        self._length = None

    def _fail(self, reason: str) -> OSError:
        self.failure = ConnectionAbortedError(reason)
        return self.failure
