"""Suppression of steady noise by WebRTC's audio processing, through ``webrtc-noise-gain``.

It takes 16-bit PCM of one channel at 16 kHz, 10 ms at a time, and answers 6 ms late. It also cuts what is below the
voice, with a filter that turns phases: to add its output to the input would not do.
"""

from __future__ import annotations

from ..extras import needs_extra

NAME = "webrtc-noise-gain"
MODEL = "webrtc-ns"
RATE = 16_000

PCM_BYTES = 2
_FRAME = 160 * PCM_BYTES
_LATE = 96 * PCM_BYTES
# 0 to 4. At 2 speech came out nearest to what it was without the noise (SI-SDR, at 20, 10 and 5 dB; STOI at 5 dB);
# 3 and 4 take away more of both.
_LEVEL = 2
# It learns the noise while it listens. What it hears first, it hears twice: without that the first second of a
# recording keeps its noise (1 to 2 dB over the recordings measured); more than a second changes nothing.
_LEARN = 100 * _FRAME


def suppress(pcm: bytes) -> bytes:
    """What is left of a recording; as long as it, and in time with it.

    Every call begins anew: what one recording sounds like changes nothing in another.

    Raises:
        MissingExtraError: webrtc-noise-gain is not installed, or has no build for this machine.
    """
    with needs_extra("voice", needed_for="AUDIO_ENHANCEMENT with noise_reduction"):
        from webrtc_noise_gain import AudioProcessor

    processor = AudioProcessor(auto_gain=0, noise_suppression=_LEVEL)
    learnt = pcm[: min(_LEARN, len(pcm) // _FRAME * _FRAME)]
    whole = learnt + pcm + bytes(_LATE)
    whole += bytes(-len(whole) % _FRAME)
    kept = b"".join(processor.Process10ms(whole[at : at + _FRAME]).audio for at in range(0, len(whole), _FRAME))
    start = len(learnt) + _LATE
    return kept[start : start + len(pcm)]
