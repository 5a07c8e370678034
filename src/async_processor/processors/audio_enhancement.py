"""AUDIO_ENHANCEMENT: less noise and an even loudness. Offline. Described in docs/audio-enhancement.md."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..config import ProcessorConfig, SpeechConfig
from ..context import TaskContext
from ..model import LaneName, ProcessingTask
from ..results.audio_enhancement import AudioEnhancementResult, BeforeAndAfter
from . import dynamics
from . import payload as read
from . import samples as sound
from .audio import MAX_RATE, MIN_RATE, Recording, Source, decode, read_source
from .example_sound import example_recording
from .extras import missing_extra
from .noise_reduction import JUDGED_HZ, reduce_noise, resample
from .providers import pyloudnorm_meter, webrtc_suppressor
from .registry import ProcessorSpec, Readiness, inspect_function

if TYPE_CHECKING:
    from .samples import Samples

# What podcasts of one channel aim at (-16 in stereo, where two loudspeakers play it). Speech has few but high peaks:
# every dB more takes one to three off them, and lifts the noise between the words.
TARGET_LUFS = -19.0
MIN_LUFS, MAX_LUFS = -50.0, -5.0
# Of 16-bit sound: players and encoders that come after overshoot a little.
PEAK_DB = -1.0
# More gain than this makes noise of a recording that holds nothing else.
MAX_GAIN_DB = 30.0
# No peak is turned down by more than this. The sample recordings need up to 8 dB for the default target.
MAX_LIMITING_DB = 12.0
# Limiting takes loudness away; after that many corrections what is missing is below a tenth of a dB, or out of reach.
_CORRECTIONS = 10
_REACHED_DB = 0.1
_REMARK_FROM_DB = 0.5

OUTPUT_RATE = "output_sample_rate"
_MODULES = ("numpy", "soundfile", "soxr", "webrtc_noise_gain", "pyloudnorm", "scipy")


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """How AUDIO_ENHANCEMENT runs: in the process lane, because it decodes bytes that nobody vouches for."""
    return inspect_function(
        functools.partial(enhance, config=config.speech),
        lane=LaneName.PROCESS,
        check=lambda task: read_request(task.payload, config.speech),
        readiness=readiness,
        example=example,
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class EnhancementRequest:
    """What a payload asks for. ``output_sample_rate`` None keeps the recording's own."""

    source: Source
    noise_reduction: bool
    normalization: bool
    target_lufs: float
    output_sample_rate: int | None


def read_request(payload: Mapping[str, Any], config: SpeechConfig) -> EnhancementRequest:
    """Read a payload; needs no library and decodes nothing.

    Raises:
        InvalidPayloadError: it cannot be used; ``field`` names the key.
    """
    return EnhancementRequest(
        source=read_source(payload, config),
        noise_reduction=read.flag(payload, "noise_reduction", default=True),
        normalization=read.flag(payload, "normalization", default=True),
        target_lufs=read.number(payload, "target_lufs", TARGET_LUFS, MIN_LUFS, MAX_LUFS),
        output_sample_rate=read.whole(payload, OUTPUT_RATE, 0, MIN_RATE, MAX_RATE) or None,
    )


def enhance(task: ProcessingTask, context: TaskContext, *, config: SpeechConfig) -> dict[str, Any]:
    """Reduce the noise in ``payload["audio_data"]`` and bring it to a loudness.

    Raises:
        InvalidPayloadError: the payload cannot be used.
        MissingExtraError: the extra "voice" is not installed.
    """
    request = read_request(task.payload, config)
    recording = decode(request.source, config, keep_rate=True)
    rate = request.output_sample_rate or recording.sample_rate
    _check_output(recording.duration, rate, config)
    context.report_progress(0.2, "decoded")
    samples = recording.samples
    if request.noise_reduction:
        samples = reduce_noise(samples, recording.sample_rate)
        context.report_progress(0.6, "noise reduced")
    if rate != recording.sample_rate:
        samples = resample(samples, recording.sample_rate, rate)
    levelled = _level(samples, rate, request)
    context.report_progress(0.9, "levelled")
    return _result(request, recording, levelled, rate).as_dict()


def _check_output(seconds: float, rate: int, config: SpeechConfig) -> None:
    size = round(seconds * rate) * sound.PCM_BYTES
    if size > config.max_audio_bytes:
        raise read.invalid(
            OUTPUT_RATE,
            f"would make {size} bytes of this recording; send a rate that leaves at most {config.max_audio_bytes} "
            "(SpeechConfig.max_audio_bytes)",
        )


@dataclass(slots=True, frozen=True, eq=False)
class _Levelled:
    """Samples that fit into 16 bit, their gain, how far their highest peak was turned down, and what was amiss."""

    samples: Samples
    gain_db: float
    limiting_db: float
    remarks: tuple[str, ...] = ()


def _level(samples: Samples, rate: int, request: EnhancementRequest) -> _Levelled:
    """Bring samples to the loudness asked for, as far as their peaks allow."""
    loudness = pyloudnorm_meter.loudness(samples, rate) if request.normalization else None
    if loudness is None:
        return _without_gain(samples, rate, _why_not(samples, rate) if request.normalization else ())
    peak_db = dynamics.to_db(sound.peak(samples)) or 0.0
    most = min(MAX_GAIN_DB, PEAK_DB + MAX_LIMITING_DB - peak_db)
    gain, missing, levelled = 0.0, request.target_lufs - loudness, samples
    for _ in range(_CORRECTIONS):
        gain = min(gain + missing, most)
        levelled = dynamics.limit(samples * dynamics.from_db(gain), rate, dynamics.from_db(PEAK_DB))
        missing = request.target_lufs - (pyloudnorm_meter.loudness(levelled, rate) or request.target_lufs)
        if abs(missing) <= _REACHED_DB or (missing > 0 and gain >= most):
            break
    return _Levelled(levelled, gain, max(0.0, peak_db + gain - PEAK_DB), _missed(request.target_lufs, missing, gain))


def _without_gain(samples: Samples, rate: int, remarks: tuple[str, ...]) -> _Levelled:
    # Floating-point files and changes of rate may exceed what 16 bit can hold.
    above = max(0.0, dynamics.to_db(sound.peak(samples)) or 0.0)
    return _Levelled(dynamics.limit(samples, rate, 1.0), 0.0, above, remarks)


def _why_not(samples: Samples, rate: int) -> tuple[str, ...]:
    if len(samples) < pyloudnorm_meter.MIN_SECONDS * rate:
        return (f"not normalized: what is shorter than {pyloudnorm_meter.MIN_SECONDS} s has no loudness",)
    return ("not normalized: silent by the standard's gate of -70 LUFS",)


def _missed(target: float, missing: float, gain: float) -> tuple[str, ...]:
    if abs(missing) <= _REMARK_FROM_DB:
        return ()
    limit = (
        f"gain is at most {MAX_GAIN_DB:g} dB"
        if gain >= MAX_GAIN_DB
        else f"peaks are kept at {PEAK_DB:g} dBFS and turned down by at most {MAX_LIMITING_DB:g} dB for it"
    )
    return (f"the target of {target:g} LUFS was missed by {missing:.1f} dB: {limit}",)


def _result(
    request: EnhancementRequest, recording: Recording, levelled: _Levelled, rate: int
) -> AudioEnhancementResult:
    pcm = sound.to_pcm(levelled.samples)
    before = _Measures.of(recording.samples, recording.sample_rate)
    # Of what is handed out, after it was rounded to 16 bit.
    after = _Measures.of(sound.from_pcm(pcm), rate)
    providers = [webrtc_suppressor.NAME] if request.noise_reduction else []
    return AudioEnhancementResult(
        audio_data=sound.to_wav(pcm, rate),
        sample_rate=rate,
        duration=round(len(pcm) / sound.PCM_BYTES / rate, 3),
        channels=1,
        noise_floor_db=BeforeAndAfter(before=before.noise_floor_db, after=after.noise_floor_db),
        loudness_lufs=BeforeAndAfter(before=before.loudness_lufs, after=after.loudness_lufs),
        peak_db=BeforeAndAfter(before=before.peak_db, after=after.peak_db),
        gain_db=round(levelled.gain_db, 2),
        limiting_db=round(levelled.limiting_db, 2),
        remarks=(
            *_about_source(request, recording),
            *levelled.remarks,
            *before.remarks("before"),
            *after.remarks("after"),
        ),
        provider="+".join([*providers, pyloudnorm_meter.NAME]),
        model=webrtc_suppressor.MODEL if request.noise_reduction else None,
        offline=True,
    )


def _about_source(request: EnhancementRequest, recording: Recording) -> list[str]:
    remarks = []
    if recording.channels > 1:
        remarks.append(f"{recording.channels} channels were mixed to one")
    if request.noise_reduction and recording.sample_rate > webrtc_suppressor.RATE:
        remarks.append(
            f"noise is judged below {JUDGED_HZ} Hz; what lies above was turned down as much as the band just below"
        )
    return remarks


@dataclass(slots=True, frozen=True)
class _Measures:
    """Of one recording, to a tenth of a dB or better; None where there is nothing to measure."""

    noise_floor_db: float | None
    loudness_lufs: float | None
    peak_db: float | None

    @classmethod
    def of(cls, samples: Samples, rate: int) -> _Measures:
        floor = dynamics.noise_floor(samples, rate)
        values = (floor, pyloudnorm_meter.loudness(samples, rate), dynamics.to_db(sound.peak(samples)))
        return cls(*(None if value is None else round(value, 2) for value in values))

    def remarks(self, when: str) -> list[str]:
        if self.peak_db is None:
            return [f"no levels {when}: there is nothing but zeros"]
        if self.noise_floor_db is None:
            return [f"no noise floor {when}: a tenth of it is nothing but zeros"]
        return []


async def readiness() -> Readiness:
    """Whether the libraries are there; nothing else is needed."""
    return Readiness(
        provider=f"{webrtc_suppressor.NAME}+{pyloudnorm_meter.NAME}",
        offline=True,
        problem=missing_extra("voice", "AUDIO_ENHANCEMENT", *_MODULES),
    )


def example() -> dict[str, Any]:
    """A short recording: a spoken sentence where this machine can speak, else a tone."""
    return {"audio_data": example_recording()}
