"""What a processor function sees of the place its task was submitted from, lane by lane."""

from __future__ import annotations

import locale
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from tests.runtime.support import ends, running_processor

from async_processor import AdvancedAsyncProcessor, ProcessingTask, create_task


def span_and_locale(_task: ProcessingTask) -> tuple[int, str]:
    return trace.get_current_span().get_span_context().span_id, locale.setlocale(locale.LC_CTYPE)


async def span_and_locale_on_the_loop(task: ProcessingTask) -> tuple[int, str]:
    return span_and_locale(task)


async def seen_in_each_lane(processor: AdvancedAsyncProcessor) -> dict[str, tuple[int, str]]:
    processor.register_processor("loop", span_and_locale_on_the_loop)
    processor.register_processor("plain", span_and_locale)
    tasks = {
        "async": create_task("loop"),
        "thread": create_task("plain", io_bound=True),
        "process": create_task("plain", cpu_intensive=True),
    }
    for task in tasks.values():
        await processor.submit_task(task)
    results = await ends(processor, *tasks.values())
    return {lane: result.unwrap() for lane, result in zip(tasks, results, strict=True)}


async def test_the_span_of_the_submitter_is_current_on_the_loop_and_in_threads_only() -> None:  # T5
    tracer = TracerProvider().get_tracer("the submitter's")

    async with running_processor(max_thread_workers=1, max_process_workers=1) as processor:
        with tracer.start_as_current_span("turn") as span:
            seen = await seen_in_each_lane(processor)

    own = span.get_span_context().span_id
    assert {lane: span_id for lane, (span_id, _) in seen.items()} == {"async": own, "thread": own, "process": 0}


@pytest.fixture
def other_locale() -> Iterator[tuple[str, str]]:
    """The locale of this process for characters, as it was and as it is now."""
    before = locale.setlocale(locale.LC_CTYPE)
    yield before, locale.setlocale(locale.LC_CTYPE, "C.UTF-8" if before == "C" else "C")
    locale.setlocale(locale.LC_CTYPE, before)


async def test_a_locale_is_seen_on_the_loop_and_in_threads_only(
    other_locale: tuple[str, str],
) -> None:  # T5
    before, now = other_locale

    async with running_processor(max_thread_workers=1, max_process_workers=1) as processor:
        seen = await seen_in_each_lane(processor)

    assert {lane: name for lane, (_, name) in seen.items()} == {"async": now, "thread": now, "process": before}
