"""Which functions can be registered, and what is found out about them."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from async_processor.errors import ConfigurationError, InvalidTaskError, ProcessorNotAvailableError
from async_processor.model import LaneName, ProcessingType, create_task
from async_processor.processors.registry import ProcessorRegistry, ProcessorSpec, failing, inspect_function


def plain(task: object) -> str:
    return "plain"


async def awaited(task: object) -> str:
    return "awaited"


def with_context(task: object, context: object) -> None: ...


def with_optional_context(task: object, context: object = None) -> None: ...


def with_other_option(task: object, quality: int = 75) -> None: ...


def with_anything(*arguments: object) -> None: ...


def with_two_and_more(task: object, context: object, size: int = 1, *, colour: str = "red") -> None: ...


def gives_awaitable(task: object) -> Awaitable[str]:
    return awaited(task)


def generator(task: object) -> Iterator[int]:
    yield 1


async def async_generator(task: object) -> AsyncIterator[int]:
    yield 1


class Resizer:
    """Callable in all the ways that an object can be."""

    def method(self, task: object) -> None: ...

    async def async_method(self, task: object, context: object) -> None: ...

    @classmethod
    def of_class(cls, task: object) -> None: ...

    @staticmethod
    async def static(task: object) -> None: ...


class ContextCallable:
    def __call__(self, task: object, context: object) -> None: ...


class AsyncCallable:
    async def __call__(self, task: object) -> None: ...


class GeneratorCallable:
    def __call__(self, task: object) -> Iterator[int]:
        yield 1


class Made:
    def __init__(self, task: object) -> None: ...


# ---- E27: what may be registered


def _shown(value: object) -> str:
    """The same in every process: without the address that a function has in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


@pytest.mark.parametrize(
    ("func", "is_async", "wants_context"),
    [
        (plain, False, False),
        (awaited, True, False),
        (with_context, False, True),
        (with_optional_context, False, True),
        (with_other_option, False, False),
        (with_anything, False, False),
        (with_two_and_more, False, True),
        (gives_awaitable, False, False),
        (lambda task: None, False, False),
        (functools.partial(plain), False, False),
        (functools.partial(awaited), True, False),
        (functools.partial(functools.partial(awaited)), True, False),
        (functools.partial(with_context, context=None), False, False),
        (functools.partial(with_two_and_more, size=2), False, True),
        (Resizer().method, False, False),
        (Resizer().async_method, True, True),
        (functools.partial(Resizer().async_method), True, True),
        (Resizer.of_class, False, False),
        (Resizer.static, True, False),
        (ContextCallable(), False, True),
        (AsyncCallable(), True, False),
        (functools.partial(AsyncCallable()), True, False),
        (Made, False, False),
        (len, False, False),
        (print, False, False),
        (max, False, False),
        (dict.fromkeys, False, False),
        (functools.lru_cache(plain), False, False),
    ],
    ids=_shown,
)
def test_how_a_function_is_called_is_found_out(func: Callable[..., Any], is_async: bool, wants_context: bool):  # E27
    spec = inspect_function(func)

    assert (spec.func, spec.is_async, spec.wants_context) == (func, is_async, wants_context)
    assert not inspect.iscoroutinefunction(func) or spec.is_async


@pytest.mark.parametrize(
    "func",
    [
        generator,
        async_generator,
        functools.partial(generator),
        functools.partial(async_generator),
        GeneratorCallable(),
        GeneratorCallable().__call__,
    ],
    ids=_shown,
)
def test_a_generator_is_refused_because_a_task_has_one_result(func: Callable[..., Any]):  # E27
    with pytest.raises(ConfigurationError, match="is a generator: a processor function returns one result"):
        inspect_function(func)


@pytest.mark.parametrize("func", [None, 7, "plain", [plain], object()], ids=_shown)
def test_what_cannot_be_called_is_refused(func: object):
    with pytest.raises(ConfigurationError, match="must be callable, not"):
        inspect_function(func)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "func", [lambda: None, lambda **options: None, lambda *, task: None, functools.partial(plain, None)]
)
def test_a_function_that_takes_no_task_is_refused(func: Callable[..., Any]):
    with pytest.raises(ConfigurationError, match="takes no argument"):
        inspect_function(func)


def test_a_function_that_needs_more_than_task_and_context_is_refused_by_name():
    def resize(task: object, context: object, size: int) -> None: ...

    with pytest.raises(ConfigurationError, match=r"resize needs 3 arguments; a processor function takes the task"):
        inspect_function(resize)


def test_a_function_that_needs_an_argument_by_name_is_refused():
    """Every attempt of it would fail."""

    def resize(task: object, *, size: int) -> None: ...

    with pytest.raises(ConfigurationError, match=r"resize needs the argument 'size'"):
        inspect_function(resize)
    assert not inspect_function(functools.partial(resize, size=3)).wants_context


def test_options_are_those_of_the_spec():
    spec = inspect_function(plain, cpu_intensive=True, lane=LaneName.PROCESS)

    assert (spec.cpu_intensive, spec.io_bound, spec.memory_intensive, spec.lane) == (True, False, False, "process")
    with pytest.raises(TypeError):
        inspect_function(plain, gpu_intensive=True)


# ---- the registry


def test_a_function_is_found_under_every_name_of_its_type():
    registry = ProcessorRegistry()
    spec = inspect_function(plain)
    registry.register("AI_RESPONSE", spec)
    registry.register("resize", spec)

    assert registry.get(ProcessingType.AI_RESPONSE) is spec
    assert registry.get("ai_response") is spec
    assert registry.get("resize") is spec
    assert registry.get("Resize") is None, "names of one's own are taken as they are"
    assert registry.types() == ["ai_response", "resize"]


def test_a_later_registration_takes_the_place_of_an_earlier_one():
    first, second = inspect_function(plain), inspect_function(awaited)
    registry = ProcessorRegistry({ProcessingType.CUSTOM: first})

    registry.register("custom", second)

    assert registry.get(ProcessingType.CUSTOM) is second
    assert registry.types() == ["custom"]


@pytest.mark.parametrize("task_type", ["", None, 7])
def test_a_type_that_no_task_could_have_is_refused(task_type: object):
    with pytest.raises(InvalidTaskError):
        ProcessorRegistry().register(task_type, inspect_function(plain))  # type: ignore[arg-type]


def test_registries_do_not_share_what_they_were_made_of():
    specs = {"resize": inspect_function(plain)}
    registry = ProcessorRegistry(specs)

    registry.register("enhance", inspect_function(plain))

    assert list(specs) == ["resize"]


async def test_a_spec_that_fails_does_so_on_the_event_loop_with_its_error():
    error = ProcessorNotAvailableError("nothing here", task_id="a")

    spec = failing(error)

    assert (spec.lane, spec.is_async, spec.wants_context) == (LaneName.ASYNC, True, False)
    with pytest.raises(ProcessorNotAvailableError) as raised:
        await spec.func(create_task("a"))
    assert raised.value is error


# ---- closing


class Client:
    """Something that a processor function holds open."""

    def __init__(self, problem: BaseException | None = None) -> None:
        self.closed = 0
        self._problem = problem

    def spec(self) -> ProcessorSpec:
        return inspect_function(plain, aclose=self.aclose)

    async def aclose(self) -> None:
        self.closed += 1
        if self._problem is not None:
            raise self._problem


async def test_everything_is_closed_though_one_cannot_be():
    problem = RuntimeError("stuck")
    clients = [Client(), Client(problem), Client()]
    registry = ProcessorRegistry({f"type-{number}": client.spec() for number, client in enumerate(clients)})
    registry.register("nothing to close", inspect_function(plain))

    problems = await registry.aclose()

    assert problems == [problem]
    assert [client.closed for client in clients] == [1, 1, 1]


async def test_a_function_that_was_replaced_is_closed_too():
    first, second = Client(), Client()
    registry = ProcessorRegistry()
    registry.register("resize", first.spec())
    registry.register("resize", second.spec())

    await registry.aclose()

    assert [first.closed, second.closed] == [1, 1]


async def test_what_several_types_share_is_closed_once():
    client = Client()
    registry = ProcessorRegistry()
    registry.register("resize", client.spec())
    registry.register("enhance", client.spec())

    await registry.aclose()

    assert client.closed == 1
