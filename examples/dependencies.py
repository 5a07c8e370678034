"""A task that waits for two others and uses what they found; and what happens when one of them fails."""

import asyncio

from async_processor import AdvancedAsyncProcessor, PermanentError, ProcessingTask, TaskContext, create_task


async def weather(task: ProcessingTask) -> str:
    if task.payload["town"] == "Atlantis":
        raise PermanentError("there is no weather station in Atlantis")
    return "rain"


async def calendar(task: ProcessingTask) -> str:
    return f"a walk in {task.payload['town']}"


async def advise(task: ProcessingTask, context: TaskContext) -> str:
    found = context.dependencies
    return f"{found.first('calendar')}: {'take an umbrella' if found.first('weather') == 'rain' else 'enjoy the sun'}"


async def plan_day(processor: AdvancedAsyncProcessor, town: str) -> None:
    # Ids are made when none is given; here they are, to be recognised in the error.
    outside = create_task("weather", {"town": town}, id=f"weather-{town}")
    planned = create_task("calendar", {"town": town}, id=f"calendar-{town}")
    advice = create_task("advice", id=f"advice-{town}", depends_on=[outside.id, planned.id])
    # The order does not matter: a task waits for the tasks it names, submitted or yet to be.
    for task in (advice, planned, outside):
        await processor.submit_task(task)

    result = await processor.wait_for_task(advice.id)
    print(result.result if result.ok else result.error)


async def main() -> None:
    async with AdvancedAsyncProcessor() as processor:
        processor.register_processor("weather", weather)
        processor.register_processor("calendar", calendar)
        processor.register_processor("advice", advise)

        await plan_day(processor, "Bath")
        await plan_day(processor, "Atlantis")


if __name__ == "__main__":
    asyncio.run(main())
