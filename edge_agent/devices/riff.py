"""Reads the header of a WAV file, also what `wave` refuses: float, WAVE_FORMAT_EXTENSIBLE, streamed sizes.

Layout after Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" (RIFF WAVE) and
"Multiple Channel Audio Data and WAVE Files" (extensible).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

from edge_agent.errors import AudioFileError

if TYPE_CHECKING:
    from pathlib import Path

_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_UNKNOWN_SIZE = 0x7FFFF000
"""Sizes from here on (SoX: this one, arecord 2³¹, FFmpeg 2³²-1), and 0, stand for "unknown": a pipe was written to."""
_MAX_CHUNKS = 256
_FORMAT_BYTES = 40
"""What there is to know of a format: WAVEFORMATEXTENSIBLE; the shortest has 16."""
_MAX_CHANNELS = 64
_MIN_RATE_HZ, _MAX_RATE_HZ = 1_000, 384_000
_OTHER_KINDS = {
    b"ID3": "an MP3 file",
    b"\xff\xfb": "an MP3 file",
    b"\xff\xfa": "an MP3 file",
    b"\xff\xf3": "an MP3 file",
    b"\xff\xf2": "an MP3 file",
    b"OggS": "an Ogg file",
    b"fLaC": "a FLAC file",
    b"RIFX": "a big-endian RIFX file",
    b"FORM": "an AIFF file",
    b"RF64": "an RF64 file",
    b"\x1a\x45\xdf\xa3": "a Matroska or WebM file",
}
_CONVERT = "convert it, for example: sox INPUT -b 16 OUTPUT.wav"


class SampleKind(StrEnum):
    """How a sample is written; the values are NumPy's type strings, but for the 24-bit one, which NumPy lacks."""

    U8 = "u1"
    S16 = "<i2"
    S24 = "s24"
    S32 = "<i4"
    F32 = "<f4"
    F64 = "<f8"

    @property
    def size_bytes(self) -> int:
        """Bytes a sample."""
        return 3 if self is SampleKind.S24 else int(self.value[-1])


_KINDS = {
    (_PCM, 8): SampleKind.U8,
    (_PCM, 16): SampleKind.S16,
    (_PCM, 24): SampleKind.S24,
    (_PCM, 32): SampleKind.S32,
    (_FLOAT, 32): SampleKind.F32,
    (_FLOAT, 64): SampleKind.F64,
}
_OTHER_CODES = {0x0002: "ADPCM", 0x0006: "A-law", 0x0007: "µ-law", 0x0011: "IMA ADPCM", 0x0031: "GSM", 0x0055: "MP3"}


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """What a recording holds, and where.

    Attributes:
        frames: Samples a channel.
        data_offset: Byte where the first sample stands.
    """

    path: Path
    rate_hz: int
    channels: int
    kind: SampleKind
    frames: int
    data_offset: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate_hz


def check_recording(path: Path) -> RecordingInfo:
    """Read the header of `path`; the samples are not touched.

    Raises:
        AudioFileError: It is absent, no WAV file, truncated, empty, or of a kind that can't be read.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise AudioFileError(path, "is not a regular file; record into a WAV file first")  # a pipe would block
        with path.open("rb") as file:
            return _Header(path, file).read()
    except IsADirectoryError as error:
        raise AudioFileError(path, "is a directory; name a WAV file") from error
    except OSError as error:
        raise AudioFileError(path, f"can't be read: {error.strerror}") from error


class _Header:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._streamed = False

    def read(self) -> RecordingInfo:
        start = self._file.read(12)
        if not start:
            raise self._refuse("is empty; record it again")
        if start[:4] != b"RIFF" or start[8:12] != b"WAVE":
            known = next((kind for magic, kind in _OTHER_KINDS.items() if start.startswith(magic)), None)
            if known is None and b"RIFF".startswith(start[:4]) and len(start) < 12:  # noqa: PLR2004 - the header's length
                raise self._refuse("is truncated in its header; copy or record it again")
            raise self._refuse(f"is {known or 'not a WAV file'}; {_CONVERT}")
        self._streamed = not 0 < int.from_bytes(start[4:8], "little") < _UNKNOWN_SIZE
        layout: tuple[int, int, SampleKind] | None = None
        for _ in range(_MAX_CHUNKS):
            head = self._file.read(8)
            if len(head) < 8:  # noqa: PLR2004 - a chunk's header
                raise self._refuse("is truncated: it has no audio data; copy or record it again")
            name, length = head[:4], int.from_bytes(head[4:], "little")
            body = self._file.tell()
            if name == b"fmt ":
                layout = self._layout(self._file.read(min(length, _FORMAT_BYTES)), length)
            elif name == b"data":
                if layout is None:
                    raise self._refuse("has audio data before its format; it is damaged")
                return self._info(layout, length)
            self._file.seek(body + length + (length & 1))  # chunks begin on even bytes
        raise self._refuse("has no audio data; it is damaged")

    def _layout(self, body: bytes, length: int) -> tuple[int, int, SampleKind]:
        if len(body) < max(16, min(length, _FORMAT_BYTES)):
            raise self._refuse("is truncated in its format; copy or record it again")
        code, channels, rate_hz, _, block_bytes, bits = struct.unpack("<HHIIHH", body[:16])
        if code == _EXTENSIBLE and len(body) >= 26:  # noqa: PLR2004 - up to the sub-format's code
            code = int.from_bytes(body[24:26], "little")
        if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
            raise self._refuse(f"has an impossible sample rate of {rate_hz} Hz; it is damaged")
        if not 1 <= channels <= _MAX_CHANNELS:
            raise self._refuse(f"has an impossible number of channels ({channels}); it is damaged")
        kind = _KINDS.get((code, bits))
        if kind is None:
            coding = _OTHER_CODES.get(code, f"{bits}-bit samples of WAV format {code:#06x}")
            raise self._refuse(f"holds {coding}, which can't be read; {_CONVERT}")
        if block_bytes != channels * kind.size_bytes:
            raise self._refuse(
                f"says a frame has {block_bytes} bytes instead of {channels * kind.size_bytes}; it is damaged"
            )
        return rate_hz, channels, kind

    def _info(self, layout: tuple[int, int, SampleKind], length: int) -> RecordingInfo:
        rate_hz, channels, kind = layout
        offset = self._file.tell()
        there = max(0, self._size - offset)
        block_bytes = channels * kind.size_bytes
        if length >= _UNKNOWN_SIZE or (length == 0 and self._streamed):
            length = there
        if length > there:
            raise self._refuse(f"is truncated: {there} of {length} bytes of audio are there; copy or record it again")
        frames = length // block_bytes
        if frames == 0:
            raise self._refuse("holds no samples; record it again")
        return RecordingInfo(self._path, rate_hz, channels, kind, frames, offset)

    def _refuse(self, reason: str) -> AudioFileError:
        return AudioFileError(self._path, reason)
