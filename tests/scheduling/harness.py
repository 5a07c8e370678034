"""A scheduler with named lanes and a clock that is turned by hand.

Every event answers with the commands it led to, as short texts: ``"start a"``, ``"stop a timeout"``, ``"abandon a"``,
``"retry a"``, ``"finish a completed"``. After every event the scheduler's own ``check`` runs, and what it promises
its caller is held: one end per task, no slot given twice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from async_processor.model import LaneName, TaskPriority, TaskStatus
from async_processor.outcome import AttemptOutcome, ErrorInfo, Raised, Returned, Stopped
from async_processor.scheduling.records import Abandon, Command, Finish, LaneTraits, Retried, Start, Stop, TaskRecord
from async_processor.scheduling.scheduler import Scheduler

CRITICAL, HIGH, NORMAL, LOW, BATCH = TaskPriority
ASYNC, THREAD, PROCESS, RAY = LaneName

FAILURE = ErrorInfo(type_name="ValueError", message="it went wrong")
HOPELESS = ErrorInfo(type_name="InvalidPayloadError", message="it can never work", permanent=True)


def lane(slots: int, name: LaneName = ASYNC, *, begins_at_once: bool = True, grace: float = 1.0) -> LaneTraits:
    """The traits of a lane with so many slots."""
    return LaneTraits(tuple(f"{name}-{number}" for number in range(slots)), begins_at_once, grace)


class Harness:
    """One scheduler and its clock.

    Args:
        slots: of the one lane there is, if ``lanes`` does not say more.
        check_every: events between two checks. One check looks at every task, so tests with thousands cannot
            afford it at each event; they check in between and at the end.
        drain: whether an event that leaves dependents to be told is followed by wake-ups until none is left.
        seed: of the dice.
        scheduler: the class under test, or one that watches it.
        options: of the scheduler.
    """

    def __init__(
        self,
        slots: int = 1,
        *,
        lanes: Mapping[LaneName, LaneTraits] | None = None,
        check_every: int = 1,
        drain: bool = True,
        seed: int = 1,
        scheduler: type[Scheduler] = Scheduler,
        **options: Any,
    ) -> None:
        self.now = 0.0
        self.scheduler = scheduler(lanes or {ASYNC: lane(slots)}, rng=random.Random(seed), **options)
        self.log: list[str] = []
        self.finished: dict[str, TaskRecord] = {}
        self.retries: list[Retried] = []
        self.tokens: dict[str, int] = {}
        self._slot_of: dict[int, str] = {}
        self._taken: set[str] = set()
        self._check_every = check_every
        self._drain = drain
        self._events = 0

    # ---- questions

    def __getitem__(self, task_id: str) -> TaskRecord:
        record = self.scheduler.find(task_id)
        assert record is not None, f"{task_id} is not known"
        return record

    def status(self, task_id: str) -> TaskStatus:
        return self[task_id].status

    def error(self, task_id: str) -> str:
        """Why a task ended; also of one that is no longer remembered."""
        record = self.finished[task_id]
        assert record.error is not None, f"{record} has no error"
        return record.error.message

    @property
    def running(self) -> list[str]:
        """Ids of the tasks that hold a slot, in the order of their slots."""
        return [record.id for record in self.scheduler.slots().values() if record is not None]

    # ---- events

    def submit(self, task_id: str, *after: str, **fields: Any) -> list[str]:
        """Hand in a task that depends on those named after it."""
        self.scheduler.submit(TaskRecord(task_id, depends_on=after, **fields), self.now)
        return self._after_event()

    def take_up(self, task_id: str, *after: str, held_for: float | None = None, **fields: Any) -> list[str]:
        """Hand in a task of an earlier run; ``fields`` are attributes of its record."""
        record = TaskRecord(task_id, depends_on=after)
        for name, value in fields.items():
            setattr(record, name, value)
        self.scheduler.submit(record, self.now, held_for=held_for)
        return self._after_event()

    def release(self, task_id: str, lane: LaneName = ASYNC, memory_mb: float | None = None) -> list[str]:
        """It is known now where a held task runs."""
        self.scheduler.release(task_id, lane, memory_mb, self.now)
        return self._after_event()

    def remember(self, task_id: str, status: TaskStatus = TaskStatus.COMPLETED) -> list[str]:
        """It turned out that a task ended in an earlier run."""
        error = None if status is TaskStatus.COMPLETED else FAILURE
        self.scheduler.remember(TaskRecord(task_id), status, error, self.now)
        return self._after_event()

    def began(self, task_id: str) -> list[str]:
        """The lane reports that the function is about to be called."""
        self.scheduler.attempt_began(self.tokens[task_id], self.now)
        return self._after_event()

    def succeed(self, task_id: str, value: object = None) -> list[str]:
        """The lane reports that the function returned."""
        return self.report(self.tokens[task_id], Returned(value))

    def fail(self, task_id: str, error: ErrorInfo = FAILURE) -> list[str]:
        """The lane reports that the function raised."""
        return self.report(self.tokens[task_id], Raised(error))

    def stop(self, task_id: str) -> list[str]:
        """The lane reports that it stopped the attempt."""
        return self.report(self.tokens[task_id], Stopped())

    def report(self, token: int, outcome: AttemptOutcome, *, stale: bool = False) -> list[str]:
        """The lane reports the end of an attempt; ``stale`` if it is one that was given up."""
        assert self.scheduler.attempt_ended(token, outcome, self.now) is not stale
        self._free(token)
        return self._after_event()

    def cancel(self, task_id: str) -> list[str]:
        """A caller cancels a task. Gives the ids that this cancels; the commands are in ``log``."""
        cancelled = self.scheduler.cancel(task_id, self.now)
        self._after_event()
        return cancelled

    def memory(self, *, under_pressure: bool) -> list[str]:
        """Memory was measured."""
        self.scheduler.memory_changed(under_pressure=under_pressure, now=self.now)
        return self._after_event()

    def advance(self, seconds: float) -> list[str]:
        """Let time pass, waking the scheduler whenever it asked to be."""
        end = self.now + seconds
        commands: list[str] = []
        while (due := self.scheduler.next_wakeup()) is not None and due <= end:
            self.now = max(self.now, due)
            commands += self.wake()
        self.now = end
        return commands

    def wake(self) -> list[str]:
        """Wake the scheduler, as late as it may be by now."""
        self.scheduler.wake(self.now)
        return self._after_event()

    def pause(self) -> list[str]:
        self.scheduler.pause()
        return self._after_event()

    def cancel_waiting(self) -> list[str]:
        self.scheduler.cancel_waiting(self.now)
        return self._after_event()

    def stop_running(self) -> list[str]:
        self.scheduler.stop_running(self.now)
        return self._after_event()

    def abandon_running(self) -> list[str]:
        self.scheduler.abandon_running(self.now)
        return self._after_event()

    # ---- after every event

    def _after_event(self) -> list[str]:
        commands = self.take()
        while self._drain and self.scheduler.cascading:
            self.scheduler.wake(self.now)
            commands += self.take()
        self._events += 1
        if self._events % self._check_every == 0:
            self.scheduler.check()
        return commands

    def take(self) -> list[str]:
        """Collect what the scheduler asks for now, without going on."""
        commands = [self._noted(command) for command in self.scheduler.take_commands()]
        self.log += commands
        return commands

    def _noted(self, command: Command) -> str:
        record = command.record
        assert record.id not in self.finished or self.finished[record.id] is not record, f"{record} has ended before"
        match command:
            case Start(_, token):
                assert record.slot is not None, record
                assert record.slot not in self._taken, f"{record.slot} is given twice"
                self._taken.add(record.slot)
                self._slot_of[token] = record.slot
                self.tokens[record.id] = token
                return f"start {record.id}"
            case Stop(_, token, reason):
                assert token in self._slot_of, f"{record} does not run"
                return f"stop {record.id} {reason.value}"
            case Abandon(_, token):
                assert self._free(token), f"{record} does not run"
                return f"abandon {record.id}"
            case Retried():
                self.retries.append(command)
                return f"retry {record.id}"
            case Finish():
                self.finished[record.id] = record
                return f"finish {record.id} {record.status}"

    def _free(self, token: int) -> bool:
        slot = self._slot_of.pop(token, None)
        self._taken.discard(slot or "")
        return slot is not None
