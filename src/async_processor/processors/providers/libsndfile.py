"""Decoding of audio containers with libsndfile, and change of sample rate with soxr."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from ..extras import needs_extra

if TYPE_CHECKING:
    from ..samples import Samples

_NEEDED_FOR = "decoding recordings"
# libsndfile's largest count stands for "unknown": FLAC that was written to a pipe.
_UNKNOWN_FRAMES = 2**62
# What encoders put into the first frame of an MP3 to tell its length. Without it the length is a guess from the size.
_MP3_LENGTH_MARKS = (b"Xing", b"Info", b"VBRI")


class UndecodableError(Exception):
    """The bytes are no recording that can be decoded; the text is the decoder's own."""


class _Bytes(io.BytesIO):
    """Stays where it is when a broken file makes the decoder seek before the beginning.

    An exception could not get through the decoder; it would be printed, and the decoder told that all went well.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


class Container:
    """An opened recording. Close it, or use it in a ``with`` statement.

    Attributes:
        sample_rate: in Hz, as the header says.
        channels: as the header says.
        frames: how many the header claims, which may be a lie; None where it does not tell.
        format: name of the container, e.g. ``"FLAC"``.

    Raises:
        MissingExtraError: soundfile is not installed.
        UndecodableError: the header cannot be read.
    """

    def __init__(self, data: bytes) -> None:
        with needs_extra("voice", needed_for=_NEEDED_FOR):
            import soundfile

        class ForwardOnly(soundfile.SoundFile):  # type: ignore[misc]  # soundfile ships no types
            """Reads on without seeking: after each read soundfile seeks, which fails where the length is unknown."""

            def seekable(self) -> bool:
                return False

        try:
            self._file: Any = ForwardOnly(_Bytes(data))
        except Exception as error:  # a decoder may raise anything on hostile bytes; here it gets one name
            raise UndecodableError(_reason(error)) from error
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self.format = str(self._file.format)
        self.frames = self._claimed_frames(data)

    def _claimed_frames(self, data: bytes) -> int | None:
        guessed = self.format == "MP3" and not any(mark in data for mark in _MP3_LENGTH_MARKS)
        return None if guessed or self._file.frames >= _UNKNOWN_FRAMES else int(self._file.frames)

    def blocks(self, frames_at_once: int) -> Iterator[Samples]:
        """What the bytes really hold, a bounded block at a time: memory never follows the header's claim.

        Raises:
            UndecodableError: the data is broken or ends too early.
        """
        while True:
            try:
                block: Samples = self._file.read(frames_at_once, dtype="float32", always_2d=True)
            except Exception as error:  # as above
                raise UndecodableError(_reason(error)) from error
            if not len(block):
                return
            yield block

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()


def _reason(error: Exception) -> str:
    # The library's message holds the object it read from; its own part is the last.
    return str(error).rpartition(">: ")[2][:200] or type(error).__name__


class Resampler:
    """Changes the sample rate of one channel, block by block.

    Raises:
        MissingExtraError: soxr is not installed.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        self._stream: Any = None
        if source_rate != target_rate:
            with needs_extra("voice", needed_for="changing the sample rate of recordings"):
                import soxr

            self._stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32")

    def push(self, samples: Samples, *, last: bool = False) -> Samples:
        """What these samples become; ``last`` also lets out what was held back."""
        if self._stream is None:
            return samples
        changed: Samples = self._stream.resample_chunk(samples, last=last)
        return changed
