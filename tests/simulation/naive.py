"""The rules of scheduling once more, as plainly as they can be said: lists, and everything recomputed at each step.

The judge of ``scheduling/``: it shares no code with it, and says the rules in another way. Slow on purpose; nothing
here is kept that could be worked out again. After every event, ``settle`` applies three rules until none applies any
more: what cannot run is cancelled, what waits for nothing is ready, and whoever is first in line takes a free slot.

Where the rules leave a choice, the scheduler under test makes it and tells: how long a backoff lasts within its bounds,
and who of those that are equal goes first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from async_processor.outcome import ErrorInfo

CRITICAL, HIGH = 1, 2
OPEN = ("waiting", "ready", "running", "stopping", "backoff")
HOLDING = ("running", "stopping")


@dataclass(eq=False)
class Task:
    id: str
    lane: str = "async"
    priority: int = 3
    timeout: float | None = None
    max_retries: int = 0
    depends_on: tuple[str, ...] = ()
    run_anyway: bool = False
    dependency_timeout: float = inf
    memory: float | None = None
    seq: int = 0
    state: str = "waiting"
    met: dict[str, Task] = field(default_factory=dict)
    give_up_at: float = inf
    ready_at: float = 0.0
    arrival: int = 0
    attempt: int = 0
    deadline: float = inf
    grace_end: float = inf
    resume_at: float = inf
    asked: str | None = None
    roots: set[str] = field(default_factory=set)

    @property
    def open(self) -> bool:
        return self.state in OPEN

    @property
    def missing(self) -> list[str]:
        return [item for item in self.depends_on if item not in self.met]


@dataclass
class LaneRules:
    slots: int
    begins_at_once: bool = True
    grace: float = 1.0
    starts_since_guard: int = 0
    seen: object = None


@dataclass
class Rules:
    queue_size: int = 1_000
    reserved: int = 1
    max_wait: float = 60.0
    guard_interval: int = 16
    retry_base: float = 0.5
    retry_maximum: float = 60.0
    memory_limit: float = inf
    max_results: int = 10_000


class Naive:
    """All tasks, and what must follow from each event.

    Attributes:
        starts: (lane, id, attempt), in the order of starting.
        stops: (id, why) of attempts asked to stop.
        abandons: ids of attempts given up.
        ended: ids of the tasks that ended in this event.
        choices: ids of the tasks that the scheduler under test started in this event.
        arrivals: ids of those that it made ready, in order: of two that have waited equally long it may help either.
        remembered: ids of all ended tasks that are still known, in the order of their end.
    """

    def __init__(self, lanes: dict[str, LaneRules], rules: Rules, delays: dict[tuple[str, int], float]) -> None:
        self.lanes, self.rules, self.delays = lanes, rules, delays
        self.tasks: dict[str, Task] = {}
        self.paused = self.under_pressure = False
        self.count = 0
        self.starts: list[tuple[str, str, int]] = []
        self.stops: list[tuple[str, str]] = []
        self.abandons: list[str] = []
        self.ended: list[str] = []
        self.choices: list[str] = []
        self.arrivals: list[str] = []
        self.arrived = 0
        self.remembered: list[str] = []

    # ---- questions

    def all(self, *states: str) -> list[Task]:
        return [task for task in self.tasks.values() if task.state in states]

    def has_room_for(self, task_id: str) -> bool:
        return len(self.all("waiting", "ready", "backoff")) < self.rules.queue_size or self.is_awaited(task_id)

    def is_awaited(self, task_id: str) -> bool:
        return task_id not in self.tasks and any(task_id in task.missing for task in self.all("waiting"))

    def waits_for(self, task: Task) -> set[str]:
        """Ids of all that a task waits for, directly or not."""
        found: set[str] = set()
        behind = [task]
        while behind:
            item = behind.pop()
            for task_id in item.depends_on:
                other = item.met.get(task_id) or self.tasks.get(task_id)
                if task_id not in found and (other is None or other.open):
                    found.add(task_id)
                    behind += [] if other is None else [other]
        return found

    def urgencies(self) -> dict[str, int]:
        """How urgent each task that has not ended is: as the most urgent among itself and all that wait for it."""
        found = {task.id: task.priority for task in self.all(*OPEN)}
        for item in self.all("waiting"):
            for task_id in self.waits_for(item) & found.keys():
                found[task_id] = min(found[task_id], item.priority)
        return found

    def next_due(self) -> float:
        times = [t for task in self.tasks.values() for t in (task.deadline, task.grace_end, task.resume_at)]
        return min([*times, *(task.give_up_at for task in self.all("waiting") if task.missing)], default=inf)

    # ---- events

    def refusal(self, task: Task) -> str | None:
        if task.id in self.tasks:
            return "DuplicateTaskError"
        return "CyclicDependencyError" if task.id in self.waits_for(task) else None

    def submit(self, task: Task, now: float) -> None:
        self.count += 1
        task.seq = self.count
        self.tasks[task.id] = task
        for other in self.all("waiting"):
            if task.id in other.missing and other is not task:
                other.met[task.id] = task
        task.met = {item: self.tasks[item] for item in task.depends_on if item in self.tasks}
        task.give_up_at = now + task.dependency_timeout
        self.settle(now)

    def began(self, task: Task, now: float) -> None:
        if task.state == "running" and task.deadline == inf and task.timeout is not None:
            task.deadline = now + task.timeout

    def returned(self, task: Task, now: float) -> None:
        if task.asked is None:
            self._end(task, "completed")
        else:
            self._stopped(task, now)
        self.settle(now)

    def raised(self, task: Task, error: ErrorInfo, now: float) -> None:
        if task.asked is None:
            self._failed(task, error, "failed", now)
        else:
            self._stopped(task, now)
        self.settle(now)

    def cancel(self, task: Task, now: float) -> set[str]:
        if not task.open or task.asked in ("cancelled", "shutdown"):
            return set()
        before = {item.id for item in self.tasks.values() if item.open}
        if task.state in HOLDING:
            self._doom_those_behind(task)
            self._stop(task, "cancelled", now)
        else:
            self._end(task, "cancelled")
        self._cancel_the_doomed()
        after = {item.id for item in self.tasks.values() if item.open}
        self.settle(now)
        return (before - after) | {task.id}

    def wake(self, now: float) -> None:
        due = [(task.deadline, task) for task in self.all("running")]
        due += [(task.grace_end, task) for task in self.all("stopping")]
        due += [(task.resume_at, task) for task in self.all("backoff")]
        due += [(task.give_up_at, task) for task in self.all("waiting") if task.missing]
        # All that has come due, and only then what follows from it: nobody ends earlier by being looked at later.
        for at, task in due:
            if at <= now:
                self._come_due(task, now)
        self.settle(now)

    def _come_due(self, task: Task, now: float) -> None:
        if task.state == "running":
            self._stop(task, "timeout", now)
        elif task.state == "stopping":
            self._abandon(task, now)
        elif task.state == "backoff":
            self._make_ready(task, now)
        else:
            self._end(task, "failed")

    def _make_ready(self, task: Task, now: float) -> None:
        task.state, task.ready_at, task.resume_at = "ready", now, inf
        task.arrival = self.arrived + self.arrivals.index(task.id)

    def close_intake(self) -> None:
        self.paused = True
        for task in self.all("waiting", "ready", "backoff"):
            self._end(task, "cancelled")

    def stop_all(self, now: float) -> None:
        for task in self.all(*HOLDING):
            if task.asked in (None, "timeout"):
                self._stop(task, "shutdown", now)

    def abandon_all(self, now: float) -> None:
        for task in self.all(*HOLDING):
            self._abandon(task, now)

    def end_event(self, ended: list[str]) -> None:
        """The event is over. Take over in which order tasks ended in it; there is none to be worked out."""
        self.arrived += len(self.arrivals)
        for log in (self.starts, self.stops, self.abandons, self.ended, self.arrivals, self.choices):
            log.clear()
        self.remembered += ended
        while len(self.remembered) > self.rules.max_results:
            del self.tasks[self.remembered.pop(0)]

    # ---- ends

    def _end(self, task: Task, state: str) -> None:
        task.state = state
        task.deadline = task.grace_end = task.resume_at = inf
        self.ended.append(task.id)

    def _failed(self, task: Task, error: ErrorInfo, last: str, now: float) -> None:
        if error.permanent or task.attempt > task.max_retries or self.paused:
            self._end(task, last)
            return
        delay = self.delays[task.id, task.attempt]
        longest = min(self.rules.retry_maximum, self.rules.retry_base * 2 ** (task.attempt - 1))
        asked_for = min(error.retry_after or 0.0, self.rules.retry_maximum)
        assert asked_for <= delay <= asked_for + longest, (task, delay)
        task.state, task.resume_at = "backoff", now + delay
        task.deadline = task.grace_end = inf

    def _stop(self, task: Task, why: str, now: float) -> None:
        first, task.asked = task.asked is None, why
        if not first:
            return
        self.stops.append((task.id, why))
        task.state, task.deadline, task.grace_end = "stopping", inf, now + self.lanes[task.lane].grace
        if self.lanes[task.lane].grace == 0:
            self._abandon(task, now)

    def _abandon(self, task: Task, now: float) -> None:
        self.abandons.append(task.id)
        self._stopped(task, now)

    def _stopped(self, task: Task, now: float) -> None:
        if task.asked == "timeout":
            self._failed(task, ErrorInfo(type_name="", message=""), "timeout", now)
        else:
            self._end(task, "cancelled")

    # ---- what follows

    def settle(self, now: float) -> None:
        self._cancel_the_doomed()
        for task in self.all("waiting"):
            if len(task.met) == len(task.depends_on) and not any(item.open for item in task.met.values()):
                self._make_ready(task, now)
        for name in self._in_some_order():
            lane = self.lanes[name]
            # Somebody may be starving merely because time has passed. That nobody need notice until something changes
            # in the lane, but the scheduler is free to.
            if lane.seen != self._picture(name) or any(self.tasks[item].lane == name for item in self.choices):
                while (task := self._first_in_line(name, lane, now)) is not None:
                    self._start(task, lane, now)
                lane.seen = self._picture(name)

    def _in_some_order(self) -> list[str]:
        """The lanes. Which comes first is told: it matters only where two of them want the same memory."""
        told = [self.tasks[item].lane for item in self.choices]
        return sorted(self.lanes, key=lambda name: told.index(name) if name in told else len(told))

    def _cancel_the_doomed(self) -> None:
        """Cancel whoever waits for what did not complete, and whoever waits for them."""
        while doomed := [task for task in self.all("waiting") if not task.run_anyway and self._culprits(task)]:
            for task in doomed:
                task.roots = {root for item in self._culprits(task) for root in item.roots or {item.id}}
                self._end(task, "cancelled")

    @staticmethod
    def _culprits(task: Task) -> list[Task]:
        return [item for item in task.met.values() if not item.open and item.state != "completed"]

    def _doom_those_behind(self, task: Task) -> None:
        """The end of a running task that is being cancelled is certain: who waits for it goes now."""
        for other in self.all("waiting"):
            if other.met.get(task.id) is task and not other.run_anyway:
                other.roots = {task.id}
                self._end(other, "cancelled")

    def _start(self, task: Task, lane: LaneRules, now: float) -> None:
        guards_turn = lane.starts_since_guard >= self.rules.guard_interval - 1
        lane.starts_since_guard = 0 if guards_turn and task is self._starving(task.lane, now) else (
            lane.starts_since_guard + 1
        )  # fmt: skip
        task.state, task.asked = "running", None
        task.attempt += 1
        if lane.begins_at_once and task.timeout is not None:
            task.deadline = now + task.timeout
        self.starts.append((task.lane, task.id, task.attempt))

    def _picture(self, name: str) -> object:
        """All that decides who may start, but for the time."""
        urgent = self.urgencies()
        line = {task.id: urgent[task.id] for task in self._ready(name)}
        large = any(task.memory is not None for task in self._ready(name))
        return (
            line,
            [task.id for task in self.all(*HOLDING) if task.lane == name],
            self._memory_left() if large else inf,
        )

    def _ready(self, name: str) -> list[Task]:
        return [task for task in self.all("ready") if task.lane == name]

    def _memory_left(self) -> float:
        """What large tasks may still set aside; one may always run, however large."""
        taken = [task.memory for task in self.all(*HOLDING) if task.memory is not None]
        if not taken:
            return inf
        return -inf if self.under_pressure else self.rules.memory_limit - sum(taken)

    def _fits(self, task: Task) -> bool:
        return task.memory is None or task.memory <= self._memory_left()

    def _starving(self, name: str, now: float) -> Task | None:
        """Who has been ready for longest, if that is too long; no large one passes another that waited longer."""
        line = sorted(self._ready(name), key=lambda task: (task.ready_at, task.arrival))
        small = next((task for task in line if task.memory is None), None)
        large = next((task for task in line if task.memory is not None), None)
        able = [task for task in (small, large) if task is not None and self._fits(task)]
        longest = min(able, key=lambda task: (task.ready_at, task.seq), default=None)
        return longest if longest is not None and now - longest.ready_at > self.rules.max_wait else None

    def _first_in_line(self, name: str, lane: LaneRules, now: float) -> Task | None:
        free = lane.slots - sum(task.lane == name for task in self.all(*HOLDING))
        if free == 0 or self.paused:
            return None
        urgency = self.urgencies()
        line = sorted(self._ready(name), key=lambda task: (urgency[task.id], task.seq))
        large = next((task for task in line if task.memory is not None), None)
        if large is not None and not self._fits(large):
            line = [task for task in line if task.memory is None]
        if not line or urgency[line[0].id] == CRITICAL:
            return line[0] if line else None
        starving = self._starving(name, now)
        if starving is not None and lane.starts_since_guard >= self.rules.guard_interval - 1:
            return starving
        reserved = self.rules.reserved if lane.slots >= 4 else 0
        return None if urgency[line[0].id] > HIGH and free <= reserved else line[0]
