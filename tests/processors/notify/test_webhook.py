"""Webhooks, to a real server: what arrives, where connections go, and what is made of every answer."""

from __future__ import annotations

import asyncio
import json
import traceback
from typing import Any

import pytest
from tests.processors.ai import server as act
from tests.processors.notify.connections import Connections

from async_processor.config import NotifyConfig
from async_processor.errors import AsyncProcessorError, AuthenticationError, PermanentError, ProviderError
from async_processor.processors.channels import read_webhook
from async_processor.processors.notifier import Delivery, Notification
from async_processor.processors.providers.webhook import WebhookPost

HELLO = Notification(key="task-1", message="Hällo", subject="A bear")
SECRET = "t0k3n"


def hook(address: str, *, scheme: str = "json", allow_private: bool = True, **settings: Any) -> WebhookPost:
    target = read_webhook("h", f"{scheme}://{address}")
    return WebhookPost(target, NotifyConfig(**{"allow_private_networks": allow_private, "timeout_s": 10.0, **settings}))


async def failure(notifier: WebhookPost, notification: Notification = HELLO) -> AsyncProcessorError:
    with pytest.raises(AsyncProcessorError) as caught:
        await notifier.send(notification)
    await notifier.aclose()
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    assert "Hällo" not in shown
    return caught.value


async def test_a_document_arrives_with_the_task_s_key(receiver: act.LoopbackServer):
    notifier = hook(f"bear:{SECRET}@127.0.0.1:{receiver.port}/hook?token={SECRET}")

    delivery = await notifier.send(HELLO)
    await notifier.aclose()

    assert delivery == Delivery(provider="webhook", message_id="task-1", offline=False)
    (received,) = receiver.received
    assert (received.method, received.path) == ("POST", f"/hook?token={SECRET}")
    assert received.json == {"id": "task-1", "title": "A bear", "message": "Hällo"}
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert received.headers["idempotency-key"] == "task-1"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["authorization"] == "Basic YmVhcjp0MGszbg=="


@pytest.mark.parametrize("key", ["ключ", "a\r\nX: y", "x" * 300, "\ud800"])
async def test_a_key_that_no_header_holds_goes_as_its_digest(receiver: act.LoopbackServer, key: str):  # B17
    notifier = hook(f"127.0.0.1:{receiver.port}")

    for _ in range(2):
        await notifier.send(Notification(key=key, message="Hello"))
    await notifier.aclose()

    first, second = (item.headers["idempotency-key"] for item in receiver.received)
    assert first == second
    assert len(first) == 64
    assert "x" not in receiver.received[0].headers


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, PermanentError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, PermanentError),
        (408, ProviderError),
        (410, PermanentError),
        (429, ProviderError),
        (500, ProviderError),
        (503, ProviderError),
    ],
)
async def test_the_status_decides(receiver: act.LoopbackServer, status: int, kind: type[AsyncProcessorError]):
    receiver.behaviour = act.answers(status, {"error": SECRET}, "Retry-After: 7")

    error = await failure(hook(f"127.0.0.1:{receiver.port}"))

    assert type(error) is kind
    assert str(status) in str(error)
    assert getattr(error, "retry_after", 7.0) == 7.0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(receiver: act.LoopbackServer, connections: Connections, status: int):  # B15
    receiver.behaviour = act.answers(status, {}, f"Location: http://127.0.0.1:{receiver.port}/private")

    error = await failure(hook(f"127.0.0.1:{receiver.port}/public"))

    assert type(error) is PermanentError
    assert "redirects" in str(error)
    assert [item.path for item in receiver.received] == ["/public"]
    assert connections.attempts == [("127.0.0.1", receiver.port)]


# ---- where connections go

INSIDE = [
    "127.0.0.1", "[::ffff:127.0.0.1]", "169.254.169.254", "2130706433", "0x7f000001", "127.1", "100.64.0.1",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1", "[ff02::1]", "[::1]", "10.0.0.1", "192.168.1.1",
    "0.0.0.0",  # noqa: S104 - nothing listens there
    "localhost", "[fe80::1%25eth0]",
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["json", "jsons"])
@pytest.mark.parametrize("host", INSIDE)
async def test_no_packet_goes_inside(
    connections: Connections, receiver: act.LoopbackServer, host: str, scheme: str
):  # B15
    error = await failure(hook(f"{host}:{receiver.port}/", scheme=scheme, allow_private=False))

    assert type(error) is PermanentError
    assert connections.attempts == []
    assert receiver.connections == 0


async def test_a_name_is_looked_up_once_and_the_connection_goes_to_that_address(
    connections: Connections, receiver: act.LoopbackServer
):  # B15
    connections.resolve("rebinding.test", ["127.0.0.1"], ["127.0.0.2"])

    notifier = hook(f"rebinding.test:{receiver.port}/")
    await notifier.send(HELLO)
    await notifier.aclose()

    assert connections.asked == ["rebinding.test"]
    assert connections.attempts == [("127.0.0.1", receiver.port)]
    assert receiver.received[0].headers["host"] == f"rebinding.test:{receiver.port}"


async def test_a_name_that_turns_private_is_refused_from_then_on(
    connections: Connections, receiver: act.LoopbackServer
):  # B15
    connections.resolve("rebinding.test", ["8.8.8.8"], ["127.0.0.1"])
    notifier = hook(f"rebinding.test:{receiver.port}/", allow_private=False)

    first = await failure(notifier)
    second = await failure(notifier)

    assert (type(first), type(second)) == (ProviderError, PermanentError)
    assert [attempt[0] for attempt in connections.attempts] == ["8.8.8.8"]
    assert receiver.connections == 0


async def test_proxies_of_the_environment_are_left_aside(
    connections: Connections, receiver: act.LoopbackServer, monkeypatch: pytest.MonkeyPatch
):  # B15
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{receiver.port}")

    error = await failure(hook("169.254.169.254/latest/meta-data", allow_private=False))

    assert type(error) is PermanentError
    assert connections.attempts == []


async def test_the_certificate_must_hold_for_the_name_though_the_connection_goes_to_an_address(
    connections: Connections, server_tls: Any, certificate: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "certificate.pem"))
    server = act.LoopbackServer(act.answers(200, {}))
    await server.start(tls=server_tls)
    connections.resolve("localhost", ["127.0.0.1"])
    connections.resolve("other.test", ["127.0.0.1"])

    good = hook(f"localhost:{server.port}/", scheme="jsons")
    error = await failure(hook(f"other.test:{server.port}/", scheme="jsons"))

    assert type(error) is PermanentError
    assert "certificate" in str(error)
    assert server.received == []
    await good.send(HELLO)
    await good.aclose()
    assert len(server.received) == 1
    await server.aclose()


# ---- no usable answer


@pytest.mark.parametrize("behaviour", [act.never_answers, act.resets, act.drips, act.endless_headers])
async def test_a_message_whose_answer_is_lost_is_sent_again_with_the_same_key(
    receiver: act.LoopbackServer, behaviour: act.Behaviour
):  # B17
    receiver.behaviour = behaviour
    notifier = hook(f"127.0.0.1:{receiver.port}/", timeout_s=0.3)

    for _ in range(2):
        assert type(await failure(notifier)) is ProviderError

    keys = {item.headers["idempotency-key"] for item in receiver.received}
    assert keys == {"task-1"}
    assert len(receiver.received) == 2


@pytest.mark.parametrize("behaviour", [act.endless, act.huge])
async def test_no_more_of_an_answer_is_read_than_is_of_use(receiver: act.LoopbackServer, behaviour: act.Behaviour):
    receiver.behaviour = behaviour

    error = await failure(hook(f"127.0.0.1:{receiver.port}/", timeout_s=5.0))

    assert type(error) is ProviderError
    assert receiver.exchanges[0].sent < 20_000_000


async def test_a_port_where_nobody_listens_is_worth_another_attempt(receiver: act.LoopbackServer):
    port = receiver.port
    await receiver.aclose()

    assert type(await failure(hook(f"127.0.0.1:{port}/"))) is ProviderError
    await receiver.start()


async def test_a_cancelled_message_is_given_up_at_once_and_its_connection_closed(receiver: act.LoopbackServer):
    receiver.behaviour = act.never_answers
    notifier = hook(f"127.0.0.1:{receiver.port}/")
    sending = asyncio.ensure_future(notifier.send(HELLO))
    await receiver.arrived.wait()

    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
    await receiver.left.wait()
    await notifier.aclose()


async def test_check_looks_the_host_up_and_sends_nothing(connections: Connections, receiver: act.LoopbackServer):
    good, inside = hook(f"127.0.0.1:{receiver.port}/"), hook("127.0.0.1/", allow_private=False)

    await good.check()
    with pytest.raises(PermanentError, match="allow_private_networks"):
        await inside.check()

    assert connections.attempts == []
    for notifier in (good, inside):
        await notifier.aclose()
        await notifier.aclose()


async def test_it_may_be_used_again_after_it_was_closed(receiver: act.LoopbackServer):
    notifier = hook(f"127.0.0.1:{receiver.port}/")

    for _ in range(2):
        await notifier.send(HELLO)
        await notifier.aclose()

    assert [json.loads(item.body)["id"] for item in receiver.received] == ["task-1", "task-1"]
