"""NOTIFICATION as a task: what it gives back, how often it is tried, and that its slot is free afterwards."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from tests.processors.ai import server as act
from tests.processors.notify.connections import Connections
from tests.processors.notify.mail_server import MailServerKit
from tests.results.kit import ended

from async_processor import AdvancedAsyncProcessor, ProcessingType, ProcessorConfig, TaskResult, TaskStatus, create_task
from async_processor.config import NotifyConfig
from async_processor.errors import InvalidPayloadError
from async_processor.model import ProcessingTask
from async_processor.processors.notification import Sender, processor_spec

MAMA = "mama@example.org"
GOOD = {"channel": "good", "message": "Hello"}


@asynccontextmanager
async def processor(
    receiver: act.LoopbackServer, channels: dict[str, str], **settings: Any
) -> AsyncIterator[AdvancedAsyncProcessor]:
    """One slot, so that one that stayed taken would keep the next task waiting for ever."""
    notify = NotifyConfig(
        channels={"good": f"json://127.0.0.1:{receiver.port}/good", **channels},
        **{"allow_private_networks": True, "timeout_s": 10.0, **settings},
    )
    config = ProcessorConfig(notify=notify, retry_base_s=0.001, retry_max_s=0.01)
    async with AdvancedAsyncProcessor(1, 1, 1, config=config, enable_monitoring=False) as made:
        yield made


async def run(made: AdvancedAsyncProcessor, payload: dict[str, Any], **options: Any) -> TaskResult:
    task = create_task(ProcessingType.NOTIFICATION, payload, **options)
    await made.submit_task(task)
    return ended(await made.wait_for_task(task.id, timeout=30.0))


async def assert_the_slot_is_free(made: AdvancedAsyncProcessor) -> None:
    assert (await run(made, GOOD)).status is TaskStatus.COMPLETED


async def free(_task: ProcessingTask) -> str:
    return "free"


async def test_a_mail_sent_by_a_task(receiver: act.LoopbackServer, mail_server: MailServerKit):
    mail_server.replies = {"gone@example.org": "550 5.1.1 no such user"}
    url = f"smtp://127.0.0.1:{mail_server.port}?from=bear@example.org"
    payload = {"channel": "mail", "recipients": [MAMA, "gone@example.org"], "subject": "Hi", "message": "Hello"}

    async with processor(receiver, {"mail": url}) as made:
        result = (await run(made, payload)).unwrap()

    accepted = datetime.fromisoformat(result.pop("accepted_at"))
    assert datetime.now(UTC) - accepted < timedelta(minutes=1)
    assert result == {
        "channel": "mail",
        "delivered": [MAMA],
        "refused": [{"recipient": "gone@example.org", "reason": "550 5.1.1 no such user"}],
        "message_id": mail_server.mails[0].parsed["message-id"],
        "provider": "smtp",
        "offline": False,
    }


async def test_a_channel_that_names_its_recipients_is_what_was_delivered_to(receiver: act.LoopbackServer):
    async with processor(receiver, {}) as made:
        result = (await run(made, GOOD, id="t-1")).unwrap()

    assert (result["delivered"], result["refused"], result["message_id"]) == (["good"], [], "t-1")


async def test_without_a_channel_nothing_is_pretended(receiver: act.LoopbackServer):
    async with AdvancedAsyncProcessor(1, 1, 1, config=ProcessorConfig()) as made:
        result = await run(made, {"message": "Hello"})

    assert (result.status, result.error_type, result.attempts) == (TaskStatus.FAILED, "ConfigurationError", 1)
    assert "NotifyConfig.channels" in (result.error or "")
    assert "ASYNC_PROCESSOR_NOTIFY_CHANNELS" in (result.error or "")


async def test_a_channel_read_from_the_environment_works(receiver: act.LoopbackServer):
    environ = {
        "ASYNC_PROCESSOR_NOTIFY_CHANNELS": f'{{"home": "json://127.0.0.1:{receiver.port}/x"}}',
        "ASYNC_PROCESSOR_NOTIFY_ALLOW_PRIVATE_NETWORKS": "yes",
    }
    async with AdvancedAsyncProcessor(1, 1, 1, config=ProcessorConfig.from_env(environ)) as made:
        assert (await run(made, {"message": "Hello"})).status is TaskStatus.COMPLETED


@pytest.mark.parametrize(
    "url",
    [
        "json://169.254.169.254/",
        "json://2130706433/",
        "json://rebinding.test/",
        "gotify://[2002:7f00:1::]/A0123456789abcd",
    ],
)
async def test_a_channel_that_leads_inside_fails_once_and_frees_its_slot(
    receiver: act.LoopbackServer, connections: Connections, url: str
):  # B15
    connections.resolve("rebinding.test", ["127.0.0.1"])

    async with processor(receiver, {"inside": url}, allow_private_networks=False) as made:
        result = await run(made, {"channel": "inside", "message": "Hello"})
        made.register_processor("next", free)
        assert (await made.wait_for_task(await made.submit_task(create_task("next")), timeout=10.0)).result == "free"

    assert (result.status, result.attempts) == (TaskStatus.FAILED, 1)
    assert connections.attempts == []
    assert "169.254" not in (result.error or "")


@pytest.mark.parametrize(
    "change",
    [
        {"recipients": ["mama@example.org\r\nBcc: x@example.org"]},
        {"subject": "Hi\r\nBcc: x@example.org"},
        {"recipients": ["Mama\r\nBcc: x@example.org <mama@example.org>"]},
        {"recipients": [f"c{number}@example.org" for number in range(10_000)]},
        {"recipients": ["mama@pаypal.com"]},
        {"attachments": [{"name": "a\r\nBcc: x@example.org", "content": b""}]},
    ],
    ids=["recipient", "subject", "name", "ten thousand", "homograph", "file name"],
)
async def test_what_would_forge_a_mail_is_refused_and_the_next_task_works(
    receiver: act.LoopbackServer, mail_server: MailServerKit, change: dict[str, Any]
):  # B16
    url = f"smtp://127.0.0.1:{mail_server.port}?from=bear@example.org"

    async with processor(receiver, {"mail": url}) as made:
        with pytest.raises(InvalidPayloadError, match=next(iter(change))):
            await run(made, {"channel": "mail", "recipient": MAMA, "message": "Hello"} | change)
        await assert_the_slot_is_free(made)

    assert mail_server.connections == 0


async def test_a_retried_webhook_sends_the_same_key_and_a_receiver_can_act_once(receiver: act.LoopbackServer):  # B17
    """Delivered in truth, and the answer lost: sent again, as at-least-once means."""

    async def deliver_and_hang_up_once(exchange: act.Exchange) -> None:
        if len(receiver.received) == 1:
            exchange.writer.transport.abort()
        else:
            await exchange.answer(200, b"{}")

    receiver.behaviour = deliver_and_hang_up_once

    async with processor(receiver, {}) as made:
        result = await run(made, GOOD, id="t-1")
        await assert_the_slot_is_free(made)

    keys = [item.headers["idempotency-key"] for item in receiver.received]
    assert (result.status, result.attempts) == (TaskStatus.COMPLETED, 2)
    assert keys[:2] == ["t-1", "t-1"]
    assert keys[2] != "t-1"


@pytest.mark.parametrize(("retry_unknown", "sent"), [(False, 1), (True, 2)])
async def test_a_mail_that_was_delivered_though_its_answer_was_lost(
    receiver: act.LoopbackServer, mail_server: MailServerKit, retry_unknown: bool, sent: int
):  # B17
    async def hang_up_once(server: SMTP) -> str:
        if len(mail_server.mails) == 1:
            assert server.transport is not None
            server.transport.abort()
        return "250 taken"

    mail_server.on_mail = hang_up_once
    url = f"smtp://127.0.0.1:{mail_server.port}?from=bear@example.org"

    async with processor(receiver, {"mail": url}, retry_unknown=retry_unknown) as made:
        result = await run(made, {"channel": "mail", "recipient": MAMA, "message": "Hello"})
        await assert_the_slot_is_free(made)

    assert result.status is (TaskStatus.COMPLETED if retry_unknown else TaskStatus.FAILED)
    assert result.attempts == len(mail_server.mails) == sent
    assert len({mail.parsed["message-id"] for mail in mail_server.mails}) == 1


async def test_a_task_that_times_out_frees_its_slot(receiver: act.LoopbackServer):
    async def silent_unless_good(exchange: act.Exchange) -> None:
        if exchange.received.path == "/good":
            await exchange.answer(200, b"{}")
        else:
            await act.never_answers(exchange)

    receiver.behaviour = silent_unless_good

    async with processor(receiver, {"slow": f"json://127.0.0.1:{receiver.port}/slow"}) as made:
        result = await run(made, {"channel": "slow", "message": "Hello"}, timeout=0.2, max_retries=0)
        await assert_the_slot_is_free(made)

    assert result.status is TaskStatus.TIMEOUT


async def test_messages_of_several_tasks_are_under_way_at_once(receiver: act.LoopbackServer):
    together = asyncio.Barrier(5)

    async def answer_when_all_are_there(exchange: act.Exchange) -> None:
        await together.wait()
        await exchange.answer(200, b"{}")

    receiver.behaviour = answer_when_all_are_there
    notify = NotifyConfig(channels={"good": f"json://127.0.0.1:{receiver.port}/"}, allow_private_networks=True)

    async with AdvancedAsyncProcessor(5, 1, 1, config=ProcessorConfig(notify=notify, reserved_slots=0)) as made:
        results = await asyncio.gather(*(run(made, GOOD) for _ in range(5)))

    assert {result.status for result in results} == {TaskStatus.COMPLETED}


# ---- readiness


async def test_readiness_says_what_to_set_where_no_channel_is():
    spec = processor_spec(ProcessorConfig())
    assert spec.readiness is not None

    readiness = await spec.readiness()

    assert spec.example is None, "a message reaches people: there is none that only tests"
    assert readiness.problem is not None
    assert re.search(r"NotifyConfig\.channels.*ASYNC_PROCESSOR_NOTIFY_CHANNELS", readiness.problem)


async def test_readiness_tells_which_channels_work(receiver: act.LoopbackServer, mail_server: MailServerKit):
    good = f"smtp://127.0.0.1:{mail_server.port}?from=bear@example.org"
    bad = "json://10.0.0.1/secret-path"
    some = Sender(NotifyConfig(channels={"good": good, "bad": bad, "worse": "gopher://x"}))
    none = Sender(NotifyConfig(channels={"bad": bad}))

    found, lost = await some.readiness(), await none.readiness()

    assert (found.provider, found.offline, found.problem) == ("good, bad, worse", False, None)
    assert [remark.split(":")[0] for remark in found.remarks] == ["channel 'bad'", "channel 'worse'"]
    assert lost.problem is not None
    assert "allow_private_networks" in lost.problem
    assert "secret-path" not in f"{found} {lost}"
    for sender in (some, none):
        await sender.aclose()
        await sender.aclose()
    assert mail_server.mails == []
