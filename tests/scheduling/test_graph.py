"""Edges between tasks: circles, urgency along them, and that no length of chain is too long."""

from __future__ import annotations

import itertools
import random

import pytest
from tests.scheduling.harness import BATCH, CRITICAL, HIGH, LOW, NORMAL

from async_processor.errors import CyclicDependencyError, DuplicateTaskError
from async_processor.model import TaskPriority
from async_processor.scheduling.graph import DependencyGraph
from async_processor.scheduling.lifecycle import Step
from async_processor.scheduling.records import TaskRecord


class Web:
    """A graph, and what it told of urgencies."""

    def __init__(self, *, check: bool = True) -> None:
        self.changes: list[tuple[str, int, int]] = []
        self.graph = DependencyGraph(lambda record, former: self.changes.append((record.id, former, record.urgency)))
        self._check = check

    def add(self, task_id: str, *after: str, priority: TaskPriority = NORMAL) -> list[str]:
        """Gives the ids of the dependencies that did not complete."""
        failed = self.graph.add(TaskRecord(task_id, depends_on=after, priority=priority))
        self.check()
        return [record.id for record in failed]

    def end(self, task_id: str, *steps: Step) -> list[str]:
        """Take a task to its end; gives the ids of those that waited for it."""
        record = self.graph.records[task_id]
        for step in steps or (Step.RELEASE, Step.START, Step.SUCCEED):
            record.advance(step)
        dependents = self.graph.settle(record)
        for dependent in dependents:
            dependent.unmet -= 1
        self.check()
        return [item.id for item in dependents]

    def urgency(self, task_id: str) -> int:
        return self.graph.records[task_id].urgency

    def check(self) -> None:
        if self._check:
            self.graph.check(cascading=False)


# ---- links


def test_a_record_counts_what_it_waits_for_submitted_or_not():
    web = Web()
    web.add("a")
    web.add("c", "a", "b")
    record = web.graph.records["c"]
    seen = [(record.unmet, web.graph.missing(record), web.graph.is_awaited("b"))]
    web.add("b")
    seen.append((record.unmet, web.graph.missing(record), web.graph.is_awaited("b")))
    web.end("a")
    seen.append((record.unmet, web.graph.missing(record), web.graph.is_awaited("b")))

    assert seen == [(2, ["b"], True), (2, [], False), (1, [], False)]


def test_dependents_are_told_in_the_order_in_which_they_came():
    web = Web()
    web.add("late", "a")
    web.add("a")
    for name in "xyz":
        web.add(name, "a")

    assert web.end("a") == ["late", "x", "y", "z"]


def test_of_dependencies_that_ended_those_that_did_not_complete_are_named_in_order():
    web = Web()
    for name, steps in (
        ("failed", (Step.RELEASE, Step.START, Step.FAIL)),
        ("completed", ()),
        ("cancelled", (Step.CANCEL,)),
    ):
        web.add(name)
        web.end(name, *steps)

    assert web.add("late", "cancelled", "completed", "failed", "open") == ["cancelled", "failed"]
    assert web.graph.records["late"].unmet == 1


def test_an_ended_record_no_longer_waits_for_or_lends_to_those_it_waited_for():
    web = Web()
    web.add("a", priority=BATCH)
    web.add("b", "a", "never", priority=HIGH)

    web.end("b", Step.CANCEL)

    assert web.urgency("a") == BATCH
    assert not web.graph.is_awaited("never")
    assert web.end("a") == []


def test_one_of_two_who_await_an_id_may_go():
    web = Web()
    web.add("one", "later")
    web.add("two", "later")

    web.end("one", Step.CANCEL)
    web.add("later")

    assert web.end("later") == ["two"]


def test_a_forgotten_id_counts_as_never_submitted():
    web = Web()
    web.add("a")
    web.end("a")
    web.graph.forget(web.graph.records["a"])

    assert web.add("b", "a") == []
    assert web.graph.is_awaited("a")


def test_a_known_id_is_refused():
    web = Web()
    web.add("a")

    with pytest.raises(DuplicateTaskError):
        web.add("a", "b")

    assert not web.graph.is_awaited("b")


# ---- circles


def test_a_task_cannot_wait_for_itself():  # E14
    web = Web()

    with pytest.raises(CyclicDependencyError, match="task 'a' would wait for itself: a -> a; remove one") as refused:
        web.add("a", "b", "a")

    assert refused.value.path == ("a", "a")
    assert (refused.value.task_id, refused.value.field) == ("a", "depends_on")
    assert web.graph.records == {}


def test_two_tasks_cannot_wait_for_each_other():  # E14
    web = Web()
    web.add("a", "b")

    with pytest.raises(CyclicDependencyError, match="b -> a -> b") as refused:
        web.add("b", "a")

    assert refused.value.path == ("b", "a", "b")


@pytest.mark.parametrize("order", ["first to last", "last to first", "at random", "closed in the middle"])
def test_a_circle_of_a_thousand_is_refused_whoever_closes_it(order: str):  # E14
    ids = list(range(1_000))
    match order:
        case "last to first":
            ids.reverse()
        case "at random":
            random.Random(3).shuffle(ids)
        case "closed in the middle":
            ids.remove(500)
            ids.append(500)
    web = Web(check=False)
    for number in ids[:-1]:
        web.add(str(number), str((number + 1) % 1_000))
    known = dict(web.graph.records)

    with pytest.raises(CyclicDependencyError) as refused:
        web.add(str(ids[-1]), str((ids[-1] + 1) % 1_000))

    path = refused.value.path
    assert len(path) == 1_001
    assert path[0] == path[-1] == str(ids[-1])
    assert all(int(after) == (int(before) + 1) % 1_000 for before, after in itertools.pairwise(path))
    assert str(refused.value).count(" -> ") == 11, "the message shows both ends of a long path"
    assert web.graph.records == known
    web.graph.check(cascading=False)


def test_a_circle_that_a_late_task_closes_among_other_edges_is_refused():  # E14
    web = Web()
    web.add("end")
    web.add("a", "late", "end")
    web.add("b", "a", "end")
    web.add("c", "b", "elsewhere")
    web.add("dead end", "end")

    with pytest.raises(CyclicDependencyError) as refused:
        web.add("late", "dead end", "end", "c", "unknown")

    assert refused.value.path == ("late", "c", "b", "a", "late")
    assert not web.graph.is_awaited("unknown")
    web.check()


def test_two_ways_to_one_task_are_no_circle():
    web = Web()
    web.add("join", "left", "right")
    web.add("left", "root")
    web.add("right", "root")

    assert web.add("root") == []


def test_an_ended_task_closes_no_circle():
    web = Web()
    web.add("a")
    web.end("a")
    web.add("b", "a", "c")

    assert web.add("c", "a") == []


@pytest.mark.parametrize("seed", range(40))
def test_exactly_the_circles_are_refused(seed: int):
    """Random edges between a few ids, against a search that tries every way."""
    rng = random.Random(seed)
    web = Web()
    names = [str(number) for number in range(9)]
    rng.shuffle(names)
    edges: dict[str, tuple[str, ...]] = {}
    for name in names:
        after = tuple(rng.sample(names, rng.randint(0, 3)))
        if reaches(edges | {name: after}, name):
            with pytest.raises(CyclicDependencyError) as refused:
                web.add(name, *after)
            assert_is_a_circle(edges | {name: after}, refused.value.path)
            web.check()
        else:
            web.add(name, *after)
            edges[name] = after

    assert set(web.graph.records) == set(edges)


def reaches(edges: dict[str, tuple[str, ...]], name: str) -> bool:
    found: set[str] = set()
    waiting = list(edges[name])
    while waiting:
        item = waiting.pop()
        if item not in found:
            found.add(item)
            waiting += edges.get(item, ())
    return name in found


def assert_is_a_circle(edges: dict[str, tuple[str, ...]], path: tuple[str, ...]) -> None:
    assert path[0] == path[-1]
    assert len(set(path)) == len(path) - 1
    assert all(after in edges[before] for before, after in itertools.pairwise(path))


# ---- urgency


def test_urgency_spreads_to_all_that_are_waited_for_and_is_told_once_per_change():
    web = Web()
    web.add("a", priority=BATCH)
    web.add("b", "a", priority=LOW)
    web.changes.clear()

    web.add("c", "b", "a", priority=CRITICAL)

    assert [web.urgency(name) for name in "abc"] == [CRITICAL] * 3
    assert sorted(web.changes) == [("a", LOW, CRITICAL), ("b", LOW, CRITICAL)]


def test_urgency_that_changes_nothing_is_not_carried_further():
    web = Web()
    web.add("a", priority=CRITICAL)
    web.add("b", "a", priority=CRITICAL)
    web.add("c", "b", priority=CRITICAL)
    web.add("d", "c", priority=BATCH)

    assert web.changes == []


def test_a_task_never_becomes_less_urgent_than_it_is_itself():
    web = Web()
    web.add("a", priority=HIGH)
    web.add("b", "a", priority=CRITICAL)
    web.add("c", "a", priority=BATCH)
    web.end("b", Step.CANCEL)

    assert web.urgency("a") == HIGH


def test_urgency_passes_by_a_dependency_that_has_ended():
    web = Web()
    web.add("ended", priority=BATCH)
    web.add("open", priority=BATCH)
    web.add("join", "ended", "open", priority=LOW)
    web.end("ended")
    web.changes.clear()

    web.add("urgent", "join", priority=CRITICAL)

    assert web.changes == [("join", LOW, CRITICAL), ("open", LOW, CRITICAL)]


@pytest.mark.parametrize("seed", range(20))
def test_urgency_is_right_after_any_order_of_coming_and_going(seed: int):
    """The graph's own check computes every urgency anew, from the edges."""
    rng = random.Random(seed)
    web = Web()
    names = [str(number) for number in range(30)]
    for name in rng.sample(names, len(names)):
        # Larger numbers wait for smaller ones, so there is no circle; many come before what they wait for.
        after = rng.sample(names[: int(name)], min(int(name), rng.randint(0, 3)))
        web.add(name, *after, priority=TaskPriority(rng.randint(1, 5)))
    while web.graph.records:
        free = [record for record in web.graph.records.values() if not record.unmet and not record.finished]
        waiting = [record for record in web.graph.records.values() if record.unmet]
        if waiting and rng.random() < 0.3:
            # Cancelled, and with it whoever waits for it.
            doomed = [rng.choice(waiting).id]
            while doomed:
                task_id = doomed.pop()
                if not web.graph.records[task_id].finished:
                    doomed += web.end(task_id, Step.CANCEL)
        elif free:
            web.end(rng.choice(free).id)
        else:
            break

    assert all(record.finished for record in web.graph.records.values())
