"""The error tree: what each error says, carries and also is."""

from __future__ import annotations

import builtins
import pickle
import re

import pytest

from async_processor import errors
from async_processor.errors import (
    AsyncProcessorError,
    ConfigurationError,
    CyclicDependencyError,
    DuplicateTaskError,
    InvalidPayloadError,
    InvalidTaskError,
    MissingExtraError,
    PermanentError,
    ProviderError,
    RetryableError,
    TaskTimeoutError,
    UnknownTaskError,
    WorkerDiedError,
)

ALL = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, AsyncProcessorError)]


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    drawn = [
        (len(indent), name, also or "")
        for indent, name, also in re.findall(
            r"^ {4}([│├└─ ]*)(\w+) *(?:\((\w+)\))?", errors.__doc__ or "", re.MULTILINE
        )
        if name in vars(errors)
    ]

    assert drawn == [(4 * depth, item.__name__, _standard_base(item)) for depth, item in _walk(AsyncProcessorError)]


def _walk(root: type[Exception], depth: int = 0) -> list[tuple[int, type[Exception]]]:
    own = [item for item in root.__subclasses__() if item.__module__ == errors.__name__]
    return [(depth, root), *(line for item in own for line in _walk(item, depth + 1))]


def _standard_base(error: type[Exception]) -> str:
    return next(
        (base.__name__ for base in error.__bases__ if base is not Exception and hasattr(builtins, base.__name__)), ""
    )


def test_every_error_of_the_module_is_in_the_tree():
    assert {item for _, item in _walk(AsyncProcessorError)} == set(ALL)


@pytest.mark.parametrize("error", ALL, ids=lambda item: item.__name__)
def test_every_error_says_when_it_is_raised(error: type[AsyncProcessorError]):
    assert error.__doc__
    assert error.__doc__ != AsyncProcessorError.__doc__ or error is AsyncProcessorError


def test_an_error_carries_its_message_and_the_task_it_concerns():
    error = AsyncProcessorError("it went wrong", task_id="a")

    assert (str(error), error.message, error.task_id) == ("it went wrong", "it went wrong", "a")
    assert AsyncProcessorError("about nobody").task_id is None


def test_an_unknown_task_reads_as_a_sentence_though_it_is_a_key_error():
    error = UnknownTaskError("no task 'a' is known", task_id="a")

    assert isinstance(error, KeyError)
    assert str(error) == "no task 'a' is known"


@pytest.mark.parametrize(
    ("error", "standard"),
    [
        (ConfigurationError("x"), ValueError),
        (MissingExtraError("voice", needed_for="this"), ImportError),
        (DuplicateTaskError("x"), ValueError),
        (TaskTimeoutError("x"), TimeoutError),
        (InvalidPayloadError("x"), ValueError),
    ],
)
def test_an_error_can_be_caught_as_the_standard_one_that_it_is(error: AsyncProcessorError, standard: type[Exception]):
    with pytest.raises(standard):
        raise error


def test_the_message_of_a_missing_extra_holds_the_line_that_installs_it():
    error = MissingExtraError("voice", needed_for="transcription", task_id="a")

    assert str(error) == (
        "transcription needs the optional extra 'voice': pip install 'advanced-async-processor[voice]'"
    )
    assert (error.extra, error.needed_for, error.task_id) == ("voice", "transcription", "a")


def test_an_invalid_task_names_its_field():
    assert (InvalidTaskError("x", field="timeout").field, InvalidTaskError("x").field) == ("timeout", None)
    assert InvalidPayloadError("x", field="text").field == "text"


@pytest.mark.parametrize(("length", "shown"), [(2, "0 -> 1"), (12, " -> ".join(map(str, range(12))))])
def test_a_short_circle_is_shown_whole(length: int, shown: str):
    error = CyclicDependencyError([str(number) for number in range(length)], task_id="0")

    assert str(error) == f"task '0' would wait for itself: {shown}; remove one of these dependencies"


def test_a_long_circle_is_shown_by_its_ends_and_kept_whole():
    path = [str(number) for number in range(1_000)]
    error = CyclicDependencyError(path, task_id="0")

    assert "0 -> 1 -> 2 -> 3 -> 4 -> 5 -> ... -> 995 -> 996 -> 997 -> 998 -> 999;" in str(error)
    assert error.path == tuple(path)


@pytest.mark.parametrize(
    ("exit_code", "said", "code", "signal"),
    [
        (-9, "signal 9, SIGKILL", None, 9),
        (-11, "signal 11, SIGSEGV", None, 11),
        (-99, "signal 99, unknown", None, 99),
        (0, "exit code 0", 0, None),
        (3, "exit code 3", 3, None),
        (None, "exit code unknown", None, None),
    ],
)
def test_a_dead_worker_says_what_it_died_of(exit_code: int | None, said: str, code: int | None, signal: int | None):
    error = WorkerDiedError("a", exit_code=exit_code)

    assert str(error) == f"the worker process of task 'a' died ({said}); only this attempt was lost"
    assert (error.exit_code, error.signal, error.task_id) == (code, signal, "a")


def test_a_dead_worker_may_say_more():
    assert str(WorkerDiedError("a", exit_code=-9, detail="out of memory")).endswith(
        "(signal 9, SIGKILL): out of memory; only this attempt was lost"
    )


def test_errors_that_no_retry_can_mend_say_so_and_the_others_do_not():
    permanent = {item.__name__ for item in ALL if item.permanent}

    below_permanent = {item.__name__ for item in ALL if issubclass(item, PermanentError)}
    assert permanent == below_permanent | {"ConfigurationError", "MissingExtraError"}


def test_a_retryable_error_may_say_when():
    assert RetryableError("x").retry_after is None
    assert ProviderError("x", retry_after=2.5, task_id="a").retry_after == 2.5


@pytest.mark.parametrize("error", [AsyncProcessorError("x"), PermanentError("x"), ConfigurationError("x")])
def test_a_plain_error_can_be_sent_to_another_process(error: AsyncProcessorError):
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - made in this line

    assert (type(copy), str(copy)) == (type(error), str(error))
