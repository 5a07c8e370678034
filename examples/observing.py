"""Live progress by an observer, a retry on the way, a stream of what ends, and the figures at the end."""

import asyncio

from async_processor import (
    AdvancedAsyncProcessor,
    Observer,
    ProcessingTask,
    ProcessorConfig,
    RetryableError,
    TaskContext,
    create_task,
)
from async_processor.monitoring.observer import TaskFinished, TaskProgress, TaskRetried


class Narrator(Observer):
    """Hooks are called on the event loop and must return at once."""

    def task_progress(self, event: TaskProgress) -> None:
        print(f"{event.fraction:.0%} {event.message}")

    def task_retried(self, event: TaskRetried) -> None:
        print(f"attempt {event.attempt} failed with {event.error_type}")

    def task_finished(self, event: TaskFinished) -> None:
        print(f"{event.status} after {event.attempts} attempts")


async def bake(task: ProcessingTask, context: TaskContext) -> str:
    if context.attempt == 1:
        raise RetryableError("the oven was cold")
    context.report_progress(0.9, "smells good")
    return f"{task.payload['shape']} cake"


async def main() -> None:
    config = ProcessorConfig(retry_base_s=0.01)
    async with AdvancedAsyncProcessor(config=config) as processor:
        processor.register_processor("bake", bake)
        narrator = Narrator()
        processor.add_observer(narrator)

        result = await processor.wait_for_task(await processor.submit_task(create_task("bake", {"shape": "round"})))
        print("here is your", result.unwrap())

        processor.remove_observer(narrator)
        async with processor.subscribe(kinds={TaskFinished}) as endings:
            star = await processor.submit_task(create_task("bake", {"shape": "star"}))
            await processor.submit_task(create_task("bake", {"shape": "moon"}, depends_on=[star]))
            for left in (1, 0):
                event = await anext(endings)
                print(f"a {event.result.unwrap()}, {left} to come")

        metrics = await processor.get_performance_metrics()
        print(f"{metrics['tasks_processed']} tasks, {metrics['success_rate']:.0f} % well")


if __name__ == "__main__":
    asyncio.run(main())
