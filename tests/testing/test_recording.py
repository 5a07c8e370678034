from __future__ import annotations

import pytest

from async_processor.model import TaskPriority, TaskResult, TaskStatus
from async_processor.monitoring.hub import HOOKS, ObserverHub
from async_processor.monitoring.observer import TaskFinished, TaskSubmitted
from async_processor.testing import RecordingObserver


def submitted(task_id: str) -> TaskSubmitted:
    return TaskSubmitted(task_id, "work", TaskPriority.NORMAL, 0.0)


def finished(task_id: str) -> TaskFinished:
    result = TaskResult(task_id=task_id, status=TaskStatus.COMPLETED)
    return TaskFinished(task_id, "work", TaskPriority.NORMAL, TaskStatus.COMPLETED, 1, 0.0, 0.0, 0.0, result)


def test_every_hook_is_recorded_in_order():
    observer = RecordingObserver()
    hub = ObserverHub(observer)

    for name in HOOKS:
        getattr(hub, name)(*((name, 1.0) if name == "submission_rejected" else (name,)))

    assert observer.names() == list(HOOKS)
    assert observer.of("submission_rejected") == [("submission_rejected", 1.0)]
    assert hub.observers == (observer,)


def test_names_may_be_asked_for_one_task():
    observer = RecordingObserver()
    observer.task_submitted(submitted("a"))
    observer.task_submitted(submitted("b"))
    observer.task_finished(finished("a"))

    assert observer.names("a") == ["task_submitted", "task_finished"]
    assert list(observer.results()) == ["a"]


def test_one_result_per_task_is_right():
    observer = RecordingObserver()
    for event in ("a", "b"):
        observer.task_submitted(submitted(event))
        observer.task_finished(finished(event))

    observer.assert_one_result_per_task()


@pytest.mark.parametrize(
    ("events", "wrong"),
    [
        ([submitted("a")], "{'a': 0}"),
        ([submitted("a"), finished("a"), finished("a")], "{'a': 2}"),
        ([finished("a")], "{'a': 1}"),
    ],
)
def test_no_two_or_unexpected_results_are_wrong(events: list[TaskSubmitted | TaskFinished], wrong: str):
    observer = RecordingObserver()
    for event in events:
        getattr(observer, "task_submitted" if isinstance(event, TaskSubmitted) else "task_finished")(event)

    with pytest.raises(AssertionError, match=wrong):
        observer.assert_one_result_per_task()


def test_beyond_its_limit_the_oldest_are_dropped_and_it_no_longer_judges():
    observer = RecordingObserver(limit=2)
    for task_id in ("a", "b", "c"):
        observer.task_submitted(submitted(task_id))

    assert [event.task_id for event in observer.of("task_submitted")] == ["b", "c"]
    assert observer.dropped == 1
    with pytest.raises(AssertionError, match="1 events were dropped"):
        observer.assert_one_result_per_task()
