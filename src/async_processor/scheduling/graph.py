"""Who waits for whom, and how urgent that makes them.

Promises:

- A task may name dependencies that are not submitted yet. Their ids are *awaited* until they come.
- No cycle ever enters. One can only be closed by a task that others already wait for, so only then is it looked
  for; from both ends at once, which costs no more than twice the smaller side.
- A task is as urgent as the most urgent task that waits for it, directly or not. Each record counts its waiting
  dependents by urgency, so that a change costs O(1) per task it really reaches, also when urgency falls again.
- Nothing here recurses: a chain of 100,000 is walked with a stack of our own.

Ended tasks are kept for as long as the scheduler remembers them, for dependents that are submitted later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..errors import CyclicDependencyError, DuplicateTaskError
from ..model import TaskPriority, TaskStatus
from .records import TaskRecord

_URGENCIES = range(min(TaskPriority), max(TaskPriority) + 1)
UrgencyChanged = Callable[[TaskRecord, int], None]


class DependencyGraph:
    """All records by id, and the edges between them.

    Args:
        urgency_changed: told of a record and its former urgency whenever its urgency changed.
    """

    __slots__ = ("_awaited", "_urgency_changed", "records")

    def __init__(self, urgency_changed: UrgencyChanged) -> None:
        self.records: dict[str, TaskRecord] = {}
        self._awaited: dict[str, dict[TaskRecord, None]] = {}
        self._urgency_changed = urgency_changed

    def is_awaited(self, task_id: str) -> bool:
        """Whether a submitted task waits for this id, which is not submitted."""
        return task_id in self._awaited

    def missing(self, record: TaskRecord) -> list[str]:
        """The dependencies of a record that nobody has submitted."""
        if not record.depends_on:
            return []
        known = record.dependencies or {}
        return [task_id for task_id in record.depends_on if task_id not in known]

    def add(self, record: TaskRecord) -> list[TaskRecord]:
        """Take a record in and link it both ways.

        Returns:
            Those of its dependencies that ended without completing, in the order they are named.

        Raises:
            DuplicateTaskError: the id is known.
            CyclicDependencyError: the record would wait for itself. In both cases nothing has changed.
        """
        if record.id in self.records:
            raise DuplicateTaskError(
                f"a task with the id {record.id!r} was submitted before; leave the id out to get a new one",
                field="id",
                task_id=record.id,
            )
        if record.depends_on:
            self._refuse_cycle(record)
        self.records[record.id] = record
        failed = self._link_dependencies(record) if record.depends_on else []
        waiting = self._awaited.pop(record.id, None)
        if waiting is not None:
            self._adopt(record, waiting)
        return failed

    def add_ended(self, record: TaskRecord) -> list[TaskRecord]:
        """Take in the record of a task that ended in an earlier run.

        Returns:
            The records that await it; each still counts it in ``unmet``, until it is told.
        """
        self.records[record.id] = record
        waiting = list(self._awaited.pop(record.id, ()))
        for dependent in waiting:
            assert dependent.dependencies is not None, f"{dependent} waits, and has no dependencies"
            dependent.dependencies[record.id] = record
        return waiting

    def settle(self, record: TaskRecord) -> list[TaskRecord]:
        """Cut an ended record loose: it no longer waits, lends or is waited for.

        Returns:
            The dependents that waited for it; each still counts it in ``unmet``, until it is told.
        """
        if record.dependencies is not None and record.unmet:
            self._withdraw(record)
        dependents = [] if record.dependents is None else list(record.dependents)
        # Results must not hang on to the tasks that led to them: that would keep whole chains in memory.
        record.dependencies = record.dependents = record.lent = None
        return dependents

    def forget(self, record: TaskRecord) -> None:
        """Drop an ended record; its id counts as never submitted from now on."""
        del self.records[record.id]

    # ---- links

    def _link_dependencies(self, record: TaskRecord) -> list[TaskRecord]:
        record.dependencies = {}
        failed = []
        for task_id in record.depends_on:
            dependency = self.records.get(task_id)
            if dependency is None:
                self._awaited.setdefault(task_id, {})[record] = None
                record.unmet += 1
                continue
            record.dependencies[task_id] = dependency
            if not dependency.finished:
                record.unmet += 1
                self._attach(record, dependency)
            elif dependency.status is not TaskStatus.COMPLETED:
                failed.append(dependency)
        return failed

    def _adopt(self, record: TaskRecord, waiting: Iterable[TaskRecord]) -> None:
        for dependent in waiting:
            assert dependent.dependencies is not None, f"{dependent} waits, and has no dependencies"
            dependent.dependencies[record.id] = record
            self._attach(dependent, record)

    def _attach(self, dependent: TaskRecord, dependency: TaskRecord) -> None:
        if dependency.dependents is None:
            dependency.dependents = {}
            dependency.lent = [0] * (len(_URGENCIES) + 1)
        dependency.dependents[dependent] = None
        self._lend(dependency, None, dependent.urgency)

    def _withdraw(self, record: TaskRecord) -> None:
        """Take an ended record, which still waited, out of its dependencies."""
        known = record.dependencies or {}
        for task_id in record.depends_on:
            dependency = known.get(task_id)
            if dependency is None:
                waiting = self._awaited.get(task_id, {})
                waiting.pop(record, None)
                if not waiting:
                    self._awaited.pop(task_id, None)
            elif dependency.dependents is not None and record in dependency.dependents:
                del dependency.dependents[record]
                self._lend(dependency, record.urgency, None)

    # ---- urgency

    def _lend(self, dependency: TaskRecord, before: int | None, after: int | None) -> None:
        """One dependent's urgency went from ``before`` to ``after``; None is for absent. Carries it on backwards."""
        changes = [(dependency, before, after)]
        while changes:
            record, old, new = changes.pop()
            assert record.lent is not None, f"{record} has dependents, and no count of them"
            if old is not None:
                record.lent[old] -= 1
            if new is not None:
                record.lent[new] += 1
            # What is less urgent than the record already is neither raises it by coming nor lowers it by going.
            if (new is not None and new < record.urgency) or (old is not None and old <= record.urgency):
                changes += self._renew(record, record.lent)

    def _renew(self, record: TaskRecord, lent: list[int]) -> list[tuple[TaskRecord, int | None, int | None]]:
        former = record.urgency
        now = next((level for level in _URGENCIES if level < record.priority and lent[level]), record.priority)
        if former == now:
            return []
        record.urgency = now
        self._urgency_changed(record, former)
        return [(item, former, now) for item in (record.dependencies or {}).values() if not item.finished]

    # ---- cycles

    def _refuse_cycle(self, record: TaskRecord) -> None:
        if record.id in record.depends_on:
            raise CyclicDependencyError([record.id, record.id], task_id=record.id)
        waiting = self._awaited.get(record.id)
        if waiting is None:
            return
        meeting = self._meeting_point(record, waiting)
        if meeting is not None:
            raise CyclicDependencyError(self._circle(record), task_id=record.id)

    def _meeting_point(self, record: TaskRecord, waiting: Iterable[TaskRecord]) -> TaskRecord | None:
        """A task that waits for ``record`` and that ``record`` would wait for: searched from both sides in turn."""
        roots = [self.records[item] for item in record.depends_on if item in self.records]
        # The two sides can only meet in an unfinished task: those that ended wait for nobody.
        upward = _Search([item for item in roots if not item.finished], self._waits_for)
        downward = _Search(list(waiting), self._waited_by)
        while upward.open and downward.open:
            if upward.step() in downward.seen:
                return upward.last
            if downward.step() in upward.seen:
                return downward.last
        return None

    @staticmethod
    def _waits_for(record: TaskRecord) -> Iterator[TaskRecord]:
        return (item for item in (record.dependencies or {}).values() if not item.finished)

    @staticmethod
    def _waited_by(record: TaskRecord) -> Iterator[TaskRecord]:
        return iter(record.dependents or ())

    def _circle(self, record: TaskRecord) -> list[str]:
        """The ids of one circle through ``record``, in the order in which each waits for the next."""
        came_from: dict[str, str] = {}
        stack = [(item, record.id) for item in record.depends_on]
        while stack:
            task_id, waiter = stack.pop()
            if task_id == record.id:
                path, step = [record.id], waiter
                while step != record.id:
                    path.append(step)
                    step = came_from[step]
                return [record.id, *reversed(path[1:]), record.id]
            if task_id not in came_from and task_id in self.records and not self.records[task_id].finished:
                came_from[task_id] = waiter
                stack += [(item, task_id) for item in self.records[task_id].depends_on]
        raise AssertionError("a circle was found from both sides but not walked")  # pragma: no cover

    # ---- invariants

    def check(self, *, cascading: bool) -> None:
        """Assert that edges, counts and urgencies agree with each other. Slow; for tests.

        Args:
            cascading: whether some dependents have not been told yet of an end; their counts are behind.
        """
        for record in self.records.values():
            if record.finished:
                assert (record.dependencies, record.dependents, record.lent) == (None, None, None), record
                continue
            self._check_edges(record, cascading=cascading)
            self._check_urgency(record)
        for task_id, waiting in self._awaited.items():
            assert waiting, f"nobody awaits {task_id}"
            assert task_id not in self.records, f"{task_id} is awaited and known"
            assert all(task_id in item.depends_on and not item.finished for item in waiting)

    def _check_edges(self, record: TaskRecord, *, cascading: bool) -> None:
        known = record.dependencies or {}
        unfinished = [item for item in known.values() if not item.finished]
        missing = self.missing(record)
        open_edges = len(unfinished) + len(missing)
        assert record.unmet == open_edges or (cascading and record.unmet > open_edges), record
        assert all(record in (item.dependents or ()) for item in unfinished), record
        assert all(record in self._awaited[item] for item in missing), record
        assert all(not item.finished for item in record.dependents or ()), record

    def _check_urgency(self, record: TaskRecord) -> None:
        waiting = [item.urgency for item in record.dependents or ()]
        assert record.urgency == min([record.priority, *waiting]), record
        counted = [waiting.count(level) for level in range(len(_URGENCIES) + 1)]
        assert record.lent is None or record.lent == counted, record


class _Search:
    """A walk along edges, one record at a time."""

    __slots__ = ("_next", "last", "open", "seen")

    def __init__(self, start: list[TaskRecord], following: Callable[[TaskRecord], Iterator[TaskRecord]]) -> None:
        self.open = list(start)
        self.seen = set(start)
        self.last: TaskRecord | None = None
        self._next = following

    def step(self) -> TaskRecord:
        """Visit one record and open those behind it. Both sides mark what they *opened*, so none slips by."""
        record = self.open.pop()
        for item in self._next(record):
            if item not in self.seen:
                self.seen.add(item)
                self.open.append(item)
        self.last = record
        return record
