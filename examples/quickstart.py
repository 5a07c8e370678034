"""One function, one task, one result."""

import asyncio

from async_processor import ProcessingTask, ProcessingType, TaskPriority, create_processor, create_task


async def shout(task: ProcessingTask) -> str:
    return task.payload["text"].upper()


async def main() -> None:
    processor = await create_processor(max_workers=5)
    try:
        processor.register_processor(ProcessingType.TEXT_ANALYSIS, shout)
        task = create_task(ProcessingType.TEXT_ANALYSIS, {"text": "good night"}, TaskPriority.HIGH)

        task_id = await processor.submit_task(task)
        result = await processor.wait_for_task(task_id, timeout=5.0)

        print(result.status, result.result)
    finally:
        await processor.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
