"""Whether the arousal that EMOTION_ANALYSIS finds goes with anger and sadness, in two ways and as two tables.

    python -m benchmarks.arousal [--samples FOLDER] [--lines FOLDER]

**Renderings**: the plainly spoken sample recordings, each once more as anger and once more as sadness are described.
How a voice differs in them is the literature's, by how much is chosen here. A surrogate for acted speech: it shows that
the analysis follows the description, not that it knows angry people. The voices are changed by Praat (PSOLA) and SciPy;
of the analysis nothing is used for it.

**Lines**: comic voices of a game, with --lines: the folder ``Sounds/voices`` of Hedgewars (Debian's hedgewars-data,
GFDL). Actors say the same lines, each made for one situation; nobody judged how they sound. Which line counts as what
was written down before the first was measured.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import parselmouth
import scipy.signal
import soundfile
import soxr
from parselmouth.praat import call

from async_processor.config import SpeechConfig
from async_processor.context import TaskContext
from async_processor.model import ProcessingTask, ProcessingType
from async_processor.processors.emotion_analysis import analyse
from benchmarks.transcription import TRANSCRIPTS, sample_folder

RATE = 16_000
CONFIG = SpeechConfig()

Signal = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """How a voice differs from its neutral one.

    Attributes:
        pitch: mean pitch, in semitones.
        pitch_range: spread of the pitch about its middle, as a factor.
        tempo: as a factor.
        tilt_db: decibels per octave above ``TILT_HZ``, up to four octaves.
        level_db: of the whole.
    """

    pitch: float = 0.0
    pitch_range: float = 1.0
    tempo: float = 1.0
    tilt_db: float = 0.0
    level_db: float = 0.0


TILT_HZ = 500.0
# Directions: in anger intensity, mean and range of pitch, energy at high frequencies and tempo rise, in sadness all of
# them fall. K. R. Scherer, "Vocal communication of emotion", Speech Communication 40, 2003; P. N. Juslin and P. Laukka,
# "Communication of emotions in vocal expression and music performance", Psychological Bulletin 129, 2003.
# Sizes: ours, and moderate.
MOODS: Mapping[str, Mood] = {
    "angry": Mood(pitch=3.0, pitch_range=1.4, tempo=1.15, tilt_db=2.0, level_db=6.0),
    "neutral": Mood(),
    "sad": Mood(pitch=-2.0, pitch_range=0.6, tempo=0.85, tilt_db=-2.0, level_db=-6.0),
}

LINES: Mapping[str, Sequence[str]] = {
    "anger": (
        "Traitor", "Cutitout", "Leavemealone", "Youllregretthat", "Illgetyou", "Gonnagetyou", "Revenge", "Nutter",
        "Stupid", "Coward",
    ),
    "alarm": ("Takecover", "Incoming", "Runaway", "Fire", "Watchit", "Nooo"),
    "elation": ("Victory", "Flawless", "Amazing", "Brilliant", "Excellent"),
    "sorrow, boredom, doubt": ("Boring", "Ohdear", "Missed", "Oops", "Byebye", "Solong", "Hmm", "Uh-oh"),
}  # fmt: skip
LOW = "sorrow, boredom, doubt"
NO_PERSON = ("Robot",)
PAUSE_S = 0.3


def read(data: bytes, name: str) -> Signal:
    """A recording as one channel at ``RATE``, decoded without the code that is measured."""
    if name.endswith(".raw"):
        return np.frombuffer(data, "<i2") / 32_768.0
    signal, rate = soundfile.read(io.BytesIO(data), dtype="float64", always_2d=True)
    resampled: Signal = soxr.resample(signal.mean(axis=1), rate, RATE)
    return resampled


def render(signal: Signal, mood: Mood) -> Signal:
    """The same words in the same voice, otherwise spoken. Also a neutral one goes through all the steps."""
    sound = parselmouth.Sound(signal, sampling_frequency=RATE)
    manipulation = call(sound, "To Manipulation", 0.01, 60.0, 600.0)
    pitch = call(manipulation, "Extract pitch tier")
    middle = statistics.median(float(call(pitch, "Get value at index", 1 + number)) for number in range(_points(pitch)))
    factor = 2 ** (mood.pitch / 12)
    call(pitch, "Formula", f"{middle * factor} * (self / {middle}) ^ {mood.pitch_range}")
    call([pitch, manipulation], "Replace pitch tier")
    duration = call("Create DurationTier", "tempo", 0.0, sound.duration)
    call(duration, "Add point", 0.0, 1 / mood.tempo)
    call([duration, manipulation], "Replace duration tier")
    spoken = call(manipulation, "Get resynthesis (overlap-add)").values[0]
    tilted = scipy.signal.fftconvolve(spoken, tilting(mood.tilt_db), mode="same") * 10 ** (mood.level_db / 20)
    # Loud is loud, but what is beyond full scale could not be recorded.
    peak = float(np.abs(tilted).max())
    return tilted if peak <= 0.99 else tilted * (0.99 / peak)


def _points(pitch: Any) -> int:
    return int(call(pitch, "Get number of points"))


def tilting(db_per_octave: float) -> Signal:
    """A filter of linear phase: flat up to ``TILT_HZ``, then straight over the octaves."""
    frequencies = np.linspace(0, RATE / 2, 257)
    octaves = np.log2(np.maximum(frequencies, TILT_HZ) / TILT_HZ)
    taps: Signal = scipy.signal.firwin2(511, frequencies, 10 ** (db_per_octave * octaves / 20), fs=RATE)
    return taps


def judge(signal: Signal, baseline: Mapping[str, float] | None = None) -> dict[str, Any]:
    """What the analysis makes of a voice: its result."""
    pcm = (np.clip(signal, -1, 1) * 32_767).astype("<i2").tobytes()
    payload = {"audio_data": pcm, "sample_rate": RATE, "analysis_type": "prosody", "baseline": baseline}
    task = ProcessingTask(ProcessingType.EMOTION_ANALYSIS, payload)
    return analyse(task, TaskContext(task_id=task.id, task_type=task.task_type), config=CONFIG)


def arousals(signal: Signal) -> dict[str, tuple[float, float]]:
    """Of each mood's rendering: the arousal of an unknown speaker, and beside the neutral rendering."""
    rendered = {name: render(signal, mood) for name, mood in MOODS.items()}
    baseline = judge(rendered["neutral"])["features"]
    return {name: (judge(voice)["arousal"], judge(voice, baseline)["arousal"]) for name, voice in rendered.items()}


def renderings(samples: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Of each sample recording."""
    return {name: arousals(read((samples / name).read_bytes(), name)) for name in TRANSCRIPTS}


def in_order(found: Mapping[str, tuple[float, float]]) -> bool:
    """Whether angry sounds more aroused than neutral, and neutral more than sad, in both ways."""
    return all(angry > neutral > sad for angry, neutral, sad in zip(*(found[mood] for mood in MOODS), strict=True))


def _lines(folder: Path) -> Iterator[tuple[str, dict[str, tuple[float, float] | None]]]:
    """Of each person's lines of a kind, one after the other; beside all lines of that person."""
    for voice in sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in NO_PERSON):
        own = judge(_joined(sorted(voice.glob("*.ogg"))))["features"]
        found: dict[str, tuple[float, float] | None] = {}
        for kind, names in LINES.items():
            signal = _joined([path for path in (voice / f"{name}.ogg" for name in names) if path.exists()])
            alone = judge(signal)["arousal"]
            found[kind] = None if alone is None else (alone, judge(signal, own)["arousal"])
        yield voice.name, found


def _joined(paths: Sequence[Path]) -> Signal:
    pause = np.zeros(round(PAUSE_S * RATE))
    return np.concatenate([part for path in paths for part in (read(path.read_bytes(), path.name), pause)] or [pause])


def _print_renderings(samples: Path) -> None:
    print(f"| recording | {' | '.join(MOODS)} | {' | '.join(f'{mood}, known' for mood in MOODS)} | in order |")
    print("| --- |" + " --- |" * (2 * len(MOODS) + 1))
    found = renderings(samples)
    for name, moods in found.items():
        shown = [f"{round(moods[mood][known], 2) + 0.0:+.2f}" for known in (0, 1) for mood in MOODS]
        print(f"| `{name}` | {' | '.join(shown)} | {'yes' if in_order(moods) else 'no'} |")
    print(f"\nin order: {sum(map(in_order, found.values()))} of {len(found)}")


def _print_lines(folder: Path) -> None:
    found = dict(_lines(folder))
    print(f"\n| lines | voices | above {LOW} | by | above, known speaker | by |\n| --- | --- | --- | --- | --- | --- |")
    for kind in [name for name in LINES if name != LOW]:
        pairs = [(high, low) for row in found.values() if (high := row[kind]) and (low := row[LOW])]
        cells = [str(len(pairs))]
        for known in (0, 1):
            steps = [high[known] - low[known] for high, low in pairs]
            cells += [str(sum(step > 0 for step in steps)), f"{statistics.mean(steps):+.2f}"]
        print(f"| {kind} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arousal", description=__doc__)
    parser.add_argument("--samples", type=Path, help="folder of the sample recordings")
    parser.add_argument("--lines", type=Path, metavar="FOLDER", help="Hedgewars' folder of voices")
    options = parser.parse_args()
    samples = options.samples or sample_folder()
    if samples is None:
        sys.exit("the sample recordings are in no folder shared/samples above this one; name theirs with --samples")
    _print_renderings(samples)
    if options.lines:
        _print_lines(options.lines)


if __name__ == "__main__":
    main()
