"""Decoding of audio containers with libsndfile, and change of sample rate with soxr."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..extras import needs_extra

if TYPE_CHECKING:
    from ..samples import Samples

_NEEDED_FOR = "decoding recordings"


class UndecodableError(Exception):
    """The bytes are no recording that can be decoded; the text is the decoder's own."""


class Container:
    """An opened recording. Close it, or use it in a ``with`` statement.

    Attributes:
        sample_rate: in Hz, as the header says.
        channels: as the header says.
        frames: how many the header claims; the bytes may hold fewer.
        format: name of the container, e.g. ``"FLAC"``.

    Raises:
        MissingExtraError: soundfile is not installed.
        UndecodableError: the header cannot be read.
    """

    def __init__(self, data: bytes) -> None:
        with needs_extra("voice", needed_for=_NEEDED_FOR):
            import soundfile
        try:
            self._file: Any = soundfile.SoundFile(io.BytesIO(data))
        except Exception as error:  # noqa: BLE001 - a decoder may raise anything on hostile bytes
            raise UndecodableError(_reason(error)) from error
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self.frames = int(self._file.frames)
        self.format = str(self._file.format)

    def blocks(self, frames_at_once: int) -> Iterator[Samples]:
        """What the bytes really hold, a bounded block at a time: memory never follows the header's claim.

        Raises:
            UndecodableError: the data is broken or ends too early.
        """
        while True:
            try:
                block: Samples = self._file.read(frames_at_once, dtype="float32", always_2d=True)
            except Exception as error:  # noqa: BLE001 - as above
                raise UndecodableError(_reason(error)) from error
            if not len(block):
                return
            yield block

    def __enter__(self) -> Container:
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
