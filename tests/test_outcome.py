"""How an exception becomes text and flags: whatever it is, and whatever its own methods do."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import pytest

from async_processor.errors import InvalidPayloadError, ProviderError, RetryableError, WorkerDiedError
from async_processor.outcome import (
    MAX_MESSAGE_CHARS,
    MAX_TRACEBACK_CHARS,
    NO_MEASURES,
    ErrorInfo,
    Measures,
    Raised,
    Returned,
    Stopped,
)


class BrokenTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class ExitingTextError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class OddString(str):
    __slots__ = ()

    def encode(self, *arguments: object, **options: object) -> bytes:
        raise RuntimeError("no bytes")

    def __len__(self) -> int:
        raise RuntimeError("no length")


class OddTextError(Exception):
    def __str__(self) -> str:
        return OddString("odd")


class BrokenNotesError(Exception):
    __notes__ = 7


class BrokenCauseError(Exception):
    @property
    def __cause__(self) -> BaseException:  # type: ignore[override]
        raise RuntimeError("no cause")


class PermanentOneError(Exception):
    permanent = True


class PermanentlyError(Exception):
    permanent = "yes"


class BrokenWhenError(RetryableError):
    @property
    def retry_after(self) -> float:  # type: ignore[override]
        raise RuntimeError("no time")

    @retry_after.setter
    def retry_after(self, value: object) -> None:
        pass


def raised(error: BaseException) -> BaseException:
    """The exception with a traceback, as a lane sees it."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - all of them are meant
        return caught


# ---- E23: what a function may raise


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("slow"),
        KeyboardInterrupt("now"),
        SystemExit("over"),
        StopIteration("end"),
        GeneratorExit("closed"),
        ValueError("bad"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_kind_of_exception_becomes_its_name_and_its_text(error: BaseException):  # E23
    info = ErrorInfo.from_exception(raised(error))

    assert (info.type_name, info.message) == (type(error).__name__, str(error))
    assert info.traceback is not None
    assert info.traceback.rstrip().endswith(f"{type(error).__name__}: {error}")
    assert (info.permanent, info.retry_after, info.lane_failed) == (False, None, False)


def test_a_group_of_exceptions_shows_its_parts():  # E23
    info = ErrorInfo.from_exception(raised(ExceptionGroup("two", [ValueError("one"), KeyError("other")])))

    assert (info.type_name, info.message) == ("ExceptionGroup", "two (2 sub-exceptions)")
    assert info.traceback is not None
    assert "ValueError: one" in info.traceback
    assert "KeyError: 'other'" in info.traceback


@pytest.mark.parametrize(
    "error",
    [
        BrokenTextError(),
        ExitingTextError(),
        OddTextError(),
        BrokenNotesError("x"),
        BrokenCauseError("x"),
        BrokenWhenError("x"),
    ],
)
def test_an_exception_with_broken_methods_is_described_all_the_same(error: Exception):  # E23
    info = ErrorInfo.from_exception(raised(error))

    assert info.type_name == type(error).__name__
    assert info.message
    assert info.traceback


def test_an_exception_whose_text_cannot_be_read_says_so():  # E23
    assert ErrorInfo.from_exception(BrokenTextError()).message == "(its message cannot be read: RuntimeError)"


def test_ten_megabytes_of_text_are_cut():  # E23
    info = ErrorInfo.from_exception(raised(ValueError("x" * 10_000_000)))

    assert info.message == "x" * MAX_MESSAGE_CHARS + "... (10000000 characters)"
    assert info.traceback is not None
    assert len(info.traceback) <= MAX_TRACEBACK_CHARS + 3


def test_an_exception_without_text_has_its_name_for_a_message():
    assert ErrorInfo.from_exception(ValueError()).message == "ValueError"


def test_text_that_no_encoding_knows_can_be_encoded_afterwards():
    info = ErrorInfo.from_exception(raised(ValueError("half \ud83d of a pair")))

    assert info.message == "half \\ud83d of a pair"
    assert info.traceback is not None
    assert info.traceback.encode("utf-8")


# ---- tracebacks


def test_the_traceback_names_the_line_that_failed_and_what_led_to_it():
    try:
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("not found") from error
    except ValueError as error:
        info = ErrorInfo.from_exception(error)

    assert info.traceback is not None
    assert info.traceback.startswith("Traceback (most recent call last):")
    assert '{}["missing"]' in info.traceback
    assert "direct cause" in info.traceback


def test_of_a_deep_traceback_the_end_is_kept():
    def down(levels: int) -> None:
        if levels:
            down(levels - 1)
        raise ValueError("at the bottom")

    with pytest.raises(ValueError, match="at the bottom") as caught:
        down(300)
    info = ErrorInfo.from_exception(caught.value)

    assert info.traceback is not None
    assert len(info.traceback) <= MAX_TRACEBACK_CHARS + 3
    assert info.traceback.rstrip().endswith("ValueError: at the bottom")


def test_of_many_causes_the_end_is_kept():
    error: Exception = ValueError("first")
    for number in range(300):
        try:
            raise ValueError(f"link {number}") from error
        except ValueError as caught:
            error = caught
    info = ErrorInfo.from_exception(error)

    assert info.traceback is not None
    assert info.traceback.startswith("...")
    assert len(info.traceback) == MAX_TRACEBACK_CHARS + 3
    assert info.traceback.rstrip().endswith("ValueError: link 299")


def test_the_traceback_can_be_left_out():
    assert ErrorInfo.from_exception(raised(ValueError("x")), with_traceback=False).traceback is None


def test_a_described_exception_keeps_nothing_of_it_alive():
    class Large:
        pass

    def fail() -> None:
        held = Large()
        nonlocal watched
        watched = weakref.ref(held)
        raise ValueError("x")

    watched: weakref.ref[Large] | None = None
    try:
        fail()
    except ValueError as error:
        info = ErrorInfo.from_exception(error)
    gc.collect()

    assert info.traceback is not None
    assert watched is not None
    assert watched() is None


# ---- flags


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (ValueError("x"), False),
        (InvalidPayloadError("x"), True),
        (ProviderError("x"), False),
        (PermanentOneError("x"), True),
        (PermanentlyError("x"), False),
    ],
    ids=lambda item: type(item).__name__,
)
def test_an_error_is_permanent_if_its_class_says_so(error: Exception, permanent: bool):
    assert ErrorInfo.from_exception(error).permanent is permanent


def test_an_attribute_of_one_exception_does_not_make_it_permanent():
    error = ValueError("x")
    error.permanent = True  # type: ignore[attr-defined]

    assert not ErrorInfo.from_exception(error).permanent


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (None, None), (0, 0.0), (2.5, 2.5), (-1, None), ("5", None),
        (float("nan"), None), (float("inf"), None), (10**400, None), (True, None),
    ],
    ids=lambda value: str(value)[:8],
)  # fmt: skip
def test_a_time_to_come_back_is_kept_if_it_is_one(asked: object, kept: float | None):
    assert ErrorInfo.from_exception(RetryableError("x", retry_after=asked)).retry_after == kept  # type: ignore[arg-type]


def test_only_errors_made_for_it_may_say_when_to_come_back():
    error = ValueError("x")
    error.retry_after = 5.0  # type: ignore[attr-defined]

    assert ErrorInfo.from_exception(error).retry_after is None


def test_a_failure_of_the_lane_is_told_from_one_of_the_function():
    assert ErrorInfo.from_exception(WorkerDiedError("a", exit_code=-9)).lane_failed
    assert not ErrorInfo.from_exception(ValueError("x")).lane_failed


# ---- outcomes


def test_outcomes_measure_nothing_unless_told():
    info = ErrorInfo(type_name="ValueError", message="x")

    assert [item.measures for item in (Returned(1), Raised(info), Stopped())] == [NO_MEASURES] * 3
    assert Returned(1, Measures(cpu_time=0.5)).measures.cpu_time == 0.5


@pytest.mark.parametrize("value", [Returned(1), Stopped(), Measures(), ErrorInfo(type_name="E", message="m")])
def test_outcomes_cannot_be_changed(value: Returned | Stopped | Measures | ErrorInfo):
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
