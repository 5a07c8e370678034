"""One slot of the process lane: the attempt in it, the worker that runs it, and the worker's successor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import WorkerDiedError, WorkerStartError
from ..outcome import AttemptOutcome, Raised, Stopped
from .base import Attempt
from .calling import refused
from .process_handle import End, WorkerHandle, WorkerListener
from .process_job import Job
from .process_oom import oom_kills, suspicion
from .process_starts import Starts


@dataclass(slots=True, eq=False)
class SlotAttempt:
    """An attempt in its slot.

    Attributes:
        attempt: what to run.
        job: its message to the worker.
        waits_since: when it was handed to the lane, on the loop's clock.
        sent: whether the worker was given it.
        began: whether its function was called.
        stopping: whether it is to end; then its worker was killed.
        second: whether it was sent before, to a worker that died before calling the function.
    """

    attempt: Attempt
    job: Job
    waits_since: float
    sent: bool = False
    began: bool = False
    stopping: bool = False
    second: bool = False


class SlotOwner(Protocol):
    """The lane, as its slots see it."""

    def slot_attempt_began(self, item: SlotAttempt) -> None:
        """The function of an attempt is about to be called."""
        ...

    def slot_attempt_progress(self, item: SlotAttempt, fraction: float, message: str) -> None:
        """The function of an attempt says how far it is."""
        ...

    def slot_attempt_ended(self, item: SlotAttempt, outcome: AttemptOutcome) -> None:
        """An attempt is over, and its slot free."""
        ...

    def slot_dismissed(self, worker: WorkerHandle) -> None:
        """A worker is of no use any more and belongs to the slot no longer."""
        ...


class Slot(WorkerListener):
    """One slot, and the listener of its workers.

    Args:
        name: of the slot.
        owner: told about attempts.
        starts: gives workers.
        max_attempts: after so many a worker is replaced; 0 for never.

    Attributes:
        item: the attempt in the slot.
        worker: the worker, ready; None while there is none.
        replaced: how many workers took the place of another.
    """

    __slots__ = (
        "_kills_before",
        "_max_attempts",
        "_owner",
        "_starts",
        "_successor",
        "_wished",
        "item",
        "name",
        "replaced",
        "worker",
    )

    def __init__(self, name: str, owner: SlotOwner, starts: Starts, max_attempts: int) -> None:
        self.name = name
        self.item: SlotAttempt | None = None
        self.worker: WorkerHandle | None = None
        self.replaced = -1  # the first one replaces none
        self._owner = owner
        self._starts = starts
        self._max_attempts = max_attempts
        self._successor: WorkerHandle | None = None
        self._wished = False
        self._kills_before: int | None = None

    def prepare(self) -> None:
        """See to it that there is a worker, now or soon."""
        if self.worker is None and self._successor is not None:
            self._promote(self._successor)
        elif self.worker is None:
            self._wish()

    def run(self, item: SlotAttempt) -> None:
        """Let an attempt run, as soon as there is a worker."""
        self.item = item
        self.prepare()
        self._send()

    def stop(self) -> SlotAttempt | None:
        """End the attempt. If it was not sent yet, it is given back, and the slot is free.

        If it was, its worker is killed, and its end is reported when the worker is gone.
        """
        item = self.item
        if item is None or item.stopping:
            return None
        item.stopping = True
        if item.sent and self.worker is not None:
            self.worker.kill()
            # Its successor starts while it dies.
            self._wish()
            return None
        self.item = None
        return item

    def abandon(self) -> None:
        """Forget the attempt, and the worker that does not die."""
        item, self.item = self.item, None
        if item is not None and item.sent:
            self.dismiss_worker()
            self.prepare()

    def dismiss_worker(self) -> None:
        """Part with the worker, which is killed."""
        if self.worker is not None:
            self._owner.slot_dismissed(self.worker)
            self.worker = None

    def close(self) -> SlotAttempt | None:
        """End the attempt, as ``stop`` does, and part with all workers but the one that runs it."""
        unsent = self.stop()
        if self._successor is not None:
            self._owner.slot_dismissed(self._successor)
            self._successor = None
        if self.item is None:
            self.dismiss_worker()
        return unsent

    def fail_waiting(self, reason: str) -> None:
        """There will be no worker for now: fail the attempt that waits for one."""
        item = self.item
        if item is not None and not item.sent and self.worker is None:
            self._end(no_worker(item.attempt, reason))

    def give_up_if_late(self, limit: float, timeout: float) -> None:
        """Fail the attempt if it was handed in before ``limit`` and its function has still not been called."""
        item = self.item
        if item is None or item.began or item.stopping or item.waits_since > limit:
            return
        if item.sent:
            # Its worker hangs: in unpickling, in an import, in what an earlier attempt left.
            self.dismiss_worker()
        self.prepare()
        self._end(late(item.attempt, timeout, sent=item.sent))

    def _end(self, outcome: AttemptOutcome) -> None:
        # The slot is free before anybody is told.
        item, self.item = self.item, None
        if item is not None:
            self._owner.slot_attempt_ended(item, outcome)

    # ---- workers

    def _wish(self) -> None:
        if not self._wished:
            self._wished = True
            self._starts.wish(self.name, self._granted)

    def _granted(self, worker: WorkerHandle) -> None:
        self._wished = False
        worker.listener = self
        if self.worker is None:
            self._promote(worker)
        else:
            self._successor = worker

    def _promote(self, worker: WorkerHandle) -> None:
        if worker is self._successor:
            self._successor = None
        self.worker = worker
        self.replaced += 1
        self._kills_before = oom_kills()
        self._send()

    def _send(self) -> None:
        item, worker = self.item, self.worker
        if item is None or item.sent or worker is None:
            return
        # If it has died meanwhile, the attempt waits for the next worker.
        item.sent = worker.send(item.job, item.attempt.task.id)
        if item.sent and worker.attempts == self._max_attempts:
            self._wish()

    # ---- reports of a worker

    def attempt_began(self, worker: WorkerHandle) -> None:
        """Its function is about to be called."""
        if self._starts.policy.failures:
            self._starts.policy.proved()
        if worker is self.worker and self.item is not None and not self.item.stopping:
            self.item.began = True
            self._owner.slot_attempt_began(self.item)

    def attempt_progress(self, worker: WorkerHandle, fraction: float, message: str) -> None:
        """Its function says how far it is."""
        if worker is self.worker and self.item is not None and not self.item.stopping:
            self._owner.slot_attempt_progress(self.item, fraction, message)

    def attempt_ended(self, worker: WorkerHandle, end: End) -> None:
        """It is over."""
        if worker is not self.worker or self.item is None or self.item.stopping:
            return
        if end.outgrown or worker.attempts == self._max_attempts:
            self.dismiss_worker()
            self.prepare()
        self._end(end.outcome)

    def worker_gone(self, worker: WorkerHandle, exit_code: int | None) -> None:
        """It has died: its attempt with it, and nothing else."""
        if not worker.attempts:
            self._starts.failed_early(exit_code)
        if worker is self._successor:
            self._successor = None
        if worker is not self.worker:
            return
        self.worker = None
        item = self._lost_with_worker()
        self.prepare()
        if item is not None:
            self._owner.slot_attempt_ended(item, Stopped() if item.stopping else self._death(item, worker, exit_code))

    def _lost_with_worker(self) -> SlotAttempt | None:
        item = self.item
        if item is None or not item.sent:
            return None
        if not (item.began or item.stopping or item.second):
            # Its function was not called: most likely the worker was dying already when it was sent. If not, the
            # attempt itself kills its workers when they load it, and the second is the last.
            item.sent, item.second = False, True
            return None
        self.item = None
        return item

    def _death(self, item: SlotAttempt, worker: WorkerHandle, exit_code: int | None) -> Raised:
        detail = worker.complaint or suspicion(exit_code, self._kills_before)
        return refused(WorkerDiedError(item.attempt.task.id, exit_code=exit_code, detail=detail))


def no_worker(attempt: Attempt, reason: str) -> Raised:
    """The outcome of an attempt for which no worker could be had."""
    return refused(
        WorkerStartError(
            f"no worker process could be started for task {attempt.task.id!r}: {reason}", task_id=attempt.task.id
        )
    )


def late(attempt: Attempt, timeout: float, *, sent: bool) -> Raised:
    """The outcome of an attempt that waited too long for its function to be called."""
    where = "its worker process was still loading it" if sent else "no worker process was ready"
    return refused(
        WorkerStartError(
            f"the function of task {attempt.task.id!r} was not called within {timeout:g} s: {where}; "
            "if loading it takes that long, raise worker_start_timeout",
            task_id=attempt.task.id,
        )
    )
