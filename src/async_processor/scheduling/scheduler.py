"""The scheduler: told what happened, it answers with what must be done, and when it wants to be woken.

Promises:

- Everything is decided here and nothing is done here. Each method takes the time as an argument, changes the
  state, and leaves commands that the caller takes with ``take_commands`` and carries out in order.
- A slot is taken in the step that decides, not when the attempt starts; it is freed in the step in which the lane
  reports, or in which the attempt is abandoned.
- Exactly one ``Finish`` per task, and none for an attempt that will be retried.
- A report that carries the token of no running attempt changes nothing: it comes from one that was given up.

It knows nothing of asyncio, of functions and payloads, of stores. Status, readiness and slots live here alone.
"""

from __future__ import annotations

import random
from math import inf

from ..errors import ConfigurationError
from ..model import LaneName, TaskStatus
from ..outcome import AttemptOutcome, ErrorInfo, Raised, Returned, StopReason
from . import messages
from .admission import Fairness, LaneAdmission, MemoryBudget
from .cascade import Cascade, Wave
from .ended import EndedTasks
from .graph import DependencyGraph
from .invariants import check_scheduler
from .lifecycle import (
    BACKOFF,
    CANCEL,
    DEFER,
    FAIL,
    READY,
    RELEASE,
    RESUME,
    RETRY,
    RUNNING,
    START,
    STOP,
    STOPPING,
    SUCCEED,
    TIME_OUT,
    WAITING,
    Step,
)
from .questions import Questions
from .records import Abandon, Command, Finish, Lanes, LaneTraits, Retried, Start, Stop, TaskRecord
from .retry import Retry, RetryPolicy
from .timers import Due, Timer, Timers

# Timers that come up in one step. There may be a hundred thousand; all at once would block the event loop for a second.
TIMER_BUDGET = 256


class Scheduler(Questions):
    """All tasks, and what follows from each event.

    Args:
        lanes: the lanes there are.
        queue_size: how many tasks may wait. Retries, and tasks that others already wait for, need no room.
        fairness: reserved slots and the starvation guard.
        retry: the backoff.
        memory_limit_mb: how much memory memory-intensive tasks may set aside together.
        max_results, result_ttl: how many ended tasks are remembered, and for how many seconds.
        rng: the dice of the backoff.

    Attributes:
        queue_size: as given.
        memory: what memory-intensive tasks have set aside.
        commands: what must be done and was not yet asked for; see ``take_commands``.
        last_start_at: when a slot was given to an attempt last; minus infinity before the first.
    """

    def __init__(
        self,
        lanes: Lanes,
        *,
        queue_size: int = 1_000,
        fairness: Fairness | None = None,
        retry: RetryPolicy | None = None,
        memory_limit_mb: float = float("inf"),
        max_results: int = 10_000,
        result_ttl: float = 3_600.0,
        rng: random.Random,
    ) -> None:
        self.queue_size = queue_size
        self.memory = MemoryBudget(memory_limit_mb)
        self._traits: dict[LaneName, LaneTraits] = dict(lanes)
        self._lanes = {
            name: LaneAdmission(traits.slots, fairness or Fairness(), self.memory) for name, traits in lanes.items()
        }
        self._retry = retry or RetryPolicy()
        self._rng = rng
        self._graph = DependencyGraph(self._urgency_changed)
        self._timers = Timers(self._timer_holds)
        self._running: dict[int, TaskRecord] = {}
        self._ended = EndedTasks(max_results, result_ttl, self._graph.forget)
        self._cascade = Cascade(self._tell)
        # Lanes where something may be able to start since the last look: a dict, because it keeps their order.
        self._touched: dict[LaneName, None] = {}
        self.commands: list[Command] = []
        self.last_start_at = -inf
        self._paused = False
        self._last_seq = 0
        self._last_token = 0
        self._waiting = 0
        self._ready = 0
        self._backoff = 0

    # ---- what is to be done

    def next_wakeup(self, before: float = inf) -> float | None:
        """When ``wake`` should be called next, if nothing else happens; None if that is not before a time."""
        if self._cascade.waves:
            return -inf
        expiry = self._ended.next_expiry(before)
        due = self._timers.next_at(before if expiry is None else expiry)
        return expiry if due is None else due

    def take_commands(self) -> list[Command]:
        """What must be done, in order. Each command is given once."""
        commands, self.commands = self.commands, []
        return commands

    # ---- events

    def submit(self, record: TaskRecord, now: float, *, waited: float = 0.0, held_for: float | None = None) -> None:
        """A task was handed in. Room is the caller's to ask for, with ``has_room_for``.

        Args:
            waited: for how many seconds it has waited already, in an earlier run.
            held_for: have it wait for ``release`` as well, for so many seconds at most.

        Raises:
            DuplicateTaskError: its id is known.
            CyclicDependencyError: it would wait for itself.
            ConfigurationError: there is no such lane. In each case nothing has changed.
        """
        if record.lane not in self._lanes:
            raise ConfigurationError(
                f"task {record.id!r} needs the {record.lane} lane, and there is none, only {', '.join(self._lanes)}",
                task_id=record.id,
            )
        failed = self._graph.add(record)
        self._last_seq += 1
        record.seq = self._last_seq
        record.submitted_at = now - waited
        self._waiting += 1
        if failed and not record.run_anyway:
            self._cancel_for(record, failed[0], now)
            self._spread(record)
        else:
            self._await(record, held_for, now)
        self._proceed(now)

    def _await(self, record: TaskRecord, held_for: float | None, now: float) -> None:
        if held_for is not None:
            record.held_for = held_for
            self._timers.schedule(now + held_for, Due.REGISTRATION, record, record.seq)
        if record.depends_on and self._graph.missing(record):
            record.deadline = now + record.dependency_timeout
            self._timers.schedule(record.deadline, Due.DEPENDENCY, record, record.seq)
        self._release_if_free(record, now)

    def release(self, task_id: str, lane: LaneName, memory_mb: float | None, now: float) -> None:
        """A held task need not wait for this any more, and it is known now where it runs."""
        record: TaskRecord | None = self.find(task_id)
        if record is not None and record.held_for is not None and record.phase is WAITING:
            record.held_for = None
            record.lane, record.memory_mb = lane, memory_mb
            self._timers.lost()
            self._release_if_free(record, now)
            self._proceed(now)

    def remember(self, record: TaskRecord, status: TaskStatus, error: ErrorInfo | None, now: float) -> None:
        """A task ended in an earlier run: those that wait for it are told. Does nothing if it is known."""
        if self.find(record.id) is not None:
            return
        record.restore(status)
        record.error = error
        record.submitted_at = record.finished_at = now
        self._cascade.begin(record, self._graph.add_ended(record), ended=True)
        self._ended.add(record)
        self._proceed(now)

    def forget(self, task_id: str) -> None:
        """Remember an ended task no longer; its id counts as never submitted from now on."""
        record: TaskRecord | None = self.find(task_id)
        if record is not None and record.finished:
            self._ended.drop(record)

    def attempt_began(self, token: int, now: float) -> None:
        """The function of an attempt is about to be called; its timeout counts from here."""
        record = self._running.get(token)
        if record is not None and record.phase is RUNNING and record.deadline is None:
            record.started_at = now
            self._set_deadline(record, now)

    def attempt_ended(self, token: int, outcome: AttemptOutcome, now: float) -> bool:
        """A lane reported the end of an attempt. False if it is the end of none that runs: then nothing changes."""
        record = self._running.get(token)
        if record is None:
            return False
        record.outcome = outcome
        self._end_attempt(record, outcome, now)
        self._proceed(now)
        return True

    def cancel(self, task_id: str, now: float, error: ErrorInfo | None = None) -> list[str]:
        """Somebody wants a task not to go on. Gives the ids that this cancels, first the one asked for.

        The list grows as long as ``cascading`` holds: a cascade over very many tasks takes several steps.

        Args:
            error: why, if not because a caller wants it.
        """
        record: TaskRecord | None = self.find(task_id)
        if record is None or record.finished or record.stop_reason in (StopReason.CANCELLED, StopReason.SHUTDOWN):
            return []
        cancelled = [task_id]
        error = error or messages.cancelled_by_caller(record)
        if record.phase in (RUNNING, STOPPING):
            record.error = error
            record.stop_reason = StopReason.CANCELLED
            # Its end is certain from here on. Spread that before it is stopped: it may end there and then, and who is
            # cancelled for it would not be noted.
            self._spread(record, cancelled)
            self._stop(record, StopReason.CANCELLED, now)
        else:
            self._finish(record, CANCEL, error, now)
            self._spread(record, cancelled)
        self._proceed(now)
        return cancelled

    def wake(self, now: float) -> None:
        """Time has passed. What is due and too much for one step is left for the next; see ``next_wakeup``."""
        for _ in range(TIMER_BUDGET):
            timer = self._timers.pop_due(now)
            if timer is None:
                break
            self._on_due(timer, now)
        self._proceed(now)
        self._ended.expire(now)

    def memory_changed(self, *, under_pressure: bool, now: float) -> None:
        """Memory as measured became too full to start anything large, or is no longer."""
        self.memory.under_pressure = under_pressure
        self._touch_all()
        self._proceed(now)

    # ---- shutdown

    def pause(self) -> None:
        """Start nothing more."""
        self._paused = True

    def cancel_waiting(self, now: float) -> None:
        """End every task that holds no slot; the processor is shutting down."""
        waiting = [item for item in self.records() if item.phase in (WAITING, READY, BACKOFF)]
        for record in waiting:
            record.left = True
            self._finish(record, CANCEL, messages.shut_down_waiting(record), now)
        for record in waiting:
            self._graph.settle(record)
        self._proceed(now)

    def stop_running(self, now: float) -> None:
        """Ask every running attempt to end; the processor is shutting down."""
        for record in list(self._running.values()):
            if record.stop_reason is None or record.stop_reason is StopReason.TIMEOUT:
                record.error = messages.shut_down_running(record)
                record.left = True
                self._stop(record, StopReason.SHUTDOWN, now)
        self._proceed(now)

    def abandon_running(self, now: float) -> None:
        """Give up every attempt that still holds a slot."""
        self.stop_running(now)
        for record in list(self._running.values()):
            self._abandon(record, now)
        self._proceed(now)

    # ---- starting

    def _proceed(self, now: float) -> None:
        """What every event ends with: dependents are told, and then whoever can start does.

        In this order, so that of all tasks that one event releases the most urgent takes the slot.
        """
        if self._cascade.waves:
            self._cascade.carry_on(now)
        if self._ended.surplus > 0:
            self._ended.trim()
        if self._touched:
            for name in self._touched:
                self._dispatch(name, now)
            self._touched.clear()

    def _touch_all(self) -> None:
        self._touched.update(dict.fromkeys(self._lanes))

    def _release_if_free(self, record: TaskRecord, now: float) -> None:
        """Let a waiting task go on if it waits for nothing."""
        if record.waits:
            return
        if record.not_before <= now:
            self._make_ready(record, RELEASE, now)
            return
        self._left_place(record)
        record.advance(DEFER)
        self._backoff += 1
        self._timers.schedule(record.not_before, Due.BACKOFF, record, record.attempt)

    def _make_ready(self, record: TaskRecord, step: Step, now: float) -> None:
        self._left_place(record)
        record.advance(step)
        record.ready_at = now
        self._ready += 1
        self._lanes[record.lane].push(record)
        self._touched[record.lane] = None

    def _dispatch(self, name: LaneName, now: float) -> None:
        lane = self._lanes[name]
        while not self._paused and (record := lane.choose(now)) is not None:
            self._start(lane, record, now)

    def _start(self, lane: LaneAdmission, record: TaskRecord, now: float) -> None:
        slot = lane.take(record, now)
        lane.removed(record)
        self._ready -= 1
        record.advance(START)
        self._last_token += 1
        record.token = self._last_token
        record.slot = slot
        record.attempt += 1
        record.started_at = self.last_start_at = now
        record.stop_reason = record.outcome = record.deadline = record.ended_at = None
        if record.first_started_at is None:
            record.first_started_at = now
        self._running[record.token] = record
        if self._traits[record.lane].begins_at_once:
            self._set_deadline(record, now)
        self.commands.append(Start(record, record.token))

    def _set_deadline(self, record: TaskRecord, now: float) -> None:
        if record.timeout is not None:
            record.deadline = now + record.timeout
            self._timers.schedule(record.deadline, Due.DEADLINE, record, record.token)

    # ---- ending

    def _end_attempt(self, record: TaskRecord, outcome: AttemptOutcome, now: float) -> None:
        """The attempt has left its slot, one way or another."""
        lane = self._lanes[record.lane]
        del self._running[record.token]
        lane.release(record)
        record.ended_at = now
        if record.deadline is not None or record.phase is STOPPING:
            self._timers.lost()
        if record.phase is STOPPING:
            self._end_stopped(record, now)
        elif isinstance(outcome, Returned):
            self._finish(record, SUCCEED, None, now)
        elif isinstance(outcome, Raised):
            self._end_failed(record, outcome.error, FAIL, now)
        else:
            # A lane must not stop what nobody asked to stop; if it does, that is a failure of the lane.
            self._end_failed(record, messages.stopped_unasked(record), FAIL, now)
        self._spread(record)
        self._touched[record.lane] = None
        if record.memory_mb is not None:
            # A slot is its own lane's, but memory is one budget for all lanes.
            self._touch_all()

    def _end_stopped(self, record: TaskRecord, now: float) -> None:
        if record.stop_reason is StopReason.TIMEOUT:
            self._end_failed(record, messages.timed_out(record), TIME_OUT, now)
        else:
            self._finish(record, CANCEL, record.error, now)

    def _end_failed(self, record: TaskRecord, error: ErrorInfo, last_step: Step, now: float) -> None:
        decision = self._retry.decide(
            error, attempt=record.attempt, max_retries=record.max_retries, rng=self._rng
        )  # fmt: skip
        if not isinstance(decision, Retry) or self._paused:
            record.left = isinstance(decision, Retry)
            self._finish(record, last_step, error, now)
            return
        record.error = error
        record.advance(RETRY)
        self._backoff += 1
        self._timers.schedule(now + decision.after, Due.BACKOFF, record, record.attempt)
        self.commands.append(Retried(record, decision.after, error))

    def _finish(self, record: TaskRecord, step: Step, error: ErrorInfo | None, now: float) -> None:
        """End a task. Its dependents are left to ``_spread``, which every caller owes."""
        if record.phase is BACKOFF:
            self._timers.lost()
        self._left_place(record)
        record.advance(step)
        record.error = error
        record.finished_at = now
        self._ended.add(record)
        self.commands.append(Finish(record))

    def _left_place(self, record: TaskRecord) -> None:
        """Take a record out of the count or queue that its phase means."""
        if record.phase is WAITING:
            self._waiting -= 1
            if record.deadline is not None:
                self._timers.lost()
        elif record.phase is READY:
            self._ready -= 1
            self._lanes[record.lane].removed(record)
            # It may have been the one whose turn it was, while memory lacked for it but not for the next.
            self._touched[record.lane] = None
        elif record.phase is BACKOFF:
            self._backoff -= 1

    # ---- dependents

    def _spread(self, record: TaskRecord, cancelled: list[str] | None = None) -> None:
        """Have the end of a task, or its certain end, told to all that wait for it, and on from there.

        A task that was cancelled while running has not ended, but how it will is certain: what would be cancelled
        for it is cancelled now. Dependents that run anyway wait for the real end.

        Args:
            cancelled: where to note the ids of the tasks that are cancelled for it.
        """
        if record.finished:
            if record.dependencies is None and record.dependents is None:
                return
            dependents = self._graph.settle(record)
        elif record.stop_reason in (StopReason.CANCELLED, StopReason.SHUTDOWN):
            dependents = list(record.dependents or ())
        else:
            return
        self._cascade.begin(record, dependents, ended=record.finished, cancelled=cancelled)

    def _tell(self, dependent: TaskRecord, wave: Wave, now: float) -> None:
        """A task that ``dependent`` waits for has ended, or certainly will."""
        if dependent.finished:
            return
        dependent.unmet -= wave.ended
        completed = wave.ended and wave.record.status is TaskStatus.COMPLETED
        if not (completed or dependent.run_anyway):
            self._cancel_for(dependent, wave.record, now)
            if wave.cancelled is not None:
                wave.cancelled.append(dependent.id)
            self._spread(dependent, wave.cancelled)
        else:
            self._release_if_free(dependent, now)

    def _cancel_for(self, record: TaskRecord, dependency: TaskRecord, now: float) -> None:
        # Handed on from task to task: the root itself may be forgotten before the last of them is told.
        record.root = dependency.root or dependency.id
        record.cause = dependency.cause or messages.how_it_ended(dependency)
        record.left = dependency.left
        self._finish(record, CANCEL, messages.dependency_failed(record, dependency), now)

    def _urgency_changed(self, record: TaskRecord, former: int) -> None:
        if record.phase is READY:
            self._lanes[record.lane].reprioritised(record, former)
            self._touched[record.lane] = None

    # ---- stopping

    def _stop(self, record: TaskRecord, reason: StopReason, now: float) -> None:
        """Ask a running attempt to end, or change why it was asked."""
        first = record.phase is RUNNING
        record.stop_reason = reason
        if not first:
            return
        record.advance(STOP)
        if record.deadline is not None:
            self._timers.lost()
        self.commands.append(Stop(record, record.token, reason))
        grace = self._traits[record.lane].stop_grace
        if grace > 0:
            self._timers.schedule(now + grace, Due.GRACE, record, record.token)
        else:
            self._abandon(record, now)

    def _abandon(self, record: TaskRecord, now: float) -> None:
        self.commands.append(Abandon(record, record.token))
        self._end_attempt(record, messages.ABANDONED, now)

    # ---- time

    def _timer_holds(self, timer: Timer) -> bool:
        record = timer.record
        if timer.due is Due.DEADLINE:
            return record.token == timer.stamp and record.phase is RUNNING
        if timer.due is Due.GRACE:
            return record.token == timer.stamp and record.phase is STOPPING
        if timer.due is Due.BACKOFF:
            return record.attempt == timer.stamp and record.phase is BACKOFF
        return record.phase is WAITING and (timer.due is Due.DEPENDENCY or record.held_for is not None)

    def _on_due(self, timer: Timer, now: float) -> None:
        record = timer.record
        if timer.due is Due.DEADLINE:
            self._stop(record, StopReason.TIMEOUT, now)
        elif timer.due is Due.GRACE:
            self._abandon(record, now)
        elif timer.due is Due.BACKOFF:
            self._make_ready(record, RESUME, now)
        elif timer.due is Due.REGISTRATION:
            self._fail_waiting(record, messages.never_registered(record), now)
        elif missing := self._graph.missing(record):
            self._fail_waiting(record, messages.never_submitted(record, missing), now)

    def _fail_waiting(self, record: TaskRecord, error: ErrorInfo, now: float) -> None:
        self._finish(record, FAIL, error, now)
        self._spread(record)

    def check(self) -> None:
        """Assert every invariant. Slow; every test calls it."""
        check_scheduler(self)
