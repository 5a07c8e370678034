import inspect
import logging

import pytest

from async_processor.errors import ConfigurationError
from async_processor.monitoring.hub import HOOKS, ObserverHub
from async_processor.monitoring.observer import Observer


class Recorder(Observer):
    def __init__(self, name="recorder", log=None):
        self.name = name
        self.log = [] if log is None else log

    def started(self, at):
        self.log.append((self.name, "started", at))

    def submission_rejected(self, reason, at):
        self.log.append((self.name, reason, at))


class Failing(Observer):
    def started(self, at):
        raise ValueError("observer is broken")


def test_every_hook_of_the_protocol_is_an_attribute_of_the_hub():
    hub = ObserverHub()

    assert set(HOOKS) == {name for name, _ in inspect.getmembers(Observer, inspect.isfunction)}
    assert set(HOOKS) == set(ObserverHub.__annotations__)
    assert not any(getattr(hub, name) for name in HOOKS)


def test_a_hook_nobody_listens_to_is_false_and_may_be_called_all_the_same():
    hub = ObserverHub()

    assert not hub.started
    hub.started(1.0)
    hub.submission_rejected("invalid", 1.0)


def test_only_hooks_that_an_observer_overrides_are_true():
    hub = ObserverHub(Recorder())

    assert [name for name in HOOKS if getattr(hub, name)] == ["started", "submission_rejected"]


def test_a_hook_put_on_the_instance_counts_as_overridden():
    seen = []
    observer = Observer()
    observer.stopped = seen.append
    hub = ObserverHub(observer)

    hub.stopped(3.0)

    assert seen == [3.0]


def test_observers_are_told_in_the_order_of_their_addition():
    log = []
    hub = ObserverHub(Recorder("a", log), Recorder("b", log))

    hub.started(1.0)
    hub.submission_rejected("cycle", 2.0)

    assert log == [("a", "started", 1.0), ("b", "started", 1.0), ("a", "cycle", 2.0), ("b", "cycle", 2.0)]


def test_an_observer_added_twice_is_told_once_and_one_that_was_removed_is_not_told():
    observer = Recorder()
    hub = ObserverHub(observer, observer)

    hub.started(1.0)
    assert hub.remove(observer)
    assert not hub.remove(observer)
    hub.started(2.0)

    assert observer.log == [("recorder", "started", 1.0)]
    assert hub.observers == ()


def test_observers_are_told_apart_by_identity():
    class Equal(Recorder):
        def __eq__(self, other):
            return True

        __hash__ = None

    one, other = Equal("one"), Equal("other")
    hub = ObserverHub(one, other)

    hub.remove(one)
    hub.started(1.0)

    assert one.log == []
    assert other.log == [("other", "started", 1.0)]


def test_an_observer_that_raises_is_removed_and_logged_once_with_its_traceback(caplog):
    well = Recorder()
    hub = ObserverHub(Failing(), well)

    with caplog.at_level(logging.ERROR, "async_processor.monitoring"):
        hub.started(1.0)
        hub.started(2.0)

    assert well.log == [("recorder", "started", 1.0), ("recorder", "started", 2.0)]
    assert hub.observers == (well,)
    [record] = caplog.records
    assert "Failing" in record.getMessage()
    assert "started" in record.getMessage()
    assert "observer is broken" in record.exc_text


def test_an_observer_that_raises_in_the_hook_of_two_arguments_is_removed_as_well(caplog):
    class FailingAtRejection(Observer):
        def submission_rejected(self, reason, at):
            raise RuntimeError(reason)

    well = Recorder()
    hub = ObserverHub(FailingAtRejection(), well)

    hub.submission_rejected("queue_full", 1.0)

    assert hub.observers == (well,)
    assert well.log == [("recorder", "queue_full", 1.0)]
    assert len(caplog.records) == 1


def test_adding_and_removing_within_a_hook_takes_effect_with_the_next_event():
    log = []
    late = Recorder("late", log)

    class Changing(Observer):
        def started(self, at):
            hub.remove(self)
            hub.add(late)
            log.append(("changing", "started", at))

    hub = ObserverHub(Changing(), Recorder("there", log))

    hub.started(1.0)
    hub.started(2.0)

    assert log == [
        ("changing", "started", 1.0),
        ("there", "started", 1.0),
        ("there", "started", 2.0),
        ("late", "started", 2.0),
    ]


@pytest.mark.parametrize("wrong", [object(), Recorder, None])
def test_what_is_no_observer_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="instance of Observer"):
        ObserverHub().add(wrong)


def test_a_hook_that_is_a_coroutine_function_is_refused_when_added():
    class Async(Observer):
        async def task_finished(self, event):
            """Nobody would await it."""

    with pytest.raises(ConfigurationError, match=r"Async\.task_finished must not be async"):
        ObserverHub(Async())
