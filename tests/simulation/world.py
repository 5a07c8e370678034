"""A processor on virtual time, the people who use it badly, and everything that must hold whatever they do.

A ``World`` lives one life: several submitters hand in a random graph through a small queue, others cancel tasks,
cancel submitters, wait and give up waiting, and some lives end with a shutdown in the middle. What is observed from
outside is then held against what was planned.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from typing import Any

from tests.simulation.plan import GHOST, TIMEOUT_S, Act, TaskPlan, random_graph

from async_processor import (
    AdvancedAsyncProcessor,
    DuplicateTaskError,
    PermanentError,
    ProcessingTask,
    ProcessorConfig,
    ProcessorNotRunningError,
    QueueFullError,
    TaskContext,
    TaskResult,
    TaskStatus,
    UnknownTaskError,
    create_task,
)
from async_processor.execution.async_lane import AsyncLane
from async_processor.execution.base import Lane
from async_processor.model import LaneName
from async_processor.monitoring.observer import TaskFinished
from async_processor.testing import InlineLane, RecordingObserver, run_virtual, virtual_processor

CONFIG = ProcessorConfig(
    cancel_grace_s=0.5, retry_base_s=0.5, retry_max_s=2.0, max_wait_s=5.0, dependency_timeout_s=30.0
)
DEPENDENCY_TIMEOUT_S = 30.0


class Watcher(RecordingObserver):
    """Also knows at each moment who has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: set[str] = set()

    def task_finished(self, event: TaskFinished) -> None:
        self.ended.add(event.task_id)
        super().task_finished(event)


class World:
    """One life.

    Args:
        seed: draws the graph, the people and the schedule.
        size: how many tasks.
    """

    def __init__(self, seed: int, size: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.plans = {plan.id: plan for plan in random_graph(self.rng, size)}
        self.observer = Watcher()
        self.faults: list[str] = []
        self.accepted: set[str] = set()
        self.refused: Counter[str] = Counter()
        self.abandoned_submits: set[str] = set()
        self.unseen: set[str] = set()
        self.cancelled: set[str] = set()
        self.seen: defaultdict[str, list[TaskResult]] = defaultdict(list)
        self.called_back: Counter[str] = Counter()
        self.bodies: Counter[str] = Counter()
        self.inside: dict[str, int] = {}
        self.shut_down = False
        self.processor: AdvancedAsyncProcessor

    def live(self) -> list[tuple[Any, ...]]:
        """Run, check, and give the log of all events."""
        run_virtual(self._life, seed=self.seed, max_virtual_s=20_000.0, max_turns=200_000)
        self._check()
        return self.log()

    def log(self) -> list[tuple[Any, ...]]:
        """What happened, in order, without wall-clock times."""
        return [(name, *_plain(event)) for name, event in self.observer.events]

    # ---- one life

    async def _life(self) -> None:
        draw = self.rng.choice
        self.processor = virtual_processor(
            max_workers=draw([1, 2, 4]),
            max_thread_workers=draw([1, 2, 4]),
            max_process_workers=draw([1, 2]),
            queue_size=draw([1, 2, 5, 1_000]),
            config=CONFIG,
            lanes=self._lanes,
        )
        self.processor.add_observer(self.observer)
        self.processor.register_processor("async", self._async_body)
        self.processor.register_processor("plain", self._plain_body)
        await self.processor.start()
        async with asyncio.TaskGroup() as group:
            waiting = list(self.plans.values())
            submitters = [group.create_task(self._submit_all(waiting)) for _ in range(3)]
            people = [group.create_task(item) for item in (self._cancel_some(), self._wait_for_some())]
            if self.rng.random() < 0.2:
                await asyncio.sleep(self.rng.uniform(0.0, 10.0))
                self.shut_down = True
                await self.processor.shutdown(self.rng.choice([0.0, 1.0, 30.0]))
            await asyncio.gather(*submitters, *people)
        if not self.shut_down:
            await self.processor.wait_until_idle(5_000.0)
            self._check_scheduler()
        for task_id in self.plans:
            result = await self.processor.get_task_result(task_id)
            self.seen[task_id] += [] if result is None else [result]
        await self.processor.shutdown(1.0)
        left = [item for item in asyncio.all_tasks() if item is not asyncio.current_task()]
        # Attempts that cling to life are nobody's fault; the engine gave them up.
        self._expect(all(" #" in item.get_name() for item in left), "tasks left over:", left)

    def _lanes(self, sizes: Any, config: ProcessorConfig, clock: Any) -> dict[LaneName, Lane]:
        inline = InlineLane(LaneName.ASYNC, sizes.workers, stop_grace=config.cancel_grace_s)
        real = AsyncLane([f"async-{n}" for n in range(sizes.workers)], cancel_grace=config.cancel_grace_s, clock=clock)
        return {
            LaneName.ASYNC: real if self.seed % 2 else inline,
            LaneName.THREAD: InlineLane(
                LaneName.THREAD, sizes.thread_workers, begins_at_once=False, stop_grace=0.0, duration=self._duration
            ),
            LaneName.PROCESS: InlineLane(
                LaneName.PROCESS, sizes.process_workers, begins_at_once=False, stop_grace=1.0, duration=self._duration
            ),
        }

    def _duration(self, attempt: Any) -> float:
        plan = self.plans[attempt.task.id]
        overrun = plan.acts[attempt.number - 1].overruns
        return 100.0 if overrun else plan.durations[attempt.number - 1]

    # ---- people

    async def _submit_all(self, waiting: list[TaskPlan]) -> None:
        while waiting:
            plan = waiting.pop()
            await asyncio.sleep(plan.delay)
            if self.rng.random() < 0.1:
                await self._submit_and_lose_patience(plan)
            else:
                await self._submit(plan)

    async def _submit(self, plan: TaskPlan) -> None:
        try:
            if self.rng.random() < 0.2:
                self.processor.submit_task_nowait(self._task(plan))
            else:
                await self.processor.submit_task(self._task(plan))
            self.accepted.add(plan.id)
        except QueueFullError:
            await self._submit(plan)
        except (DuplicateTaskError, ProcessorNotRunningError) as error:
            expected = (
                self.shut_down if isinstance(error, ProcessorNotRunningError) else plan.id in self.abandoned_submits
            )
            self._expect(expected, plan.id, "was refused:", error)
            self.refused[plan.id] += 1

    async def _submit_and_lose_patience(self, plan: TaskPlan) -> None:
        self.abandoned_submits.add(plan.id)
        submitting = asyncio.create_task(self._submit(plan))
        await asyncio.sleep(self.rng.choice([0.0, 0.0, 0.5, 1.0]))
        submitting.cancel()
        await asyncio.wait([submitting])
        if self.rng.random() < 0.5:
            await self._submit(plan)
        if submitting.cancelled() and plan.id not in self.accepted:
            # If it was taken in all the same, nobody knows of it: it is cancelled at once, unless it has ended by then.
            self.unseen.add(plan.id)

    def _task(self, plan: TaskPlan) -> ProcessingTask:
        return create_task(
            "async" if plan.is_async else "plain",
            id=plan.id,
            priority=plan.priority,
            depends_on=plan.depends_on,
            on_dependency_failure="run" if plan.run_anyway else "cancel",
            timeout=TIMEOUT_S,
            max_retries=len(plan.acts) - 1,
            callback=self._callback,
            **plan.hints,
        )

    async def _callback(self, result: TaskResult) -> None:
        self.called_back[result.task_id] += 1
        self.seen[result.task_id].append(result)
        if self.rng.random() < 0.05:
            await self._cancel(self.rng.choice(list(self.plans)))

    async def _cancel_some(self) -> None:
        for task_id in self.rng.sample(list(self.plans), len(self.plans) // 8):
            await asyncio.sleep(self.rng.choice([0.0, 0.5, 1.0, 2.0]))
            await self._cancel(task_id)
            self._check_scheduler()

    async def _cancel(self, task_id: str) -> None:
        calls = [self.processor.cancel_task(task_id) for _ in range(self.rng.choice([1, 1, 2]))]
        answers = [answer for answer in await asyncio.gather(*calls) if answer]
        self._expect(len(answers) <= 1, task_id, "was cancelled", len(answers), "times")
        for answer in answers:
            self._expect(answer[0] == task_id and len(set(answer)) == len(answer), "cancel gave", answer)
            self.cancelled.update(answer)

    async def _wait_for_some(self) -> None:
        """Many wait at once, and many of them give up in the very moment in which what they wait for ends."""
        await asyncio.gather(*(self._wait_for(self.rng.choice(list(self.plans))) for _ in range(len(self.plans) // 2)))

    async def _wait_for(self, task_id: str) -> None:
        for _ in range(4):
            try:
                result = await self.processor.wait_for_task(task_id, timeout=self.rng.choice([0.0, 0.5, 1.0, 20.0]))
            except TimeoutError:
                continue
            except UnknownTaskError:
                await asyncio.sleep(0.5)
            else:
                self.seen[task_id].append(result)
                return

    # ---- bodies

    async def _async_body(self, task: ProcessingTask, context: TaskContext) -> str:
        act, duration = self._enter(task, context)
        try:
            await asyncio.sleep(duration)
            if act.overruns:
                await self._overrun(act)
            if act is Act.WITHDRAW:
                await self._cancel(task.id)
                await asyncio.sleep(100.0)
            return self._do(act, task, context)
        finally:
            self.inside.pop(task.id, None)

    async def _overrun(self, act: Act) -> None:
        for _ in range({Act.OVERRUN: 1, Act.SWALLOW: 2, Act.CLING: 10}[act]):
            try:
                await asyncio.sleep(100.0)
            except asyncio.CancelledError:
                if act is Act.OVERRUN:
                    raise

    def _plain_body(self, task: ProcessingTask, context: TaskContext) -> str:
        act, _ = self._enter(task, context)
        try:
            return self._do(act, task, context)
        finally:
            self.inside.pop(task.id, None)

    def _enter(self, task: ProcessingTask, context: TaskContext) -> tuple[Act, float]:
        plan, number = self.plans[task.id], context.attempt
        self.bodies[task.id] += 1
        self._expect(task.id not in self.observer.ended, task.id, "runs after its end")
        self._expect(self.inside.get(task.id) in (None, number - 1), task.id, "runs twice at once")
        self.inside[task.id] = number
        self._expect(number <= len(plan.acts), task.id, "runs more often than it may")
        self._expect(list(context.dependencies) == list(plan.depends_on), task.id, "is given other dependencies")
        statuses = {result.status for result in context.dependencies.values()}
        self._expect(plan.run_anyway or statuses <= {TaskStatus.COMPLETED}, task.id, "runs after", statuses)
        return plan.acts[number - 1], plan.durations[number - 1]

    def _do(self, act: Act, task: ProcessingTask, context: TaskContext) -> str:
        match act:
            case Act.FAIL:
                raise ValueError("planned")
            case Act.FAIL_FOR_GOOD:
                raise PermanentError("planned")
            case Act.CANCEL_ITSELF:
                raise asyncio.CancelledError("planned")
            case Act.EXIT:
                raise SystemExit("planned")
            case _:
                return f"{task.id} at attempt {context.attempt}"

    # ---- what must hold

    def _expect(self, condition: object, *fault: object) -> None:
        # Noted, not raised: in a body it would only be one more failed attempt.
        if not condition:
            self.faults.append(" ".join(map(str, fault)))

    def _check_scheduler(self) -> None:
        engine = self.processor._engine
        assert engine is not None
        engine.scheduler.check()
        assert engine.state().faults == 0, "the engine survived an error of its own; see the log"

    def _check(self) -> None:
        self.observer.assert_one_result_per_task()
        finished = {task_id: event.result for task_id, event in self.observer.results().items()}
        self._expect(self.accepted <= finished.keys(), "lost:", self.accepted - finished.keys())
        self._expect(finished.keys() <= self.accepted | self.abandoned_submits, "a task came from nowhere")
        names = defaultdict(list)
        for name, event in self.observer.events:
            names[getattr(event, "task_id", "")].append(name)
        for task_id, result in finished.items():
            self._check_result(self.plans[task_id], result, finished)
            self._check_events(task_id, names[task_id])
        for task_id, results in self.seen.items():
            self._expect(all(item == finished[task_id] for item in results), task_id, "has several results:", results)
        if not self.shut_down:
            self._expect(self.called_back == Counter(finished.keys()), "callbacks:", self.called_back)
        assert self.faults == [], f"seed {self.seed}: " + "; ".join(self.faults)

    def _check_result(self, plan: TaskPlan, result: TaskResult, finished: dict[str, TaskResult]) -> None:
        self._expect((result.error is None) == result.ok, plan.id, "is", result.status, "with error", result.error)
        if result.ok:
            self._expect(result.result == f"{plan.id} at attempt {result.attempts}", plan.id, "gave", result.result)
        if plan.id in self.unseen and result.status is TaskStatus.CANCELLED:
            return
        if plan.id in self.cancelled:
            self._expect(result.status is TaskStatus.CANCELLED, plan.id, "was cancelled and ended", result.status)
        elif not self.shut_down and plan.id not in self.abandoned_submits - self.unseen:
            expected = self._expected(plan, result, finished)
            self._expect((result.status, result.attempts) in expected, plan.id, "ended", result, "and not", expected)

    def _expected(
        self, plan: TaskPlan, result: TaskResult, finished: dict[str, TaskResult]
    ) -> list[tuple[TaskStatus, int]]:
        """How a task that nobody cancelled may end."""
        missing = [item for item in plan.depends_on if item not in finished]
        bad = [item for item in plan.depends_on if item in finished and not finished[item].ok]
        answers = []
        if bad and not plan.run_anyway:
            answers.append((TaskStatus.CANCELLED, 0))
            named = any(repr(item) in str(result.error) for item in self._roots(plan, finished))
            self._expect(
                named or result.status is TaskStatus.FAILED, plan.id, "does not name who is to blame:", result.error
            )
        if missing or self._came_late(plan):
            answers.append((TaskStatus.FAILED, 0))
        if not missing and (plan.run_anyway or not bad):
            answers.append(plan.outcome())
        return answers

    def _came_late(self, plan: TaskPlan) -> bool:
        """Whether a dependency was submitted only after the time that is allowed for it."""
        at = {event.task_id: event.at for event in self.observer.of("task_submitted")}
        return any(
            at.get(item, 0.0) - at[plan.id] >= DEPENDENCY_TIMEOUT_S - 1e-6 for item in plan.depends_on if item != GHOST
        )

    def _roots(self, plan: TaskPlan, finished: dict[str, TaskResult]) -> set[str]:
        """Tasks that ended badly and that this one waited for, directly or not."""
        found: set[str] = set()
        behind = list(plan.depends_on)
        while behind:
            task_id = behind.pop()
            if task_id in finished and task_id not in found and not finished[task_id].ok:
                found.add(task_id)
                behind += self.plans[task_id].depends_on
        return found

    def _check_events(self, task_id: str, names: list[str]) -> None:
        attempts = names.count("attempt_started")
        legal = ["task_submitted", *["attempt_started", "attempt_ended", "task_retried"] * attempts]
        legal = legal[:-1] if names[-2] == "attempt_ended" else legal
        self._expect(names == [*legal, "task_finished"], task_id, "went through", names)
        self._expect(self.bodies[task_id] <= attempts, task_id, "ran", self.bodies[task_id], "times in", attempts)


def _plain(event: Any) -> tuple[Any, ...]:
    if not isinstance(event, tuple):
        return (event,)
    return tuple(item for item in event if not isinstance(item, TaskResult))
