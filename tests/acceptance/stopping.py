"""A program that stops tasks of one type at random moments, and tells what came of it as a line of JSON.

A process of its own, because the folder for temporary files is chosen once, before the first worker process starts.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.acceptance.payloads import GOOD, configured
from tests.leaks import look
from tests.source_code import ROOT

from async_processor import AdvancedAsyncProcessor, ProcessingType, TaskContext, TaskResult, create_task

SETTLING_S = 20.0
_SPEECH = {"audio_data": (ROOT / "examples" / "audio" / "hello_teddy.wav").read_bytes()}


def nap(_payload: dict[str, Any], context: TaskContext) -> None:
    until = time.monotonic() + 0.02
    while time.monotonic() < until and not context.cancelled:
        time.sleep(0.001)


# Long enough to be stopped in the midst of it.
LONGER: dict[str, dict[str, Any]] = {
    ProcessingType.AUDIO_TRANSCRIPTION: _SPEECH,
    ProcessingType.AUDIO_ENHANCEMENT: _SPEECH,
    ProcessingType.EMOTION_ANALYSIS: {**_SPEECH, "text": "I am happy"},
    ProcessingType.IMAGE_GENERATION: {"prompt": "a bear with a red balloon", "size": "1024x1024"},
    ProcessingType.DATA_ANALYTICS: {"data": b"a,b\n" + b"1,2\n" * 200_000, "format": "csv"},
    ProcessingType.DATABASE_OPERATION: {
        "connection": "memory",
        "operation": "sql",
        "sql": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40000) SELECT count(*) FROM n",
    },
    ProcessingType.TEXT_ANALYSIS: {"text": "The baby elephant splashed us with water. " * 100},
    ProcessingType.CUSTOM: {"processor": nap},
}


async def stop_at_random_moments(task_type: str, moments: int) -> dict[str, Any]:
    payload, dice = {**GOOD[task_type], **LONGER.get(task_type, {})}, random.Random(22)
    ends: dict[str, list[str]] = {"cancelled": [], "timed out": []}
    async with configured() as config, AdvancedAsyncProcessor(1, 1, 1, config=config) as processor:

        async def run(**options: Any) -> TaskResult:
            task = create_task(task_type, payload, max_retries=0, **options)
            return await processor.wait_for_task(await processor.submit_task(task), timeout=100.0)

        # The first loads libraries, as does one after each worker process that was ended.
        longest = max((await run()).execution_time, (await run()).execution_time)
        # In whichever lane these ran: the worker process is part of what is there before.
        await processor.wait_for_task(
            await processor.submit_task(
                create_task(ProcessingType.CUSTOM, GOOD[ProcessingType.CUSTOM], cpu_intensive=True)
            )
        )
        before = look()
        for number in range(moments):
            # The first at once: that one is stopped for certain.
            moment = dice.uniform(0.0, 1.3 * longest) if number else 0.0
            ends["timed out"].append((await run(timeout=max(moment, 0.0005))).status)
            task = create_task(task_type, payload)
            await processor.submit_task(task)
            await asyncio.sleep(moment)
            await processor.cancel_task(task.id)
            ends["cancelled"].append((await processor.wait_for_task(task.id, timeout=100.0)).status)
        good = await run()
        grown = await _grown(len(before.descriptors), len(before.threads), len(before.children))
    return {"ends": ends, "good": good.status, "error": good.error, "grown": grown, "files": _files()}


async def _grown(descriptors: int, threads: int, children: int) -> dict[str, int]:
    """By how much there is more than before, once the last worker or thread that was given up has gone."""
    until = time.monotonic() + SETTLING_S
    while True:
        now = look()
        grown = {
            "descriptors": len(now.descriptors) - descriptors,
            "threads": len(now.threads) - threads,
            "children": len(now.children) - children,
        }
        if max(grown.values()) <= 0 or time.monotonic() > until:
            return grown
        await asyncio.sleep(0.02)


def _files() -> list[str]:
    # Those of multiprocessing itself are there as long as this process.
    return [item.name for item in Path(tempfile.gettempdir()).iterdir() if not item.name.startswith("pymp-")]


if __name__ == "__main__":
    told = asyncio.run(stop_at_random_moments(sys.argv[1], int(sys.argv[2])))
    sys.stdout.write(json.dumps(told))
