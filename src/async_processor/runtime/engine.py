"""The asyncio shell round the scheduler: tells it what happened, carries out what it answers.

No policy lives here. Every input (a submit, a cancel, a report of a lane, a timer) goes to the scheduler, and then
``_settle`` takes its commands, until there are none. That is the only place where attempts start and stop and where
results are published. All of it runs on one event loop; no lock, no polling, one timer.

With a journal, each thing is kept before it is acted on (see ``journal``); without one it is acted on at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..clock import Clock
from ..config import ProcessorConfig
from ..context import DependencyResults, current_task_id
from ..errors import StoreError
from ..execution.base import Attempt, Lane
from ..figures import EngineState
from ..model import LaneName, TaskResult, TaskStatus
from ..monitoring.hub import ObserverHub
from ..monitoring.learned_memory import LearnedMemory
from ..outcome import AttemptOutcome, ErrorInfo, Raised, Returned, Stopped, StopReason
from ..processors.registry import ProcessorRegistry
from ..scheduling.records import Command, Finish, Retried, Start, Stop
from ..scheduling.scheduler import Scheduler
from ..storage.base import Store
from .callbacks import CallbackRunner
from .conditions import Conditions
from .faults import Faults
from .job import Job, JobFactory
from .memory_gate import MemoryGate
from .memory_watch import MemoryWatch
from .publishing import kept_for_later, make_result
from .reception import Reception
from .sizes import payload_size
from .telling import Teller

if TYPE_CHECKING:
    from .journal import Journal
    from .recovery import Recovery

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
        store: where tasks are kept; None for nowhere but in memory.
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
        store: Store | None = None,
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
        self._memory = MemoryWatch(gate, lambda: scheduler.memory_matters, self._memory_changed, self._faults)
        self._learned = learned
        self._profile = profile
        self._jobs = JobFactory(registry, config, learned)
        self.reception = Reception(
            scheduler=scheduler,
            jobs=self._jobs,
            clock=clock,
            tell=self._tell,
            memory=self._memory,
            settle=self._settle,
        )
        self._intake = self.reception.waiting
        self.journal: Journal | None = None
        self._recovery: Recovery | None = None
        if store is not None:
            self._keep_in(store)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._timer_pause = 0.0
        self._timer_fails_since: float | None = None
        self._settling = False
        self._commands: deque[Command] = deque()
        self._conditions = Conditions()

    def _keep_in(self, store: Store) -> None:
        # They bring the encoder, which takes longer to import than all the rest: only for those who have a store.
        from .journal import Journal
        from .recovery import Recovery

        capacity = self.scheduler.queue_size + len(self.scheduler.slots())
        self.journal = Journal(store, self._clock, self._config, capacity=capacity)
        self._recovery = Recovery(
            scheduler=self.scheduler,
            journal=self.journal,
            jobs=self._jobs,
            config=self._config,
            clock=self._clock,
            faults=self._faults,
            settle=self._settle,
        )
        self.reception.keep_in(self.journal, self._recovery)

    async def start(self) -> None:
        """Take the store and start the lanes.

        Raises:
            LaneError: a lane cannot work here; those already started are closed again.
            StoreError: the store cannot be taken.
        """
        started: list[Lane] = []
        if self.journal is not None:
            keys = self.reception.keys
            keys.load(await self.journal.open(keys.forget))
        try:
            for lane in self.lanes.values():
                await lane.start(self)
                started.append(lane)
        except BaseException:
            for lane in started:
                await lane.aclose(1.0)
            if self.journal is not None:
                await self.journal.aclose(1.0)
            raise
        self.hub.started(self._clock.monotonic())

    async def recover(self) -> None:
        """Take up what earlier runs left in the store, then take work.

        Raises:
            StoreError: the store cannot be read.
        """
        if self._recovery is not None:
            await self._recovery.run()
        self.reception.open()

    # ---- what callers ask for

    def cancel(self, task_id: str) -> list[str]:
        """Cancel a task and what waits for it; gives the ids."""
        cancelled = self.scheduler.cancel(task_id, self._clock.monotonic())
        self._settle()
        # The list grows while the cascade goes on; see ``until_cascaded``.
        return cancelled

    def until_cascaded(self) -> asyncio.Future[None]:
        """A future that is done as soon as every dependent of what has ended was told."""
        return self._conditions.until(lambda: not self.scheduler.cascading)

    def until_idle(self) -> asyncio.Future[None]:
        """A future that is done as soon as no task waits or runs and every result is out."""
        return self._conditions.until(self._is_idle)

    def _is_idle(self) -> bool:
        busy = self._commands or self._intake.size or not (self.journal is None or self.journal.quiet)
        return self.scheduler.idle and not busy

    def waiter(self, task_id: str) -> tuple[Job, asyncio.Future[TaskResult]] | None:
        """A future for the result of a task of this run; None if no such task is known."""
        job: Job | None = self.scheduler.find(task_id)
        return None if job is None else (job, job.wait(self._loop))

    async def stored_result(self, task_id: str) -> TaskResult | None:
        """The result of a task that has ended and that only the store remembers."""
        if self._recovery is None:
            return None
        try:
            return await self._recovery.result_of(task_id)
        except StoreError:
            if self.reception.closed:
                return None  # the store is let go, and what this run did not keep in memory is not known any more
            raise

    async def result(self, task_id: str) -> TaskResult | None:
        """The result of a task that has ended and is remembered."""
        job: Job | None = self.scheduler.find(task_id)
        return await self.stored_result(task_id) if job is None else job.result

    async def status(self, task_id: str) -> TaskStatus | None:
        """Where a task stands, as far as it is out; None if no such task is known."""
        record: Job | None = self.scheduler.find(task_id)
        if record is None:
            result = await self.stored_result(task_id)
            return None if result is None else result.status
        if record.finished and record.result is None:
            # Its end is decided and not kept yet: it may still turn out otherwise.
            return TaskStatus.RUNNING if record.attempt else TaskStatus.PENDING
        return record.status

    def running_ids(self) -> list[str]:
        """Ids of the tasks that hold a slot."""
        return [record.id for record in self.scheduler.slots().values() if record is not None]

    def state(self) -> EngineState:
        """Figures of this moment."""
        scheduler, now = self.scheduler, self._clock.monotonic()
        oldest, slots = scheduler.oldest_ready_at(), scheduler.slots()
        return EngineState(
            running=not self.reception.closed,
            at=now,
            queue_size=scheduler.pending,
            queue_capacity=scheduler.queue_size,
            running_tasks=scheduler.running,
            waiting_for_dependencies=scheduler.waiting,
            ready=scheduler.ready,
            in_backoff=scheduler.backoff,
            ready_by_priority=scheduler.ready_by_priority(),
            ready_by_lane=scheduler.ready_by_lane(),
            oldest_ready_age=0.0 if oldest is None else now - oldest,
            slots={slot: None if record is None else record.id for slot, record in slots.items()},
            busy_since={
                slot: record.started_at
                for slot, record in slots.items()
                if record is not None and record.started_at is not None
            },
            last_start_at=scheduler.last_start_at,
            lanes={name: lane.statistics() for name, lane in self.lanes.items()},
            reserved_memory_mb=scheduler.memory.reserved_mb,
            memory_limit_mb=scheduler.memory.limit_mb,
            learned_memory_mb=self._learned.snapshot(),
            stale_reports=self._stale_reports,
            waiting_for_registration={} if self._recovery is None else self._recovery.waiting_for_registration(),
            store=None if self.journal is None else self.journal.statistics(),
            faults=self._faults.count,
            timer_failing_s=0.0 if self._timer_fails_since is None else now - self._timer_fails_since,
        )

    # ---- what lanes report (the AttemptSink)

    def attempt_began(self, token: int) -> None:
        """The function of an attempt is about to be called."""
        self.scheduler.attempt_began(token, self._clock.monotonic())
        self._arm()

    def attempt_progress(self, token: int, fraction: float, message: str) -> None:
        """A running attempt said how far it is."""
        record: Job | None = self.scheduler.running_record(token)
        if record is not None:
            self._tell.progress(record, fraction, message)
            if self.journal is not None:
                self.journal.progressed(record, fraction, message)

    def attempt_ended(self, token: int, outcome: AttemptOutcome) -> None:
        """An attempt is over."""
        now = self._clock.monotonic()
        record: Job | None = self.scheduler.running_record(token)
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
        if not self.reception.close(reason):
            return
        if self._recovery is not None:
            self._recovery.stop()
        self.scheduler.pause()
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
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._memory.stop()

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
        if self._conditions.awaited:
            self._conditions.look()

    def _carry_out_slice(self) -> None:
        scheduler, commands = self.scheduler, self._commands
        budget = COMMANDS_PER_SLICE
        while True:
            if scheduler.commands:
                commands.extend(scheduler.take_commands())
            elif not commands and not (self._intake.size and self._intake.admit()):
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
        record: Job = command.record
        if isinstance(command, Start):
            self._start(record, command.token)
        elif isinstance(command, Finish):
            self._finish(record)
        elif isinstance(command, Retried):
            self._tell.retried(record, command.delay, command.error)
            if self.journal is not None:
                self.journal.retried(record, command.delay, command.error)
        elif isinstance(command, Stop):
            self._stop(record, command.token, command.reason)
        else:
            self._tell.attempt_ended(record, None, self._clock.monotonic())
            self.lanes[record.lane].abandon(command.token)

    def _start(self, record: Job, token: int) -> None:
        if self.scheduler.running_record(token) is None:
            # Cancelled or given up after the decision and before this slice: what follows here already ends it.
            self._tell.attempt_started(record)
        elif self.journal is None:
            self._start_attempt(record, token)
        else:
            self.journal.start(record, token, self._start_stored)

    def _start_stored(self, record: Job, token: int) -> None:
        if self.lanes[record.lane].begins_at_once:
            # The scheduler could not know when that would be; see ``traits_of``.
            self.attempt_began(token)
        self._start_attempt(record, token)

    def _stop(self, record: Job, token: int, reason: StopReason) -> None:
        if self.journal is not None:
            if reason is StopReason.CANCELLED:
                self.journal.cancelling(record)
            if self.journal.withdraw(token):
                self._tell.attempt_started(record)
                if self.scheduler.running_record(token) is not None:
                    self.attempt_ended(token, Stopped())
                return
        self.lanes[record.lane].stop(token, reason)

    def _start_attempt(self, record: Job, token: int) -> None:
        task, spec = record.task, record.spec
        assert task is not None and spec is not None and record.slot is not None  # noqa: S101, PT018 - not ended yet
        # An earlier attempt may still be inside its context: one that was abandoned in a thread.
        variables = contextvars.Context() if record.variables is None else record.variables.copy()
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

    def _finish(self, record: Job) -> None:
        result = make_result(record, self._clock.wall())
        if self.journal is None:
            self._publish(record, result)
        else:
            self.journal.finish(record, kept_for_later(result) if record.left else result, self._publish)

    def _publish(self, record: Job, result: TaskResult) -> None:
        callback = None if record.task is None else record.task.callback
        # Only the result is kept from here on.
        record.outcome = None
        record.resolve(result)
        self._tell.finished(record, result)
        if callback is not None:
            self.callbacks.submit(callback, result)
        if record.entry is not None and record.entry.refused is not None:
            self.scheduler.forget(record.id)
        # What is published while settling is looked at when that is done.
        if self._conditions.awaited and not self._settling:
            self._conditions.look()

    def _examined(self, record: Job, outcome: AttemptOutcome) -> AttemptOutcome:
        if outcome.measures.peak_memory_mb is not None:
            self._learned.observe(record.type_name, outcome.measures.peak_memory_mb)
        if isinstance(outcome, Returned):
            outcome = self._within_limit(record, outcome)
        if isinstance(outcome, Returned) and self.journal is not None:
            outcome = self.journal.examined(record, outcome)
        return outcome

    def _within_limit(self, record: Job, outcome: Returned) -> AttemptOutcome:
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
        at = self.scheduler.next_wakeup(self._timer_at)
        if at is None:
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
            self._timer_pause, self._timer_fails_since = 0.0, None
        except Exception as error:  # noqa: BLE001 - a bug of ours; timeouts and retries of all others must not die with it
            # What was due still is, and to try it again without a pause would use up the processor.
            self._timer_pause = PAUSE_AFTER_FAULT_S
            if self._timer_fails_since is None:
                self._timer_fails_since = self._clock.monotonic()
            self._faults.survived("the scheduler's timer", error)
        self._settle()

    def _memory_changed(self, under_pressure: bool) -> None:
        self.scheduler.memory_changed(under_pressure=under_pressure, now=self._clock.monotonic())
        self._settle()

    def type_registered(self, task_type: str) -> None:
        """A processor function was registered."""
        if self._recovery is not None:
            self._recovery.type_registered(task_type)


def _dependency_results(record: Job) -> DependencyResults:
    known: Mapping[str, Any] = record.dependencies or {}
    return DependencyResults({item: known[item].result for item in record.depends_on})
