"""The asyncio shell round the scheduler: tells it what happened, carries out what it answers.

No policy lives here. Every input (a submit, a cancel, a report of a lane, a timer) goes to the scheduler, and then
``_settle`` takes its commands, until there are none. That is the only place where attempts start and stop and where
results are published. All of it runs on one event loop; no lock, no polling, one timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping

from ..clock import Clock
from ..config import ProcessorConfig
from ..context import DependencyResults, current_task_id
from ..errors import AsyncProcessorError, ProcessorNotRunningError, QueueFullError, UnknownTaskError
from ..execution.base import Attempt, Lane
from ..figures import EngineState
from ..model import LaneName, ProcessingTask, TaskResult
from ..monitoring.hub import ObserverHub
from ..monitoring.learned_memory import LearnedMemory
from ..outcome import AttemptOutcome, ErrorInfo, Raised, Returned
from ..processors.registry import ProcessorRegistry
from ..scheduling.records import Command, Finish, Retried, Start, Stop, TaskRecord
from ..scheduling.scheduler import Scheduler
from .callbacks import CallbackRunner
from .faults import Faults
from .intake import Intake
from .job import Job, JobFactory
from .memory_gate import SAMPLE_INTERVAL_S, MemoryGate
from .publishing import make_result
from .sizes import payload_size
from .telling import Teller

logger = logging.getLogger("async_processor.engine")

_NO_DEPENDENCIES = DependencyResults()

# So many commands, then the event loop has its turn: a cascade may end a hundred thousand tasks at once.
COMMANDS_PER_SLICE = 256
PAUSE_AFTER_FAULT_S = 0.1


class Engine:
    """One run of a processor, from start to shutdown.

    Args:
        scheduler: decides.
        lanes: run attempts; by the names the scheduler knows them under.
        registry: processor functions.
        config: limits and durations.
        clock: the time.
        hub: whom to tell.
        gate: watches memory.
        learned: peak memory by task type.
        profile: whether lanes are to measure every attempt.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        lanes: Mapping[LaneName, Lane],
        registry: ProcessorRegistry,
        config: ProcessorConfig,
        clock: Clock,
        hub: ObserverHub,
        gate: MemoryGate,
        learned: LearnedMemory,
        profile: bool = False,
    ) -> None:
        self.scheduler = scheduler
        self.lanes = lanes
        self.hub = hub
        self.callbacks = CallbackRunner(timeout=config.callback_timeout_s, max_pending=config.max_results)
        self._config = config
        self._clock = clock
        self._tell = Teller(hub, clock)
        self._stale_reports = 0
        self._faults = Faults(clock)
        self._gate = gate
        self._learned = learned
        self._profile = profile
        self._jobs = JobFactory(registry, config, learned)
        self._intake = Intake(scheduler.has_room_for, self._accept)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._timer_pause = 0.0
        self._memory_timer: asyncio.TimerHandle | None = None
        self._settling = False
        self._commands: deque[Command] = deque()
        self._closed_because: str | None = None
        self._conditions: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def start(self) -> None:
        """Start the lanes and take work.

        Raises:
            LaneError: a lane cannot work here; those already started are closed again.
        """
        started: list[Lane] = []
        try:
            for lane in self.lanes.values():
                await lane.start(self)
                started.append(lane)
        except BaseException:
            for lane in started:
                await lane.aclose(1.0)
            raise
        self.hub.started(self._clock.monotonic())

    # ---- what callers ask for

    def submit_nowait(self, task: ProcessingTask) -> str:
        """Take a task in now.

        Raises:
            QueueFullError: there is no room.
            InvalidTaskError, ProcessorNotAvailableError, ProcessorNotRunningError: it is refused.
        """
        try:
            record = self._prepare(task)
            if not self.scheduler.has_room_for(record.id):
                raise self._no_room(record.id)
            self._accept(record)
        except AsyncProcessorError as error:
            self._tell.rejected(error)
            raise
        self._settle()
        return record.id

    async def submit(self, task: ProcessingTask) -> str:
        """Take a task in, waiting for room if need be. Raises what ``submit_nowait`` does but ``QueueFullError``."""
        try:
            record = self._prepare(task)
            if self.scheduler.has_room_for(record.id):
                self._accept(record)
            else:
                await self._wait_for_room(record)
        except AsyncProcessorError as error:
            self._tell.rejected(error)
            raise
        self._settle()
        return record.id

    def cancel(self, task_id: str) -> list[str]:
        """Cancel a task and what waits for it; gives the ids."""
        cancelled = self.scheduler.cancel(task_id, self._clock.monotonic())
        self._settle()
        # The list grows while the cascade goes on; see ``until_cascaded``.
        return cancelled

    def until_cascaded(self) -> asyncio.Future[None]:
        """A future that is done as soon as every dependent of what has ended was told."""
        return self._until(lambda: not self.scheduler.cascading)

    def until_idle(self) -> asyncio.Future[None]:
        """A future that is done as soon as no task waits or runs and every result is out."""
        return self._until(lambda: self.scheduler.idle and not self._commands and not len(self._intake))

    def waiter(self, task_id: str) -> tuple[Job, asyncio.Future[TaskResult]]:
        """A future for the result of a task.

        Raises:
            UnknownTaskError: no such task is known.
        """
        record = self.scheduler.find(task_id)
        if record is None:
            raise UnknownTaskError(
                f"no task {task_id!r} is known: it was never submitted here, or ended so long ago that its result "
                "is no longer kept (max_results, result_ttl_s)",
                task_id=task_id,
            )
        job: Job = record.job
        return job, job.wait(self._loop)

    def result(self, task_id: str) -> TaskResult | None:
        """The result of a task that has ended and is remembered."""
        record = self.scheduler.find(task_id)
        job: Job | None = None if record is None else record.job
        return None if job is None else job.result

    def running_ids(self) -> list[str]:
        """Ids of the tasks that hold a slot."""
        return [record.id for record in self.scheduler.slots().values() if record is not None]

    def state(self) -> EngineState:
        """Figures of this moment."""
        scheduler, now = self.scheduler, self._clock.monotonic()
        oldest = scheduler.oldest_ready_at()
        return EngineState(
            running=self._closed_because is None,
            at=now,
            queue_size=scheduler.pending,
            running_tasks=scheduler.running,
            waiting_for_dependencies=scheduler.waiting,
            ready=scheduler.ready,
            in_backoff=scheduler.backoff,
            ready_by_priority=scheduler.ready_by_priority(),
            ready_by_lane=scheduler.ready_by_lane(),
            oldest_ready_age=0.0 if oldest is None else now - oldest,
            slots={slot: None if record is None else record.id for slot, record in scheduler.slots().items()},
            lanes={name: lane.statistics() for name, lane in self.lanes.items()},
            reserved_memory_mb=scheduler.memory.reserved_mb,
            memory_limit_mb=scheduler.memory.limit_mb,
            learned_memory_mb=self._learned.snapshot(),
            stale_reports=self._stale_reports,
            faults=self._faults.count,
        )

    # ---- what lanes report (the AttemptSink)

    def attempt_began(self, token: int) -> None:
        """The function of an attempt is about to be called."""
        self.scheduler.attempt_began(token, self._clock.monotonic())
        self._arm()

    def attempt_progress(self, token: int, fraction: float, message: str) -> None:
        """A running attempt said how far it is."""
        record = self.scheduler.running_record(token)
        if record is not None:
            self._tell.progress(record, fraction, message)

    def attempt_ended(self, token: int, outcome: AttemptOutcome) -> None:
        """An attempt is over."""
        now = self._clock.monotonic()
        record = self.scheduler.running_record(token)
        if record is None:
            self._stale_reports += 1
            return
        try:
            outcome = self._examined(record, outcome)
        except Exception as error:
            # Looking at a result may run code of the user's classes. The attempt must end, or its slot is lost.
            logger.exception("the result of task %s cannot be examined", record.id)
            outcome = Raised(ErrorInfo.from_exception(error), outcome.measures)
        self._tell.attempt_ended(record, outcome, now)
        self.scheduler.attempt_ended(token, outcome, now)
        self._settle()

    # ---- shutting down

    def close_intake(self, reason: str) -> None:
        """Accept and start nothing more; send away who waits for room; end what has not started."""
        if self._closed_because is not None:
            return
        self._closed_because = reason
        self.scheduler.pause()
        self._intake.refuse_all(lambda record: self._not_running(record.id))
        self.scheduler.cancel_waiting(self._clock.monotonic())
        self._settle()

    def stop_running(self) -> None:
        """Ask every attempt to end."""
        self.scheduler.stop_running(self._clock.monotonic())
        self._settle()

    def abandon_running(self) -> None:
        """Give up every attempt that has not ended."""
        self.scheduler.abandon_running(self._clock.monotonic())
        self._settle()

    def stop_timers(self) -> None:
        """Nothing is due any more."""
        for timer in (self._timer, self._memory_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._memory_timer = None

    # ---- taking tasks in

    def _prepare(self, task: ProcessingTask) -> TaskRecord:
        if self._closed_because is not None:
            raise self._not_running(getattr(task, "id", None))
        return self._jobs.make(task)

    def _accept(self, record: TaskRecord) -> None:
        """Hand a record to the scheduler, and after it those that it waits for and that wait for room."""
        accepted = [record]
        while accepted:
            item = accepted.pop()
            self.scheduler.submit(item, self._clock.monotonic())
            self._tell.submitted(item)
            if item.memory_mb is not None:
                self._watch_memory()
            if len(self._intake):
                for task_id in item.depends_on:
                    self._intake.admit_id(task_id)

    async def _wait_for_room(self, record: TaskRecord) -> None:
        try:
            await self._intake.wait(record)
        except asyncio.CancelledError:
            # Cancelled in the very step in which it was let in: whoever asked does not know of the task.
            self.cancel_unseen(record)
            raise

    def cancel_unseen(self, record: TaskRecord) -> None:
        """Cancel a task whose submitter was cancelled, if it was taken in after all."""
        if self.scheduler.find(record.id) is record:
            self.cancel(record.id)

    def _no_room(self, task_id: str) -> QueueFullError:
        return QueueFullError(
            f"task {task_id!r} finds no room: {self.scheduler.pending} tasks wait and queue_size is "
            f"{self.scheduler.queue_size}; use `await submit_task`, which waits for room",
            task_id=task_id,
        )

    def _not_running(self, task_id: str | None) -> ProcessorNotRunningError:
        return ProcessorNotRunningError(
            f"task {task_id!r} is not accepted: the processor {self._closed_because}", task_id=task_id
        )

    # ---- carrying out

    def _settle(self) -> None:
        """Carry out what the scheduler decided, until it has nothing more to say or the slice is used up."""
        if self._settling:
            return
        self._settling = True
        try:
            self._carry_out_slice()
        except Exception as error:  # noqa: BLE001 - a bug of ours; whoever called is not to blame, and the timer is due
            self._faults.survived("letting tasks in", error)
        finally:
            self._settling = False
        self._arm()
        if self._conditions:
            self._look_at_conditions()

    def _carry_out_slice(self) -> None:
        commands = self._commands
        budget = COMMANDS_PER_SLICE
        while True:
            commands.extend(self.scheduler.take_commands())
            if not commands and not (len(self._intake) and self._intake.admit()):
                return
            while commands:
                if not budget:
                    # Commands keep their order; what the scheduler decides meanwhile comes after these.
                    self._loop.call_soon(self._settle)
                    return
                budget -= 1
                command = commands.popleft()
                try:
                    self._carry_out(command)
                except Exception as error:  # noqa: BLE001 - ours, or of a lane; the next commands are of other tasks
                    self._faults.survived(f"{type(command).__name__} of task {command.record.id}", error)

    def _carry_out(self, command: Command) -> None:
        # By class and not by `match`: this runs twice per task, and taking a tuple apart by name costs more.
        record = command.record
        if isinstance(command, Start):
            self._start_attempt(record, command.token)
        elif isinstance(command, Finish):
            self._publish(record)
        elif isinstance(command, Retried):
            self._tell.retried(record, command.delay, command.error)
        elif isinstance(command, Stop):
            self.lanes[record.lane].stop(command.token, command.reason)
        else:
            self._tell.attempt_ended(record, None, self._clock.monotonic())
            self.lanes[record.lane].abandon(command.token)

    def _start_attempt(self, record: TaskRecord, token: int) -> None:
        if self.scheduler.running_record(token) is None:
            # Cancelled or given up after the decision and before this slice: what follows here already ends it.
            self._tell.attempt_started(record)
            return
        job: Job = record.job
        task, spec, variables = job.task, job.spec, job.variables
        assert task is not None and spec is not None and variables is not None and record.slot is not None  # noqa: S101, PT018 - not ended yet
        # An earlier attempt may still be inside its context: one that was abandoned in a thread.
        variables = variables.copy()
        variables.run(current_task_id.set, record.id)
        self._tell.attempt_started(record)
        attempt = Attempt(
            token=token,
            slot=record.slot,
            task=task,
            func=spec.func,
            is_async=spec.is_async,
            wants_context=spec.wants_context,
            number=record.attempt,
            max_attempts=record.max_retries + 1,
            timeout=record.timeout,
            dependencies=_dependency_results(record) if record.depends_on else _NO_DEPENDENCIES,
            variables=variables,
            profile=self._profile,
            recycle_worker=record.memory_mb is not None,
        )
        try:
            self.lanes[record.lane].run(attempt)
        except Exception as error:
            # A lane promises not to raise. If one does, the attempt must end all the same, or its slot is lost.
            logger.exception("the %s lane failed to take task %s", record.lane, record.id)
            self.attempt_ended(token, Raised(ErrorInfo.from_exception(error)))

    def _publish(self, record: TaskRecord) -> None:
        job: Job = record.job
        callback = None if job.task is None else job.task.callback
        result = make_result(record, job, self._clock.wall())
        # Only the result is kept from here on.
        record.outcome = None
        job.resolve(result)
        self._tell.finished(record, result)
        if callback is not None:
            self.callbacks.submit(callback, result)

    def _examined(self, record: TaskRecord, outcome: AttemptOutcome) -> AttemptOutcome:
        if outcome.measures.peak_memory_mb is not None:
            self._learned.observe(str(record.job.task.task_type), outcome.measures.peak_memory_mb)
        return self._within_limit(record, outcome) if isinstance(outcome, Returned) else outcome

    def _within_limit(self, record: TaskRecord, outcome: Returned) -> AttemptOutcome:
        limit = self._config.max_result_bytes
        if outcome.value is None or payload_size(outcome.value, limit) <= limit:
            return outcome
        message = (
            f"the result of task {record.id!r} is larger than max_result_bytes ({limit:,} bytes); "
            "return less, or raise the limit in ProcessorConfig"
        )
        return Raised(ErrorInfo(type_name="SizeLimitError", message=message, permanent=True), outcome.measures)

    # ---- time

    def _arm(self) -> None:
        at = self.scheduler.next_wakeup()
        if at is None or at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        delay = max(self._timer_pause, at - self._clock.monotonic())
        self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        try:
            self.scheduler.wake(self._clock.monotonic())
            self._timer_pause = 0.0
        except Exception as error:  # noqa: BLE001 - a bug of ours; timeouts and retries of all others must not die with it
            # What was due still is, and to try it again without a pause would use up the processor.
            self._timer_pause = PAUSE_AFTER_FAULT_S
            self._faults.survived("the scheduler's timer", error)
        self._settle()

    def _watch_memory(self) -> None:
        """Look at memory now, and again as long as there is something to decide with it."""
        if self._memory_timer is None:
            self._on_memory_timer()

    def _on_memory_timer(self) -> None:
        self._memory_timer = None
        try:
            changed = self._gate.refresh()
        except Exception as error:  # noqa: BLE001 - no descriptor is left, say; it is tried again, until then nothing changes
            self._faults.survived("reading memory", error)
            changed = False
        if changed:
            self.scheduler.memory_changed(
                under_pressure=self._gate.under_pressure, now=self._clock.monotonic()
            )  # fmt: skip
            self._settle()
        if self.scheduler.memory_matters:
            self._memory_timer = self._loop.call_later(SAMPLE_INTERVAL_S, self._on_memory_timer)

    def _until(self, condition: Callable[[], bool]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._conditions.append((condition, future))
        self._look_at_conditions()
        return future

    def _look_at_conditions(self) -> None:
        """Wake whoever waits for something that holds now; drop whoever has gone."""
        changed = False
        for condition, future in self._conditions:
            if not future.done() and condition():
                future.set_result(None)
            changed = changed or future.done()
        if changed:
            self._conditions = [item for item in self._conditions if not item[1].done()]


def _dependency_results(record: TaskRecord) -> DependencyResults:
    known = record.dependencies or {}
    return DependencyResults({item: known[item].job.result for item in record.depends_on})
