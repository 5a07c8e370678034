"""Drives the scheduler and the naive one with the same events, and compares them after each."""

from __future__ import annotations

import random
from itertools import pairwise
from math import inf
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.simulation.naive import HOLDING, LaneRules, Naive, Rules, Task

from async_processor.errors import CyclicDependencyError, DuplicateTaskError
from async_processor.model import LaneName, TaskPriority, TaskStatus
from async_processor.outcome import AttemptOutcome, ErrorInfo, Raised, Returned, Stopped
from async_processor.scheduling.admission import Fairness
from async_processor.scheduling.lifecycle import Phase
from async_processor.scheduling.ready_queue import ReadyQueue
from async_processor.scheduling.records import Abandon, Finish, LaneTraits, Retried, Start, Stop, TaskRecord
from async_processor.scheduling.retry import RetryPolicy
from async_processor.scheduling.scheduler import Scheduler

LANES = (LaneName.ASYNC, LaneName.THREAD, LaneName.PROCESS)
PHASES = {
    "waiting": Phase.WAITING,
    "ready": Phase.READY,
    "running": Phase.RUNNING,
    "stopping": Phase.STOPPING,
    "backoff": Phase.BACKOFF,
}
OUTCOMES: list[AttemptOutcome] = [
    Returned(1),
    Raised(ErrorInfo(type_name="ValueError", message="try again")),
    Returned(2),
    Raised(ErrorInfo(type_name="ProviderError", message="try later", retry_after=7.0)),
    Returned(3),
    Raised(ErrorInfo(type_name="PermanentError", message="never", permanent=True)),
    Raised(ErrorInfo(type_name="WorkerDiedError", message="signal 9", lane_failed=True)),
    Stopped(),
]
# Named by other tasks before they are submitted, if they ever are.
AWAITED = ["x0", "x1", "x2"]
choices = st.integers(0, 40)
specs = st.fixed_dictionaries(
    {
        # An id of its own, one that others may wait for, or one that was used before.
        "name": st.sampled_from([None, None, None, None, None, *AWAITED, "again"]),
        "lane": st.sampled_from(LANES),
        "priority": st.sampled_from(list(TaskPriority)),
        # The so-many-last task; beyond them, one that may never come.
        "waits_for": st.lists(st.integers(0, 8), max_size=3, unique=True),
        "timeout": st.sampled_from([None, 1.0, 0.2]),
        "max_retries": st.integers(0, 2),
        "run_anyway": st.booleans(),
        # Never a multiple of what other times are multiples of: at one instant only one kind of thing comes due.
        "dependency_timeout": st.sampled_from([0.3, 2.3, 9.3, 500.3]),
        "memory": st.sampled_from([None, 40.0, 60.0, 150.0]),
    }
)


class ListeningQueue(ReadyQueue):
    """Notes who becomes ready in which order; it shows in nothing else."""

    def __init__(self, arrivals: list[str]) -> None:
        super().__init__()
        self.arrivals = arrivals

    def push(self, record: TaskRecord) -> None:
        self.arrivals.append(record.id)
        super().push(record)


class SchedulerMachine(RuleBasedStateMachine):
    """One life of a scheduler."""

    agreed = False

    @initialize(
        slots=st.tuples(*[st.sampled_from([1, 2, 4, 5])] * 3),
        reserved=st.integers(0, 2),
        guard_interval=st.sampled_from([2, 1, 4, 16]),
        max_wait=st.sampled_from([1.5, 0.0, 60.0]),
        queue_size=st.sampled_from([1_000, 4, 12, 1_000]),
        max_results=st.sampled_from([1_000, 2]),
        seed=st.integers(0, 1_000),
    )
    def begin_life(self, slots, reserved, guard_interval, max_wait, queue_size, max_results, seed) -> None:
        # The event loop, threads that cannot be stopped, and processes that report when they begin.
        self.lanes = {
            LaneName.ASYNC: LaneRules(slots[0], begins_at_once=True, grace=1.0),
            LaneName.THREAD: LaneRules(slots[1], begins_at_once=False, grace=0.0),
            LaneName.PROCESS: LaneRules(slots[2], begins_at_once=False, grace=2.0),
        }
        self.delays: dict[tuple[str, int], float] = {}
        self.naive = Naive(
            {str(name): rules for name, rules in self.lanes.items()},
            Rules(
                queue_size=queue_size,
                reserved=reserved,
                max_wait=max_wait,
                guard_interval=guard_interval,
                memory_limit=100.0,
                max_results=max_results,
            ),
            self.delays,
        )
        self.scheduler = Scheduler(
            {
                name: LaneTraits(tuple(f"{name}-{n}" for n in range(rules.slots)), rules.begins_at_once, rules.grace)
                for name, rules in self.lanes.items()
            },
            queue_size=queue_size,
            fairness=Fairness(reserved_slots=reserved, max_wait=max_wait, guard_interval=guard_interval),
            retry=RetryPolicy(base=0.5, maximum=60.0),
            memory_limit_mb=100.0,
            max_results=max_results,
            result_ttl=1e12,
            rng=random.Random(seed),
        )
        for lane in self.scheduler._lanes.values():
            lane._light, lane._heavy = (ListeningQueue(self.naive.arrivals) for _ in range(2))
        self.agreed = True
        self.now = 0.0
        self.count = 0
        self.tokens: dict[int, TaskRecord] = {}
        self.stale: list[int] = []
        self.finished: set[TaskRecord] = set()
        self.started: list[tuple[str, str, int]] = []
        self.stopped: list[tuple[str, str]] = []
        self.abandoned: list[str] = []
        self.ended: list[str] = []

    # ---- events

    @rule(batch=st.lists(specs, min_size=1, max_size=4))
    def submit(self, batch: list[dict[str, Any]]) -> None:
        for spec in batch:
            spec = dict(spec)  # noqa: PLW2901 - Hypothesis keeps the drawn one for its report
            known = list(reversed(self.naive.tasks))
            waits_for = [known[n] if n < len(known) else AWAITED[n % len(AWAITED)] for n in spec.pop("waits_for")]
            self.count += 1
            task_id = spec.pop("name") or f"t{self.count}"
            if task_id == "again" and known:
                task_id = known[len(spec) % len(known)]
            self.submit_one(task_id, depends_on=tuple(dict.fromkeys(waits_for)), **spec)

    def submit_one(self, task_id: str, lane: LaneName, priority: int, memory: float | None, **options: Any) -> None:
        memory = None if lane is LaneName.THREAD else memory
        task = Task(task_id, str(lane), int(priority), memory=memory, **options)
        record = TaskRecord(task_id, lane=lane, priority=priority, memory_mb=memory, **options)
        assert self.scheduler.has_room_for(task_id) == self.naive.has_room_for(task_id)
        if not self.naive.has_room_for(task_id):
            return
        refusal = self.naive.refusal(task)
        try:
            self.scheduler.submit(record, self.now)
        except (DuplicateTaskError, CyclicDependencyError) as error:
            assert type(error).__name__ == refusal  # noqa: PT017 - most submits are meant to succeed
            if isinstance(error, CyclicDependencyError):
                self.check_circle(error.path, task)
            return
        assert refusal is None
        self.carry_out()
        self.naive.submit(task, self.now)
        self.compare()

    @precondition(lambda self: self.tokens)
    @rule(choice=choices)
    def begin(self, choice: int) -> None:
        token, record = self.pick(choice)
        self.scheduler.attempt_began(token, self.now)
        self.carry_out()
        self.naive.began(self.naive.tasks[record.id], self.now)
        self.compare()

    @precondition(lambda self: self.tokens)
    @rule(choice=choices, outcome=st.sampled_from(OUTCOMES))
    def end(self, choice: int, outcome: AttemptOutcome) -> None:
        token, record = self.pick(choice)
        task = self.naive.tasks[record.id]
        assert self.scheduler.attempt_ended(token, outcome, self.now)
        self.forget_token(token)
        self.carry_out()
        if isinstance(outcome, Returned):
            self.naive.returned(task, self.now)
        else:
            # A lane that stops what nobody asked to stop has failed, and may be tried again.
            error = outcome.error if isinstance(outcome, Raised) else ErrorInfo(type_name="LaneError", message="")
            self.naive.raised(task, error, self.now)
        self.compare()

    @precondition(lambda self: self.stale)
    @rule(choice=choices, outcome=st.sampled_from(OUTCOMES))
    def report_too_late(self, choice: int, outcome: AttemptOutcome) -> None:
        token = self.stale[choice % len(self.stale)]
        self.scheduler.attempt_began(token, self.now)
        assert not self.scheduler.attempt_ended(token, outcome, self.now)
        self.carry_out()
        self.compare()

    @rule(choice=choices)
    def cancel(self, choice: int) -> None:
        known = [*self.naive.tasks, "unknown"]
        task_id = known[-1 - choice % len(known)]
        cancelled = self.scheduler.cancel(task_id, self.now)
        self.carry_out()
        task = self.naive.tasks.get(task_id)
        expected = set() if task is None else self.naive.cancel(task, self.now)
        assert (set(cancelled), len(cancelled)) == (expected, len(expected))
        assert cancelled[:1] == ([task_id] if expected else [])
        self.compare()

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 10.0, 70.0]))
    def let_time_pass(self, seconds: float) -> None:
        target = self.now + seconds
        for _ in range(1_000):
            due = min(self.wakeup(), self.naive.next_due())
            if due > target:
                break
            self.now = due
            self.wake()
        else:
            raise AssertionError("the scheduler wants to be woken for ever")
        self.now = target

    @rule(seconds=st.sampled_from([0.5, 2.0, 20.0]))
    def oversleep(self, seconds: float) -> None:
        """The loop was blocked: everything that came due meanwhile comes up at once."""
        self.now += seconds
        self.wake()

    @rule(under_pressure=st.booleans())
    def feel_memory(self, under_pressure: bool) -> None:
        self.scheduler.memory_changed(under_pressure=under_pressure, now=self.now)
        self.carry_out()
        self.naive.under_pressure = under_pressure
        self.naive.settle(self.now)
        self.compare()

    def teardown(self) -> None:
        if not self.agreed:
            return  # it failed already; what follows from that would only hide it
        self.shut_down(OUTCOMES[1])

    def shut_down(self, outcome: AttemptOutcome) -> None:
        """As the engine does: accept nothing more, let run what runs, ask it to end, give it up."""
        self.scheduler.pause()
        self.scheduler.cancel_waiting(self.now)
        self.carry_out()
        self.naive.close_intake()
        self.compare()
        for choice in range(len(self.tokens) // 2):
            self.end(choice, outcome)
        self.scheduler.stop_running(self.now)
        self.carry_out()
        self.naive.stop_all(self.now)
        self.compare()
        self.scheduler.abandon_running(self.now)
        self.carry_out()
        self.naive.abandon_all(self.now)
        self.compare()
        assert self.scheduler.idle
        assert all(record.finished for record in self.scheduler.records())

    # ---- carrying out, as the engine does

    def wake(self) -> None:
        self.scheduler.wake(self.now)
        self.carry_out()
        self.naive.wake(self.now)
        self.compare()

    def wakeup(self) -> float:
        at = self.scheduler.next_wakeup()
        return inf if at is None or at >= 1e11 else at

    def carry_out(self) -> None:
        self.agreed = False
        for command in self.scheduler.take_commands():
            match command:
                case Start(record, token):
                    assert token not in self.tokens, "a token was used twice"
                    assert record not in self.finished, "an ended task was started"
                    self.tokens[token] = record
                    self.started.append((str(record.lane), record.id, record.attempt))
                case Stop(record, token, reason):
                    assert self.tokens[token] is record
                    self.stopped.append((record.id, reason.value))
                case Abandon(record, token):
                    assert self.tokens[token] is record
                    self.abandoned.append(record.id)
                    self.forget_token(token)
                case Retried(record, delay, _):
                    self.delays[record.id, record.attempt] = delay
                case Finish(record):
                    assert record not in self.finished, "a task ended twice"
                    assert record.status.is_terminal
                    assert (record.error is None) == (record.status is TaskStatus.COMPLETED)
                    self.finished.add(record)
                    self.ended.append(record.id)

        self.naive.choices = [task_id for _, task_id, _ in self.started]

    def forget_token(self, token: int) -> None:
        del self.tokens[token]
        self.stale.append(token)

    def pick(self, choice: int) -> tuple[int, TaskRecord]:
        return list(self.tokens.items())[choice % len(self.tokens)]

    # ---- comparing

    def compare(self) -> None:
        naive = self.naive
        for name in naive.lanes:
            ours, theirs = ([item for item in starts if item[0] == name] for starts in (self.started, naive.starts))
            assert ours == theirs, f"starts in the {name} lane"
        assert sorted(self.stopped) == sorted(naive.stops)
        assert sorted(self.abandoned) == sorted(naive.abandons)
        assert sorted(self.ended) == sorted(naive.ended), "tasks that ended"
        # Which of those that ended in one event ended first is the scheduler's to say, and decides who is forgotten.
        naive.end_event(self.ended)
        for log in (self.started, self.stopped, self.abandoned, self.ended):
            log.clear()
        assert {item.id for item in self.scheduler.records()} == set(naive.tasks)
        urgencies = naive.urgencies()
        for record in self.scheduler.records():
            self.compare_task(record, naive.tasks[record.id])
            assert record.finished or record.urgency == urgencies[record.id]
        assert self.wakeup() <= naive.next_due(), "the scheduler would sleep too long"
        self.agreed = True

    def compare_task(self, record: TaskRecord, task: Task) -> None:
        if record.finished:
            assert record.status.value == task.state, (record, task)
            assert record.root is None if not task.roots else record.root in task.roots
            if record.root is not None and record.error is not None:
                assert repr(record.root) in record.error.message
            return
        assert record.phase is PHASES[task.state], (record, task)
        assert record.attempt == task.attempt
        assert record.status is (TaskStatus.RUNNING if task.state in HOLDING else TaskStatus.PENDING)
        assert sorted(self.scheduler._graph.missing(record)) == sorted(task.missing)

    def check_circle(self, path: tuple[str, ...], task: Task) -> None:
        assert path[0] == path[-1] == task.id
        waits_for = {item.id: item.depends_on for item in [*self.naive.tasks.values(), task]}
        assert all(after in waits_for[before] for before, after in pairwise(path))

    @invariant()
    def everything_agrees(self) -> None:
        self.scheduler.check()
        assert self.scheduler.pending == len(self.naive.all("waiting", "ready", "backoff"))
        assert self.scheduler.running == len(self.naive.all(*HOLDING)) == len(self.tokens)
        assert sorted(self.scheduler.ready_ids()) == sorted(task.id for task in self.naive.all("ready"))
