"""From the bytes of a payload to samples that speech processors can use. The bytes are not trusted.

Nothing here believes a header: sizes and rates are checked before anything is decoded, and decoding goes by bounded
blocks until the bytes end or the time limit is reached.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..config import SpeechConfig
from . import samples as sound
from .payload import Buffer, beginning, buffer, invalid, size_of, whole
from .payload import data as read_data
from .providers.libsndfile import Container, Resampler, UndecodableError

if TYPE_CHECKING:
    from .samples import Samples

SAMPLE_RATE = 16_000
"""Rate of all samples handed on, in Hz: what the recogniser, the speech detector and the pitch tracker take."""

FIELD = "audio_data"
# Below 8 kHz there is no intelligible speech; above 192 kHz no recorder.
MIN_RATE, MAX_RATE = 8_000, 192_000
MAX_CHANNELS = 8
# The speech detector judges 32 ms at a time; less cannot be judged at all.
MIN_SECONDS = 0.032
# Floating-point files may exceed full scale a little (12 dB here); more means that they are not scaled to 1.0.
MAX_PEAK = 4.0
# Encoders round lengths up to whole frames; a file that holds less than this part of what it claims was cut off.
MIN_COMPLETE = 0.95
_BLOCK_FRAMES = 65_536
HEAD_BYTES = 2_048
"""As many bytes from the first on tell the container: two MPEG frames are the longest mark, of 1,441 bytes each."""

_BYTES_WANTED = "the bytes of a recording (wav, flac, ogg, mp3, aiff, or 16-bit little-endian PCM with sample_rate)"
# First bytes of the containers that libsndfile reads and that recorders write.
_CONTAINERS = {
    b"RIFF": "wav",
    b"RIFX": "wav",
    b"RF64": "wav",
    b"riff": "w64",
    b"FORM": "aiff",
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"ID3": "mp3",
    b".snd": "au",
    b"dns.": "au",
    b"caff": "caf",
    b"Crea": "voc",
}
# Where else to look, for what, and its name: formats that phones and browsers record, and that cannot be decoded here.
_UNSUPPORTED = (
    (4, b"ftyp", "m4a"),
    (0, b"\x1aE\xdf\xa3", "webm"),
    (0, b"#!AMR", "amr"),
    (0, b"0&\xb2u", "wma"),
)


@dataclass(slots=True, frozen=True, kw_only=True)
class Source:
    """A recording as it came: what can be checked of it without decoding it was checked.

    Attributes:
        data: its bytes, as they came.
        sample_rate: in Hz, of headerless PCM; 0 where a header tells.
        channels: of headerless PCM.
    """

    data: Buffer = field(repr=False)
    sample_rate: int = 0
    channels: int = 1


@dataclass(slots=True, frozen=True, eq=False)
class Recording:
    """A decoded recording.

    Attributes:
        samples: one channel, at ``SAMPLE_RATE`` unless the source's rate was to be kept.
        duration: seconds.
        sample_rate: rate of the source in Hz.
        channels: channels of the source; they were mixed.
        format: container of the source, ``"PCM"`` without one.
    """

    samples: Samples
    duration: float
    sample_rate: int
    channels: int
    format: str


@dataclass(slots=True, frozen=True)
class _Limit:
    """The longest recording accepted, in seconds, and the setting that says so."""

    seconds: float
    setting: str

    def check(self, seconds: float) -> None:
        if seconds > self.seconds:
            raise invalid(FIELD, f"lasts {seconds:.1f} s; send at most {self.seconds:g} s ({self.setting})")


def read_recording(payload: Mapping[str, Any], config: SpeechConfig) -> Recording:
    """``read_source`` and ``decode`` in one, at ``SAMPLE_RATE``."""
    return decode(read_source(payload, config), config)


def read_source(payload: Mapping[str, Any], config: SpeechConfig) -> Source:
    """Take ``payload["audio_data"]`` without decoding or copying it; needs no library, and no time to speak of.

    A container's own header gives rate and channels. For headerless PCM ``payload["sample_rate"]`` is needed, and
    ``payload["channels"]`` taken as 1 unless given.

    Raises:
        InvalidPayloadError: the payload cannot be used; ``field`` names the key.
    """
    data = read_buffer(payload, config.max_audio_bytes)
    rate = whole(payload, "sample_rate", 0, MIN_RATE, MAX_RATE)
    channels = whole(payload, "channels", 1, 1, MAX_CHANNELS)
    if is_container(beginning(data, HEAD_BYTES)):
        return Source(data=data)
    if not rate:
        raise invalid(
            "sample_rate",
            "is missing: audio_data has no header, so it is taken for 16-bit little-endian PCM; "
            "send its rate in Hz, or a wav, flac, ogg, mp3 or aiff file",
        )
    frame, size = sound.PCM_BYTES * channels, size_of(data)
    if size % frame:
        raise invalid(
            FIELD,
            f"has no header, and {size} bytes are no whole number of 16-bit frames of {channels} channel(s); "
            f"send {_BYTES_WANTED}",
        )
    _limit(config).check(size / frame / rate)
    return Source(data=data, sample_rate=rate, channels=channels)


def decode(source: Source, config: SpeechConfig, *, keep_rate: bool = False) -> Recording:
    """Decode a recording and mix its channels.

    Args:
        source: from ``read_source``.
        config: limits.
        keep_rate: give samples at the source's own rate. Then they must also fit into
            ``SpeechConfig.max_audio_bytes`` as 16-bit PCM, because a small file may stand for hours of 192 kHz.

    Raises:
        InvalidPayloadError: it cannot be decoded, or is too long or too short.
        MissingExtraError: the extra "voice" is not installed.
    """
    if source.sample_rate:
        return _read_pcm(source, config, keep_rate=keep_rate)
    return _read_container(bytes(source.data), config, keep_rate=keep_rate)


def is_container(data: bytes) -> bool:
    """Whether bytes, of which the first ``HEAD_BYTES`` will do, begin like a recording with a header.

    Raises:
        InvalidPayloadError: they begin like one of a format that cannot be decoded.
    """
    name = container_name(data)
    if name in {unsupported for _, _, unsupported in _UNSUPPORTED}:
        raise invalid(FIELD, f"is {name}, which cannot be decoded here; send wav, flac, ogg, mp3 or aiff")
    return name is not None


def container_name(data: bytes) -> str | None:
    """The usual ending of a file that begins with these bytes, as in "wav"; None for what looks like no container.

    The first ``HEAD_BYTES`` of them will do.
    """
    for offset, mark, name in _UNSUPPORTED:
        if data.startswith(mark, offset):
            return name
    known = next((name for mark, name in _CONTAINERS.items() if data.startswith(mark)), None)
    return "mp3" if known is None and _is_mp3(data) else known


def read_bytes(payload: Mapping[str, Any], limit: int, setting: str = "SpeechConfig.max_audio_bytes") -> bytes:
    """``payload["audio_data"]`` as bytes; at most ``limit`` of them, which ``setting`` names."""
    return read_data(payload, FIELD, _BYTES_WANTED, limit, setting)


def read_buffer(payload: Mapping[str, Any], limit: int, setting: str = "SpeechConfig.max_audio_bytes") -> Buffer:
    """As ``read_bytes``, but nothing is copied."""
    return buffer(payload, FIELD, _BYTES_WANTED, limit, setting)


def _is_mp3(data: bytes) -> bool:
    """Whether two MPEG frames follow each other: one frame's mark alone is also a quite likely PCM sample."""
    length = _mp3_frame_length(data, 0)
    return length > 0 and _mp3_frame_length(data, length) > 0


_MP3_KBITS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),  # MPEG 1, layer III
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),  # MPEG 2 and 2.5, layer III
}
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _mp3_frame_length(data: bytes, at: int) -> int:
    """Bytes of the layer III frame that begins at a place; 0 if none does (ISO 11172-3, 2.4.1.3)."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate, padding = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or rate == 3:
        return 0
    kbits = _MP3_KBITS[3 if version == 3 else 2][bitrate]
    samples_by_8 = 144 if version == 3 else 72
    return samples_by_8 * kbits * 1_000 // _MP3_RATES[version][rate] + padding if kbits else 0


def _limit(config: SpeechConfig, kept_rate: int | None = None) -> _Limit:
    by_time = _Limit(config.max_audio_s, "SpeechConfig.max_audio_s")
    if kept_rate is None:
        return by_time
    by_size = _Limit(config.max_audio_bytes / sound.PCM_BYTES / kept_rate, "SpeechConfig.max_audio_bytes when decoded")
    return min(by_time, by_size, key=lambda limit: limit.seconds)


def _read_container(data: bytes, config: SpeechConfig, *, keep_rate: bool) -> Recording:
    try:
        with Container(data) as file:
            rate = file.sample_rate
            _check_header(file)
            limit = _limit(config, rate if keep_rate else None)
            if file.frames is not None:
                limit.check(file.frames / rate)
            samples, duration = _collect(file.blocks(_BLOCK_FRAMES), rate, rate if keep_rate else SAMPLE_RATE, limit)
            _check_complete(file, duration)
            return Recording(samples, duration, rate, file.channels, file.format)
    except UndecodableError as error:
        raise invalid(FIELD, f"cannot be decoded ({error}); send a whole wav, flac, ogg, mp3 or aiff file") from error


def _check_header(file: Container) -> None:
    if not MIN_RATE <= file.sample_rate <= MAX_RATE:
        raise invalid(
            FIELD, f"has a sample rate of {file.sample_rate} Hz; send a recording of {MIN_RATE} to {MAX_RATE} Hz"
        )
    if not 1 <= file.channels <= MAX_CHANNELS:
        raise invalid(FIELD, f"has {file.channels} channels; send a recording of 1 to {MAX_CHANNELS}")


def _check_complete(file: Container, duration: float) -> None:
    """Refuse what ends early: half a sentence, heard without a word about it, would be worse."""
    if file.frames is not None and duration * file.sample_rate < file.frames * MIN_COMPLETE:
        claimed = file.frames / file.sample_rate
        raise invalid(FIELD, f"ends after {duration:.2f} s of {claimed:.2f} s; send the whole file")


def _read_pcm(source: Source, config: SpeechConfig, *, keep_rate: bool) -> Recording:
    rate, channels = source.sample_rate, source.channels
    blocks = sound.pcm_blocks(memoryview(bytes(source.data)), channels, _BLOCK_FRAMES)
    limit = _limit(config, rate if keep_rate else None)
    samples, duration = _collect(blocks, rate, rate if keep_rate else SAMPLE_RATE, limit)
    return Recording(samples, duration, rate, channels, "PCM")


def _collect(blocks: Iterator[Samples], rate: int, target_rate: int, limit: _Limit) -> tuple[Samples, float]:
    """Mix and resample block by block; gives the samples and the source's duration in seconds."""
    resampler = Resampler(rate, target_rate)
    parts: list[Samples] = []
    frames = 0
    for block in blocks:
        frames += len(block)
        limit.check(frames / rate)
        mono = sound.to_mono(block)
        _check_values(sound.peak(mono))
        parts.append(resampler.push(mono))
    duration = frames / rate
    if duration < MIN_SECONDS:
        raise invalid(FIELD, f"holds {duration:.3f} s of sound; send at least {MIN_SECONDS} s, and the whole file")
    parts.append(resampler.push(parts[0][:0], last=True))
    return sound.join(parts), duration


def _check_values(peak: float) -> None:
    if not math.isfinite(peak):
        raise invalid(FIELD, "holds samples that are not finite; send numbers from -1 to 1")
    if peak > MAX_PEAK:
        raise invalid(FIELD, f"holds samples up to {peak:.3g}; send them scaled to -1 to 1")
