"""A teddy bear that listens and answers: `python teddy.py [FILE]`.

The import line below is the one that such an application has today; what it finds is this library.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from src.infrastructure.processing.async_processor import (
    AdvancedAsyncProcessor,
    ProcessingTask,
    ProcessingType,
    TaskPriority,
    TaskResult,
    create_processor,
    create_task,
)

GREETING = Path(__file__).resolve().parent.parent / "audio" / "hello_teddy.wav"


class TeddyBearSystem:
    """Everything behind the bear's ears and mouth. `async with TeddyBearSystem() as bear: ...`"""

    def __init__(self) -> None:
        self.processor: AdvancedAsyncProcessor | None = None

    async def start_system(self) -> None:
        """Be ready to listen."""
        self.processor = await create_processor(max_workers=8, enable_monitoring=True)

    async def stop_system(self) -> None:
        """Finish what is being said, then end."""
        if self.processor is not None:
            await self.processor.shutdown(timeout=10.0)
            self.processor = None

    async def __aenter__(self) -> Self:
        await self.start_system()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_system()

    async def process_child_interaction(self, audio_data: bytes, child_id: str) -> TaskResult:
        """What the bear says to a recording: the result of the reply's task.

        The bear listens to words and to their tone at the same time, and answers when it has both. Should one of
        them not be understood, the answer takes up what the other told.

        Raises:
            TimeoutError: a child does not wait longer than 30 seconds.
        """
        if self.processor is None:
            raise RuntimeError("the bear sleeps: await start_system() first")
        recording = {"audio_data": audio_data, "child_id": child_id}
        words = _urgent(ProcessingType.AUDIO_TRANSCRIPTION, recording)
        tone = _urgent(ProcessingType.EMOTION_ANALYSIS, recording)
        answer = _urgent(
            ProcessingType.AI_RESPONSE,
            {"child_id": child_id, "prompt_template": "child_interaction"},
            after=[words, tone],
        )
        for task in (words, tone, answer):
            await self.processor.submit_task(task)
        return await self.processor.wait_for_task(answer.id, timeout=30.0)


def _urgent(task_type: ProcessingType, payload: dict[str, Any], after: Sequence[ProcessingTask] = ()) -> ProcessingTask:
    return create_task(
        task_type,
        payload,
        TaskPriority.HIGH,
        depends_on=[task.id for task in after],
        on_dependency_failure="run",
        timeout=20.0,
    )


async def main(audio_data: bytes) -> None:
    async with TeddyBearSystem() as bear:
        answer = await bear.process_child_interaction(audio_data, child_id="child-1")
        print("teddy:", answer.unwrap()["response"])
        print(f"answered in {answer.wait_time + answer.execution_time:.2f} s")


if __name__ == "__main__":
    asyncio.run(main((Path(sys.argv[1]) if len(sys.argv) > 1 else GREETING).read_bytes()))
