"""Messages between the recognizer and its child process: one kind byte, a length, a payload."""

from __future__ import annotations

import struct
from enum import IntEnum

_HEADER = struct.Struct("<BI")
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024


class Kind(IntEnum):
    """What a message is. Payloads are JSON but for AUDIO, which is PCM."""

    LOAD = 1
    """To the child: `{"grammar": {...} | null, "cache_dir": str | null}`. Answered by LOADED."""
    START = 2
    """To the child: begin an utterance. Not answered."""
    AUDIO = 3
    """To the child: 16 kHz samples. Answered by PARTIAL when they are decoded."""
    FINISH = 4
    """To the child: end the utterance. Answered by FINAL."""
    PREVIEW = 5
    """To the child: read what there is of the utterance, which can go on. Answered by FINAL."""
    LOADED = 10
    PARTIAL = 11
    """From the child: `{"text": str | null}`, null where there is nothing new to say."""
    FINAL = 12
    FAILED = 13
    """From the child: `{"reason": str}`; it goes on listening to messages."""


_KINDS = frozenset(int(kind) for kind in Kind)


class WireError(Exception):
    """The other side sent something that is no message."""


def pack(kind: Kind, payload: bytes = b"") -> bytes:
    """Return the message's bytes."""
    return _HEADER.pack(kind, len(payload)) + payload


class Unpacker:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._buffer += data

    def next(self) -> tuple[Kind, bytes] | None:
        """Return the next complete message, None where more bytes are needed.

        Raises:
            WireError: The stream is out of step.
        """
        if len(self._buffer) < _HEADER.size:
            return None
        number, length = _HEADER.unpack_from(self._buffer)
        if length > MAX_PAYLOAD_BYTES or number not in _KINDS:
            raise WireError(f"message of kind {number}, {length} bytes")
        end = _HEADER.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_HEADER.size : end])
        del self._buffer[:end]
        return Kind(number), payload
