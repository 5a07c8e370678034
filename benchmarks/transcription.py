"""Word error rate and speed of the offline transcription, printed for every sample recording.

    python -m benchmarks.transcription [--samples FOLDER] [--workers 1]

FOLDER holds the sample recordings; without it, ``shared/samples`` beside the project is used. All tasks are submitted
at once, so each waits for those before it. Nothing is asserted: times depend on the machine, and 131 words give a word
error rate to about 8 points.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from pathlib import Path

from async_processor import ProcessingType, TaskResult, create_processor, create_task

TRANSCRIPTS = {
    "jfk.flac": (
        "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
    ),
    "LJ001-0001.mp3": (
        "printing in the only sense with which we are at present concerned differs from most if not from all the arts"
        " and crafts represented in the exhibition"
    ),
    "sense-0870.wav": (
        "and mister john dashwood had then leisure to consider how much there might be prudently in his power to do"
        " for them"
    ),
    "sense-0880.wav": "he was not an ill disposed young man",
    "librispeech-2412-153948-0000.flac": (
        "if the reader will excuse me i will say nothing of my antecedents nor of the circumstances which led me to"
        " leave my native country the narrative would be tedious to him and painful to myself"
    ),
    "one-two-three.wav": "one two three",
    "cards-005.wav": "eight of spades four of clubs seven of hearts",
    "goforward.raw": "go forward ten meters",
}


def word_errors(spoken: list[str], heard: list[str]) -> int:
    """How many words must be replaced, left out or put in: the edit distance."""
    row = list(range(len(heard) + 1))
    for count, word in enumerate(spoken, 1):
        previous, row = row, [count]
        for index, other in enumerate(heard, 1):
            row.append(min(previous[index] + 1, row[-1] + 1, previous[index - 1] + (word != other)))
    return row[-1]


def plain(text: str) -> list[str]:
    """Lower-case words, written out as in the transcripts."""
    return re.sub(r"\bmr\b", "mister", re.sub(r"[^a-z' ]", " ", text.lower())).split()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transcription", description=__doc__)
    parser.add_argument("--samples", type=Path, default=sample_folder(), help="folder of the recordings")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    options = parser.parse_args()
    if options.samples is None or not options.samples.is_dir():
        sys.exit("no sample recordings: name their folder with --samples")
    asyncio.run(_measure(options.samples, options.workers))


async def _measure(folder: Path, workers: int) -> None:
    payloads = {name: {"audio_data": (folder / name).read_bytes(), "sample_rate": 16_000} for name in TRANSCRIPTS}
    processor = await create_processor(max_process_workers=workers)
    try:
        start = time.perf_counter()
        tasks = {name: create_task(ProcessingType.AUDIO_TRANSCRIPTION, data) for name, data in payloads.items()}
        for task in tasks.values():
            await processor.submit_task(task)
        results = {name: await processor.wait_for_task(task.id) for name, task in tasks.items()}
        spent = time.perf_counter() - start
    finally:
        await processor.shutdown()
    _print(results, spent)


def _print(results: dict[str, TaskResult], spent: float) -> None:
    print(f"{'recording':36} seconds words wrong   rate wait s  run s x real time")
    words = wrong = 0
    seconds = ran = 0.0
    for name, result in results.items():
        found = result.unwrap()
        spoken = plain(TRANSCRIPTS[name])
        errors = word_errors(spoken, plain(found["transcription"]))
        _print_line(name, (found["duration"], len(spoken), errors), result.wait_time, result.execution_time)
        words, wrong = words + len(spoken), wrong + errors
        seconds, ran = seconds + found["duration"], ran + result.execution_time
    _print_line("all (the first loads the model)", (seconds, words, wrong), 0.0, ran)
    print(f"from the first submit to the last result: {spent:.2f} s")


def _print_line(name: str, about: tuple[float, int, int], waited: float, ran: float) -> None:
    seconds, words, wrong = about
    print(
        f"{name:36} {seconds:7.2f} {words:5} {wrong:5} {wrong / words:6.1%} "
        f"{waited:6.2f} {ran:6.2f} {ran / seconds:11.2f}"
    )


def sample_folder() -> Path | None:
    folders = (parent / "shared" / "samples" for parent in Path(__file__).resolve().parents)
    return next((folder for folder in folders if folder.is_dir()), None)


if __name__ == "__main__":
    main()
