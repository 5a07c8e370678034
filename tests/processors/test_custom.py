"""CUSTOM: the payload brings the function."""

from __future__ import annotations

import asyncio
import functools
import inspect

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.config import ProcessorConfig
from async_processor.context import TaskContext
from async_processor.errors import InvalidPayloadError
from async_processor.model import ProcessingType, create_task
from async_processor.processors.custom import processor_spec, resolve

SPEC = processor_spec(ProcessorConfig())


def run(payload):
    """What a lane does with a payload, on this thread."""
    spec = SPEC.resolve(payload)
    task = create_task(ProcessingType.CUSTOM, payload)
    context = TaskContext(task_id=task.id, task_type=task.task_type)
    result = spec.func(task, context) if spec.wants_context else spec.func(task)
    assert inspect.isawaitable(result) is spec.is_async
    return asyncio.run(result) if spec.is_async else result


async def later(payload):
    return payload["input"] + 1


async def later_with_context(payload, context):
    return payload["input"], context.attempt


class Doubler:
    def __call__(self, payload):
        return payload["input"] * 2

    def method(self, payload, context):
        return payload["input"], context.attempt

    async def later(self, payload):
        return payload["input"] * 4


def test_the_guides_lambda_gets_the_payload():
    assert run({"processor": lambda payload: {"custom_result": payload["input"] * 2}, "input": 21}) == {
        "custom_result": 42
    }


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (later, 22),
        (later_with_context, (21, 1)),
        (lambda payload, context: (payload["input"], context.attempt), (21, 1)),
        (lambda payload, context=None: (payload["input"], context.attempt), (21, 1)),
        (lambda payload, other=5: other, 5),
        (lambda *arguments: len(arguments), 1),
        (Doubler(), 42),
        (Doubler().method, (21, 1)),
        (Doubler().later, 84),
        (functools.partial(lambda factor, payload: payload["input"] * factor, 3), 63),
        (functools.partial(later_with_context), (21, 1)),
        (sorted, ["input", "processor"]),
        (len, 2),
        (dict.keys, {"input": None, "processor": None}.keys()),
    ],
)
def test_any_callable_of_the_payload_will_do(function, result):
    assert run({"processor": function, "input": 21}) == result


def test_the_function_gets_a_plain_dict_of_its_own():
    payload = {"processor": lambda payload: payload.pop("input"), "input": 21}

    assert run(payload) == 21
    assert "input" in payload


def test_an_error_of_the_function_is_its_own():
    with pytest.raises(KeyError, match="input"):
        run({"processor": lambda payload: payload["input"]})


def test_function_and_payload_can_be_sent_to_a_worker_process():
    factor = 2
    payload = {"processor": lambda payload: payload["input"] * factor, "input": 21}
    task = create_task(ProcessingType.CUSTOM, payload)

    func, sent = cloudpickle.loads(cloudpickle.dumps((resolve(payload).func, task.payload)))

    assert func(create_task(ProcessingType.CUSTOM, sent)) == 42


def generator(payload):
    yield payload


async def async_generator(payload):
    yield payload


class Strange:
    """Callable, but breaks whoever looks at it."""

    def __call__(self, payload):
        return payload

    @property
    def __signature__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({}, "is missing"),
        ({"processor": None}, "is missing"),
        ({"processor": "os.system"}, "not str"),
        ({"processor": 5, "input": 21}, "not int"),
        ({"processor": generator}, "generator"),
        ({"processor": async_generator}, "generator"),
        ({"processor": lambda: 1}, "takes no argument"),
        ({"processor": lambda a, b, c: 1}, "needs 3 arguments"),
        ({"processor": Strange()}, "ZeroDivisionError"),
    ],
)
def test_what_cannot_be_called_with_the_payload_is_refused_with_what_to_send(payload, says):
    with pytest.raises(InvalidPayloadError, match=says) as caught:
        resolve(payload)

    assert caught.value.field == "processor"
    assert "payload['processor']" in str(caught.value)


def test_a_function_is_shown_by_where_it_comes_from():
    assert repr(resolve({"processor": len}).func) == "payload['processor']"


@given(
    st.dictionaries(
        st.sampled_from(["processor", "input"]) | st.text(),
        st.none() | st.integers() | st.text() | st.binary() | st.lists(st.integers()) | st.builds(object),
    )
)
def test_no_payload_without_a_function_gets_any_other_error(payload):  # B21
    with pytest.raises(InvalidPayloadError):
        resolve(payload)
