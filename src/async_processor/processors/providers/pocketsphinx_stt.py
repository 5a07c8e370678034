"""Speech recognition by PocketSphinx, with the American English model in its wheel. Runs in the process lane only.

What was measured and must stay as it is:

- It holds the interpreter's lock for the whole of a decode; in a thread it would stop everything else.
- An utterance goes in in one call: in pieces of 100 ms the word error rate doubles.
- ``reinit_feat`` before each utterance: the decoder adapts to the last speaker, and one speaker's recording must not
  change what is heard of another's.
- No noise reduction before it: on clean speech every one tried made it worse.
"""

from __future__ import annotations

import functools
import re
import threading
from typing import TYPE_CHECKING, Any

from ...errors import MissingExtraError, ProcessorNotAvailableError
from ..extras import missing_extra, needs_extra
from ..recognition import Heard, HeardWord
from ..samples import to_pcm

if TYPE_CHECKING:
    from ..samples import Samples

NAME = "pocketsphinx"
MODEL = "en-us"
LANGUAGES = ("en", "en-US")
_EXTRA, _NEEDED_FOR = "voice", "AUDIO_TRANSCRIPTION with PocketSphinx"
# The decoder works in frames of 10 ms.
_FRAME_S = 0.01
# "read(2)" is the second pronunciation of "read"; "<sil>", "[NOISE]" and the like are no words.
_VARIANT = re.compile(r"\(\d+\)$")
_FILLER = ("<", "[", "+")

_lock = threading.Lock()


@functools.cache
def _decoder() -> Any:
    # 0.3 s and 90 MB: loaded at first use and kept for the life of the worker process.
    with needs_extra(_EXTRA, needed_for=_NEEDED_FOR):
        import pocketsphinx
    try:
        return pocketsphinx.Decoder(loglevel="FATAL")
    except RuntimeError as error:
        raise ProcessorNotAvailableError(
            "the PocketSphinx model cannot be loaded; reinstall it: pip install --force-reinstall pocketsphinx"
        ) from error


class PocketSphinx:
    """A ``LocalRecognizer``."""

    provider = NAME
    model = MODEL
    default_language = LANGUAGES[0]

    @property
    def languages(self) -> tuple[str, ...]:
        return LANGUAGES

    def check(self) -> None:
        if missing_extra(_EXTRA, _NEEDED_FOR, "pocketsphinx"):
            raise MissingExtraError(_EXTRA, needed_for=_NEEDED_FOR)

    def recognise(self, samples: Samples, language: str | None) -> Heard:
        words = recognise(samples)
        return Heard(" ".join(word.text for word in words), tuple(words), language or self.default_language)


def recognise(samples: Samples) -> list[HeardWord]:
    """The words of one utterance of 16 kHz samples, in order.

    Raises:
        MissingExtraError: pocketsphinx is not installed.
        ProcessorNotAvailableError: its model is missing or broken.
    """
    pcm = to_pcm(samples)
    with _lock:
        decoder = _decoder()
        decoder.reinit_feat()
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
        # Without a hypothesis there is nothing to iterate over, and `seg` gives None.
        return [_word(segment) for segment in decoder.seg() or () if not segment.word.startswith(_FILLER)]


def _word(segment: Any) -> HeardWord:
    return HeardWord(
        text=_VARIANT.sub("", segment.word),
        start=segment.start_frame * _FRAME_S,
        end=(segment.end_frame + 1) * _FRAME_S,
        score=min(1.0, float(segment.prob)),
    )
