"""What holds for every chat model, whoever is behind it. A provider of one's own can be put through the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import get_args

from async_processor.processors.chat import ChatModel, ChatReply, ChatRequest, Feeling, FinishReason

REQUEST = ChatRequest(
    system="You are a toy bear.",
    message="Say hello.",
    model="test-model",
    max_tokens=50,
    words="hello teddy",
    feeling=Feeling(name="happy", valence=0.5, arousal=0.5),
    age=5,
)


async def a_reply_is_complete_and_labelled(model: ChatModel) -> None:
    reply = await model.reply(REQUEST)

    assert isinstance(reply, ChatReply)
    assert reply.text.strip() == reply.text != ""
    assert reply.text.encode()
    assert reply.provider == model.provider
    assert reply.model is None or reply.model
    assert reply.finish_reason in get_args(FinishReason)
    assert reply.offline is not reply.generated, "either a model was asked, or nobody was"


async def tokens_are_counted_or_unknown_but_never_made_up(model: ChatModel) -> None:
    reply = await model.reply(REQUEST)

    assert reply.tokens_used is None if not reply.generated else type(reply.tokens_used) is int


async def a_form_asked_for_keeps_it_from_no_answer(model: ChatModel) -> None:
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}

    assert (await model.reply(replace(REQUEST, schema=schema))).text


async def several_requests_may_be_under_way_at_once(model: ChatModel) -> None:
    replies = await asyncio.gather(*(model.reply(REQUEST) for _ in range(5)))

    assert len({reply.text for reply in replies}) == 1


async def it_says_that_it_can_answer(model: ChatModel) -> None:
    await model.check()


async def it_may_be_closed_twice_and_before_its_first_request(model: ChatModel) -> None:
    await model.aclose()
    await model.reply(REQUEST)
    await model.aclose()
    await model.aclose()


async def it_answers_again_after_it_was_closed(model: ChatModel) -> None:
    await model.reply(REQUEST)
    await model.aclose()

    assert (await model.reply(REQUEST)).text


async def a_cancelled_request_does_not_hurt_the_next(model: ChatModel) -> None:
    task = asyncio.ensure_future(model.reply(REQUEST))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert (await model.reply(REQUEST)).text


CONTRACT = (
    a_reply_is_complete_and_labelled,
    tokens_are_counted_or_unknown_but_never_made_up,
    a_form_asked_for_keeps_it_from_no_answer,
    several_requests_may_be_under_way_at_once,
    it_says_that_it_can_answer,
    it_may_be_closed_twice_and_before_its_first_request,
    it_answers_again_after_it_was_closed,
    a_cancelled_request_does_not_hurt_the_next,
)
