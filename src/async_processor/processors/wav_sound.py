"""What a WAV file of 16-bit PCM holds, found without decoding it. For files that a program or a server made."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from .samples import PCM_BYTES, to_wav

MIN_RATE, MAX_RATE = 4_000, 192_000
MAX_CHANNELS = 2

_RIFF = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
_PCM, _EXTENSIBLE = 1, 0xFFFE
# Where an extensible format says what it is extended from.
_SUBFORMAT = struct.Struct("<24xH")
# There are three or four in files that anybody writes; a walk through millions of empty ones would take its time.
_MAX_CHUNKS = 64


class WavError(ValueError):
    """These bytes are no such file; the message completes the sentence "it wrote ..."."""


@dataclass(slots=True, frozen=True, kw_only=True)
class WavSound:
    """The sound in a file. ``duration`` is in seconds, ``sample_rate`` in Hz."""

    pcm: bytes = field(repr=False)
    sample_rate: int
    channels: int

    @property
    def duration(self) -> float:
        return len(self.pcm) / PCM_BYTES / self.channels / self.sample_rate

    def file(self) -> bytes:
        """The file anew: with the true sizes in its header, and nothing but the sound."""
        return to_wav(self.pcm, self.sample_rate, self.channels)


def read_wav(data: bytes) -> WavSound:
    """Find the sound in a file.

    The sizes in its header are not believed: who writes to a pipe does not know them yet, and leaves zeros or the
    largest number there.

    Raises:
        WavError: it is no WAV file, holds no sound, or one that is not 16-bit PCM of one or two channels.
    """
    if len(data) < _RIFF.size:
        raise WavError("no sound")
    riff, _, wave = _RIFF.unpack_from(data)
    if (riff, wave) != (b"RIFF", b"WAVE"):
        raise _other()
    channels = rate = 0
    at = _RIFF.size
    for _ in range(_MAX_CHUNKS):
        if at + _CHUNK.size > len(data):
            break
        name, size = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size
        if name == b"fmt ":
            channels, rate = _read_format(data[at : at + size])
        elif name == b"data":
            return _sound(data, at, size, channels, rate)
        at += size + size % 2
    raise WavError("no sound")


def _read_format(chunk: bytes) -> tuple[int, int]:
    if len(chunk) < _FORMAT.size:
        raise _other()
    kind, channels, rate, _, _, bits = _FORMAT.unpack_from(chunk)
    if kind == _EXTENSIBLE and len(chunk) >= _SUBFORMAT.size:
        (kind,) = _SUBFORMAT.unpack_from(chunk)
    if kind != _PCM or bits != 8 * PCM_BYTES or not 1 <= channels <= MAX_CHANNELS or not MIN_RATE <= rate <= MAX_RATE:
        raise _other()
    return channels, rate


def _sound(data: bytes, at: int, size: int, channels: int, rate: int) -> WavSound:
    if not channels:
        raise _other()
    end = at + size if 0 < size <= len(data) - at else len(data)
    frame = PCM_BYTES * channels
    pcm = data[at : at + (end - at) // frame * frame]
    if not pcm:
        raise WavError("no sound")
    return WavSound(pcm=pcm, sample_rate=rate, channels=channels)


def _other() -> WavError:
    return WavError("something else than a WAV file of 16-bit PCM with one or two channels")
