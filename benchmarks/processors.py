"""What the built-in functions reach on this machine, as one table in markdown.

    python -m benchmarks.processors [--samples FOLDER]

Each runs through a processor, once unmeasured so that its libraries are loaded, then measured. Where a figure needs
recordings or photos, those of FOLDER are used (without it, ``shared/samples`` beside the project). Speed depends on the
machine; the other figures should not.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import io
import math
import random
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import soundfile

from async_processor import AdvancedAsyncProcessor, ProcessingType, ProcessorConfig, TaskResult, create_task
from async_processor.config import DatabaseConfig
from benchmarks.arousal import in_order, renderings
from benchmarks.transcription import TRANSCRIPTS, plain, sample_folder, word_errors

Row = tuple[str, str, str]
"""Type, figure, value."""

SPEECH = ("jfk.flac", "LJ001-0001.mp3", "sense-0870.wav", "librispeech-2412-153948-0000.flac")
PHOTOS = ("chelsea.png", "landscape-exif6.jpg", "rocket.jpg")
NOISE_DB = 10.0
TARGET_LUFS = -19.0
ROWS = 1_000_000
STORED = 10_000


async def do(processor: AdvancedAsyncProcessor, task_type: ProcessingType, payload: dict[str, Any]) -> TaskResult:
    task = create_task(task_type, payload, max_retries=0)
    await processor.submit_task(task)
    result = await processor.wait_for_task(task.id)
    result.unwrap()
    return result


async def median_s(processor: AdvancedAsyncProcessor, task_type: ProcessingType, payload: dict[str, Any]) -> float:
    """Of five runs, after one that is not counted."""
    runs = [(await do(processor, task_type, payload)).execution_time for _ in range(6)]
    return statistics.median(runs[1:])


async def transcription(processor: AdvancedAsyncProcessor, samples: Path) -> list[Row]:
    words = wrong = 0
    ran = seconds = 0.0
    for name, spoken in TRANSCRIPTS.items():
        payload = {"audio_data": (samples / name).read_bytes(), "sample_rate": 16_000}
        result = await do(processor, ProcessingType.AUDIO_TRANSCRIPTION, payload)
        words += len(plain(spoken))
        wrong += word_errors(plain(spoken), plain(result.result["transcription"]))
        ran, seconds = ran + result.execution_time, seconds + result.result["duration"]
    return [
        ("audio_transcription (PocketSphinx)", f"word error rate, {words} words", f"{wrong / words:.1%}"),
        ("", "processing time / duration", f"{ran / seconds:.2f}"),
    ]


async def enhancement(processor: AdvancedAsyncProcessor, samples: Path) -> list[Row]:
    gains, misses, ran, seconds = [], [], 0.0, 0.0
    for number, name in enumerate(SPEECH):
        clean, rate = soundfile.read(samples / name, dtype="float64", always_2d=True)
        clean = clean.mean(axis=1)
        noise = np.random.default_rng(number).standard_normal(len(clean))
        noise *= math.sqrt((clean**2).mean() / (noise**2).mean() / 10 ** (NOISE_DB / 10))
        noisy = io.BytesIO()
        soundfile.write(noisy, np.clip(clean + noise, -1, 1), rate, format="WAV", subtype="PCM_16")
        payload = {"audio_data": noisy.getvalue(), "target_lufs": TARGET_LUFS}
        result = await do(processor, ProcessingType.AUDIO_ENHANCEMENT, payload)
        after, _ = soundfile.read(io.BytesIO(result.result["audio_data"]), dtype="float64")
        gains.append(si_sdr(clean, after) - si_sdr(clean, clean + noise))
        misses.append(abs(pyloudnorm.Meter(rate).integrated_loudness(after) - TARGET_LUFS))
        ran, seconds = ran + result.execution_time, seconds + result.result["duration"]
    return [
        ("audio_enhancement", f"SI-SDR gained, white noise at {NOISE_DB:g} dB", f"{statistics.mean(gains):.1f} dB"),
        ("", "largest miss of the loudness asked for", f"{max(misses):.2f} LUFS"),
        ("", "processing time / duration", f"{ran / seconds:.3f}"),
    ]


def si_sdr(clean: np.ndarray, heard: np.ndarray) -> float:
    """Scale-invariant signal to distortion ratio in dB (Le Roux et al., ICASSP 2019)."""
    clean, heard = clean - clean.mean(), heard - heard.mean()
    target = clean * (heard @ clean) / (clean @ clean)
    return float(10 * math.log10((target @ target) / ((heard - target) @ (heard - target))))


async def emotion(processor: AdvancedAsyncProcessor, samples: Path) -> list[Row]:
    payload = {"audio_data": (samples / "jfk.flac").read_bytes(), "analysis_type": "prosody"}
    result = await do(processor, ProcessingType.EMOTION_ANALYSIS, payload)
    seconds = await median_s(processor, ProcessingType.EMOTION_ANALYSIS, payload)
    return [
        ("emotion_analysis", "arousal of a public speech (-1 to 1)", f"{result.result['arousal']:.2f}"),
        ("", "renderings whose arousal is in order: angry, neutral, sad", _renderings_in_order(samples)),
        ("", "processing time / duration", f"{seconds / 11.0:.3f}"),
    ]


def _renderings_in_order(samples: Path) -> str:
    found = renderings(samples).values()
    return f"{sum(map(in_order, found))} of {len(found)}"


async def pictures(processor: AdvancedAsyncProcessor, samples: Path) -> list[Row]:
    rows = []
    for number, name in enumerate(PHOTOS):
        payload = {"image_data": (samples / name).read_bytes(), "operation": "thumbnail", "width": 256, "height": 256}
        seconds = await median_s(processor, ProcessingType.IMAGE_PROCESSING, payload)
        rows.append(("" if number else "image_processing", f"thumbnails of {name}", f"{1 / seconds:.0f} per second"))
    drawing = await median_s(processor, ProcessingType.IMAGE_GENERATION, {"prompt": "a bear", "size": "512x512"})
    return [*rows, ("image_generation (drawing)", "512 x 512", f"{1 / drawing:.0f} per second")]


async def text(processor: AdvancedAsyncProcessor, _samples: Path) -> list[Row]:
    words = " ".join(TRANSCRIPTS.values()).split()
    prose = ". ".join(" ".join(random.Random(n).sample(words, 12)).capitalize() for n in range(150)) + "."
    seconds = await median_s(processor, ProcessingType.TEXT_ANALYSIS, {"text": prose})
    return [("text_analysis (all)", f"text of {len(prose):,} characters", f"{len(prose) / seconds:,.0f} characters/s")]


async def data(processor: AdvancedAsyncProcessor, _samples: Path) -> list[Row]:
    rng = np.random.default_rng(1)
    columns = {"group": rng.integers(0, 100, ROWS), "value": rng.standard_normal(ROWS)}
    grouped = {"analysis_type": "group_by", "by": ["group"], "aggregations": {"value": ["mean"]}}
    rows = []
    for label, extra in (("summary", {}), ("group_by", grouped)):
        seconds = await median_s(processor, ProcessingType.DATA_ANALYTICS, {"data": columns, **extra})
        rows.append(("" if rows else "data_analytics", f"{label} of {ROWS:,} rows", f"{ROWS / seconds:,.0f} rows/s"))
    return rows


async def database(processor: AdvancedAsyncProcessor, _samples: Path) -> list[Row]:
    run = functools.partial(do, processor, ProcessingType.DATABASE_OPERATION)
    insert: dict[str, Any] = {"operation": "insert", "table": "toys"}
    insert["values"] = [{"id": number, "name": f"toy {number}"} for number in range(STORED // 4)]
    wrote = 0.0
    for part in range(4):
        insert["values"] = [{"id": item["id"] + part * STORED, "name": item["name"]} for item in insert["values"]]
        wrote += (await run(insert)).execution_time
    read = (await run({"operation": "select", "table": "toys"})).execution_time
    return [
        ("database_operation (SQLite)", f"insert of {STORED:,} rows", f"{STORED / wrote:,.0f} rows/s"),
        ("", f"select of {STORED:,} rows", f"{STORED / read:,.0f} rows/s"),
    ]


PARTS: tuple[Callable[[AdvancedAsyncProcessor, Path], Awaitable[list[Row]]], ...] = (
    transcription, enhancement, emotion, pictures, text, data, database,
)  # fmt: skip


async def measure(samples: Path) -> list[Row]:
    import sqlite3

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toys.db"
        with sqlite3.connect(path) as made:
            made.execute("CREATE TABLE toys (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        made.close()
        config = ProcessorConfig(database=DatabaseConfig(connections={"default": f"sqlite:///{path}"}))
        async with AdvancedAsyncProcessor(2, 2, 1, config=config) as processor:
            return [row for part in PARTS for row in await part(processor, samples)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processors", description=__doc__)
    parser.add_argument("--samples", type=Path, default=sample_folder(), help="folder of recordings and photos")
    samples = parser.parse_args().samples
    if samples is None or not samples.is_dir():
        sys.exit("no sample recordings: name their folder with --samples")
    print("| type | figure | value |\n| --- | --- | ---: |")
    for row in asyncio.run(measure(samples)):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
