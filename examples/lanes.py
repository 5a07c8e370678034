"""Where functions run, and that a timeout ends even a computation that never looks up."""

import asyncio
import os

from async_processor import AdvancedAsyncProcessor, ProcessingTask, create_task


async def on_the_loop(task: ProcessingTask) -> int:
    return os.getpid()


def in_a_thread(task: ProcessingTask) -> int:
    return os.getpid()


def in_a_process(task: ProcessingTask) -> int:
    return os.getpid()


def endless(task: ProcessingTask) -> None:
    while True:
        pass


async def main() -> None:
    async with AdvancedAsyncProcessor() as processor:
        processor.register_processor("loop", on_the_loop)
        processor.register_processor("thread", in_a_thread)
        processor.register_processor("process", in_a_process, cpu_intensive=True)
        processor.register_processor("endless", endless, cpu_intensive=True)

        for name in ("loop", "thread", "process"):
            result = await processor.wait_for_task(await processor.submit_task(create_task(name)))
            here = "here" if result.unwrap() == os.getpid() else "in a process of its own"
            print(f"{name}: in lane {str(result.worker_id).partition('-')[0]}, {here}")

        stuck = create_task("endless", timeout=0.5, max_retries=0)
        result = await processor.wait_for_task(await processor.submit_task(stuck))
        print(f"endless: {result.status}")


if __name__ == "__main__":
    asyncio.run(main())
