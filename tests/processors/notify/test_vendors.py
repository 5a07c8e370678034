"""SMS and push messages through apprise: under our rules, by a copy of a vendor's module that nobody else sees."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.util
import itertools
import logging
import socket
import sys
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import apprise
import pytest
import requests
from tests.processors.ai import server as act
from tests.processors.notify.connections import Connections

from async_processor.config import NotifyConfig
from async_processor.errors import (
    AsyncProcessorError,
    AuthenticationError,
    InvalidPayloadError,
    PermanentError,
    ProviderError,
)
from async_processor.processors.channels import SMS_VENDORS, VENDORS
from async_processor.processors.notifier import Delivery, Notification, Refusal
from async_processor.processors.providers import apprise_vendor
from async_processor.processors.providers.apprise_vendor import AppriseVendor

MAMA, PAPA = "+4915112345678", "+4915112345679"
TOKEN = "A" + "b0" * 7
SID = "AC" + "0" * 32
HELLO = Notification(key="task-1", message="Hällo", subject="A bear")
SMS = Notification(key="task-1", message="Hällo", recipients=(MAMA,))
TWILIO = f"twilio://{SID}:{'0' * 32}@+15005550006"


def vendor(url: str, **settings: Any) -> AppriseVendor:
    return AppriseVendor(
        "parents", url, NotifyConfig(**{"allow_private_networks": True, "timeout_s": 10.0, **settings})
    )


def gotify(server: act.LoopbackServer, **settings: Any) -> AppriseVendor:
    return vendor(f"gotify://127.0.0.1:{server.port}/{TOKEN}", **settings)


async def failure(notifier: AppriseVendor, notification: Notification = HELLO) -> AsyncProcessorError:
    with pytest.raises(AsyncProcessorError) as caught:
        await notifier.send(notification)
    await notifier.aclose()
    shown = "".join(traceback.format_exception(caught.value))
    for secret in (TOKEN, "Hällo", MAMA, "0" * 32):
        assert secret not in shown
    return caught.value


async def test_a_push_message_arrives(receiver: act.LoopbackServer, no_leaks: None):
    notifier = gotify(receiver)

    delivery = await notifier.send(HELLO)
    await notifier.aclose()

    assert delivery == Delivery(provider="gotify", offline=False)
    (received,) = receiver.received
    assert (received.method, received.path) == ("POST", "/message")
    assert (received.json["title"], received.json["message"]) == ("A bear", "Hällo")
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert received.headers["x-gotify-key"] == TOKEN


async def test_a_topic_of_a_server_of_one_s_own(receiver: act.LoopbackServer):
    notifier = vendor(f"ntfy://127.0.0.1:{receiver.port}/bear")

    await notifier.send(HELLO)
    await notifier.aclose()

    assert "Hällo" in receiver.received[0].body.decode() or "H\\u00e4llo" in receiver.received[0].body.decode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, PermanentError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, PermanentError),
        (302, PermanentError),
        (429, ProviderError),
        (500, ProviderError),
    ],
)
async def test_the_status_decides_and_not_apprise_s_bare_no(
    receiver: act.LoopbackServer, status: int, kind: type[AsyncProcessorError]
):
    receiver.behaviour = act.answers(status, {}, "Retry-After: 7")

    error = await failure(gotify(receiver))

    assert type(error) is kind
    assert str(status) in str(error)
    assert getattr(error, "retry_after", 7.0) == 7.0
    assert len(receiver.received) == 1, "retries are the processor's"


@pytest.mark.parametrize("options", ["", "?redirect=yes&verify=no&retry=5&rto=999&cto=999"])
async def test_a_redirect_is_not_followed_whatever_the_address_asks_for(
    receiver: act.LoopbackServer, connections: Connections, options: str
):  # B15
    receiver.behaviour = act.answers(307, {}, f"Location: http://127.0.0.1:{receiver.port}/private")

    error = await failure(vendor(f"gotify://127.0.0.1:{receiver.port}/{TOKEN}{options}"))

    assert type(error) is PermanentError
    assert [item.path for item in receiver.received] == ["/message"]
    assert connections.attempts == [("127.0.0.1", receiver.port)]


# ---- where connections go

INSIDE = ["127.0.0.1", "[::ffff:127.0.0.1]", "169.254.169.254", "2130706433", "0x7f000001", "127.1", "100.64.0.1",
          "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1", "[::1]", "10.0.0.1", "localhost"]  # fmt: skip


@pytest.mark.parametrize("scheme", ["gotify", "gotifys"])
@pytest.mark.parametrize("host", INSIDE)
async def test_no_packet_goes_inside(
    connections: Connections, receiver: act.LoopbackServer, host: str, scheme: str
):  # B15
    url = f"{scheme}://{host}:{receiver.port}/{TOKEN}"

    try:
        error = await failure(vendor(url, allow_private_networks=False))
    finally:
        assert connections.attempts == []
        assert receiver.connections == 0
    # Some of these apprise itself takes for no host at all.
    assert error.permanent


async def test_a_name_is_looked_up_once_per_request_and_the_connection_goes_there(
    connections: Connections, receiver: act.LoopbackServer
):  # B15
    connections.resolve("rebinding.test", ["127.0.0.1"], ["127.0.0.2"])
    notifier = vendor(f"gotify://rebinding.test:{receiver.port}/{TOKEN}")

    await notifier.send(HELLO)
    await notifier.aclose()

    assert connections.asked == ["rebinding.test"]
    assert connections.attempts == [("127.0.0.1", receiver.port)]
    assert receiver.received[0].headers["host"] == f"rebinding.test:{receiver.port}"


async def test_a_vendor_s_own_name_that_leads_inside_is_refused(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
):  # B15
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    connections.resolve("api.twilio.com", ["169.254.169.254"])

    error = await failure(vendor(TWILIO, allow_private_networks=False), SMS)

    assert type(error) is PermanentError
    assert "allow_private_networks" in str(error)
    assert connections.asked == ["api.twilio.com"]
    assert connections.attempts == []


async def test_the_certificate_must_hold_for_the_name_though_the_connection_goes_to_an_address(
    connections: Connections, server_tls: Any
):
    server = act.LoopbackServer(act.answers(200, {}))
    await server.start(tls=server_tls)
    connections.resolve("other.test", ["127.0.0.1"])

    error = await failure(vendor(f"gotifys://other.test:{server.port}/{TOKEN}?verify=no"))

    assert type(error) is PermanentError
    assert "certificate" in str(error)
    assert server.received == []
    await server.aclose()


@pytest.mark.parametrize("module", sorted(set(VENDORS.values())))
def test_a_vendor_s_module_sends_by_plain_calls_of_requests_and_by_nothing_else(module: str):  # B15
    """What is not guarded cannot be among the vendors: sessions, sockets, other clients."""
    spec = importlib.util.find_spec(f"apprise.plugins.{module}")
    assert spec is not None
    assert spec.origin is not None
    nodes = list(ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))))

    imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0}
    used = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "requests"
    }
    tops = {name.partition(".")[0] for name in imported}
    assert not tops & {"asyncio", "http", "httpx", "smtplib", "socket", "ssl", "subprocess", "urllib3", "websocket"}
    assert "urllib.request" not in imported
    assert used <= {"RequestException", "codes", "delete", "get", "patch", "post", "put", "request"}
    assert {"post", "request"} & used


@pytest.mark.parametrize("scheme", sorted(VENDORS))
def test_a_vendor_s_class_is_found_in_its_module(scheme: str):
    plugin = apprise_vendor._private_copy(VENDORS[scheme], NotifyConfig())

    named = [plugin.protocol, plugin.secure_protocol]
    assert scheme in {name for item in named for name in (item if isinstance(item, tuple) else (item,))}


@pytest.mark.parametrize("name", ["Session", "session", "sessions", "api", "adapters"])
def test_a_way_round_the_guard_is_closed(name: str):  # B15
    with pytest.raises(PermanentError, match="cannot be guarded"):
        getattr(apprise_vendor.GuardedRequests(NotifyConfig()), name)


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # one of apprise's hundred modules, which it all loads
async def test_nobody_else_s_apprise_is_changed(connections: Connections, receiver: act.LoopbackServer):
    """An application may use apprise beside us, with redirects and at home, as it always did."""
    notifier = gotify(receiver, allow_private_networks=False)
    assert type(await failure(notifier)) is PermanentError

    theirs = apprise.Apprise()
    theirs.add(f"gotify://127.0.0.1:{receiver.port}/{TOKEN}")
    assert await asyncio.to_thread(theirs.notify, "theirs")

    assert receiver.received[0].json["message"] == "theirs"
    assert requests.post.__module__ == "requests.api"
    loaded = sys.modules.get("apprise.plugins.gotify")
    assert loaded is None or loaded.requests is requests


# ---- one number at a time


class ManyAnswers:
    """Twilio's part, played by a server of ours: each number gets the answer that a test has for it."""

    def __init__(self, server: act.LoopbackServer, connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statuses: dict[str, int] = {}
        self.numbers: list[str] = []
        server.behaviour = self._answer
        connections.resolve("api.twilio.test", ["127.0.0.1"])
        real = apprise_vendor._private_copy

        def with_another_host(module: str, settings: NotifyConfig) -> Any:
            plugin = real(module, settings)
            plugin.notify_sms_url = f"http://api.twilio.test:{server.port}/{{sid}}/Messages.json"
            return plugin

        monkeypatch.setattr(apprise_vendor, "_private_copy", with_another_host)

    async def _answer(self, exchange: act.Exchange) -> None:
        number = parse_qs(exchange.received.body.decode())["To"][0]
        self.numbers.append(number)
        status = self.statuses.get(number, 201)
        await exchange.answer(status, b"{}")


@pytest.fixture
def twilio(receiver: act.LoopbackServer, connections: Connections, monkeypatch: pytest.MonkeyPatch) -> ManyAnswers:
    return ManyAnswers(receiver, connections, monkeypatch)


async def test_each_number_has_an_answer_of_its_own(twilio: ManyAnswers):
    twilio.statuses = {PAPA: 400}
    notifier = vendor(TWILIO)

    delivery = await notifier.send(Notification(key="t", message="Hällo", recipients=(MAMA, PAPA)))
    await notifier.aclose()

    assert delivery == Delivery(
        provider="twilio",
        delivered=(MAMA,),
        refused=(Refusal(recipient=PAPA, reason="twilio refused the message (status 400)"),),
    )
    assert twilio.numbers == [MAMA, PAPA]


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ({MAMA: 400, PAPA: 500}, PermanentError),
        ({MAMA: 500, PAPA: 503}, ProviderError),
        ({MAMA: 401, PAPA: 401}, AuthenticationError),
    ],
)
async def test_when_nobody_has_it_all_must_be_worth_another_attempt(
    twilio: ManyAnswers, statuses: dict[str, int], kind: type[AsyncProcessorError]
):
    twilio.statuses = statuses

    error = await failure(vendor(TWILIO), Notification(key="t", message="Hällo", recipients=(MAMA, PAPA)))

    assert type(error) is kind


async def test_numbers_in_the_address_do_not_get_what_a_payload_sends_to_others(twilio: ManyAnswers):
    notifier = vendor(f"{TWILIO}/{PAPA}")

    await notifier.send(SMS)
    await notifier.aclose()

    assert twilio.numbers == [MAMA]


async def test_without_a_number_nothing_is_sent_not_even_to_oneself(twilio: ManyAnswers):
    """apprise sends such a message to the number that it is from."""
    with pytest.raises(InvalidPayloadError, match="recipients"):
        await vendor(f"{TWILIO}/{PAPA}").send(HELLO)

    assert twilio.numbers == []


async def test_a_message_whose_answer_is_lost_is_not_sent_again_unless_settings_say_so(
    receiver: act.LoopbackServer,
):  # B17
    for behaviour in (act.resets, act.never_answers):
        receiver.behaviour = behaviour

        error = await failure(gotify(receiver, timeout_s=0.5))
        asked_for = await failure(gotify(receiver, timeout_s=0.5, retry_unknown=True))

        assert type(error) is PermanentError
        assert "may have been delivered" in str(error)
        assert type(asked_for) is ProviderError


async def headers_without_end(exchange: act.Exchange) -> None:
    """One header at a time, each long before a timeout between two of them."""
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        await exchange.send(f"X-{number}: x\r\n".encode())
        await asyncio.sleep(0.02)  # the drip itself


@pytest.mark.parametrize("behaviour", [act.drips, headers_without_end, act.never_answers])
async def test_no_thread_is_held_by_a_server_that_never_ends(
    receiver: act.LoopbackServer, behaviour: act.Behaviour, monkeypatch: pytest.MonkeyPatch
):
    """One thread more than there are would wait for ever."""
    monkeypatch.setattr(apprise_vendor, "_THREADS", 1)
    monkeypatch.setattr(apprise_vendor, "_GRACE_S", 0.1)
    receiver.behaviour = behaviour
    notifier = gotify(receiver, timeout_s=0.3)
    with pytest.raises(PermanentError, match="may have been delivered"):
        await notifier.send(HELLO)

    receiver.behaviour = act.answers(200, {})

    assert (await notifier.send(HELLO)).provider == "gotify"
    await notifier.aclose()


async def test_a_cancelled_message_closes_its_connection_and_frees_its_thread(
    receiver: act.LoopbackServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(apprise_vendor, "_THREADS", 1)
    receiver.behaviour = act.never_answers
    notifier = gotify(receiver, timeout_s=50.0)
    sending = asyncio.ensure_future(notifier.send(HELLO))
    await receiver.arrived.wait()

    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
    await receiver.left.wait()
    receiver.behaviour = act.answers(200, {})
    assert (await notifier.send(HELLO)).provider == "gotify"
    await notifier.aclose()


async def test_a_connection_that_never_comes_about_delivered_nothing():  # B17
    """A queue of connections that is full, which nobody takes up."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        port = full.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))

        error = await failure(vendor(f"gotify://127.0.0.1:{port}/{TOKEN}", timeout_s=0.3))

    assert type(error) is ProviderError


SMS_CHANNELS = {
    "clicksend": "clicksend://user:pass@",
    "d7sms": "d7sms://token@",
    "msgbird": f"msgbird://{'a' * 25}/15005550006",
    "nexmo": f"nexmo://{'a' * 8}:{'b' * 16}@15005550006",
    "plivo": f"plivo://{'A' * 25}@{'b' * 40}/15005550006",
    "sinch": f"sinch://{'a' * 32}:{'b' * 32}@15005550006",
    "twilio": TWILIO,
    "vonage": f"vonage://{'a' * 8}:{'b' * 16}@15005550006",
}


@pytest.mark.parametrize("scheme", sorted(SMS_VENDORS))
async def test_a_number_that_apprise_drops_is_refused_rather_than_sent_to_oneself(
    connections: Connections, scheme: str
):
    """Left alone, apprise would send to the number it sends from, and say that all is well."""
    for number in ("+1234567", "+123456789012345"):
        dropped = Notification(key="t", message="Hällo", recipients=(number,))

        error = await failure(vendor(SMS_CHANNELS[scheme], allow_private_networks=False), dropped)

        assert type(error) is PermanentError
        assert "10 to 14 digits" in str(error)
    assert connections.attempts == connections.asked == []
    good = vendor(SMS_CHANNELS[scheme])
    await good.check()
    await good.aclose()


async def test_a_module_that_says_no_before_it_sends_is_not_asked_again(
    receiver: act.LoopbackServer, monkeypatch: pytest.MonkeyPatch
):
    real = apprise_vendor._private_copy

    def refusing(module: str, settings: NotifyConfig) -> Any:
        plugin = real(module, settings)
        plugin.send = lambda self, *arguments, **options: False
        return plugin

    monkeypatch.setattr(apprise_vendor, "_private_copy", refusing)

    error = await failure(gotify(receiver))

    assert type(error) is PermanentError
    assert "sent nothing" in str(error)


async def test_an_answer_that_a_vendor_s_module_stumbles_over_leaves_doubt(
    receiver: act.LoopbackServer, monkeypatch: pytest.MonkeyPatch
):  # B17
    real = apprise_vendor._private_copy

    def stumbling(module: str, settings: NotifyConfig) -> Any:
        plugin = real(module, settings)
        send = plugin.send

        def send_and_stumble(self: Any, *arguments: Any, **options: Any) -> bool:
            send(self, *arguments, **options)
            raise KeyError(MAMA)

        plugin.send = send_and_stumble
        return plugin

    monkeypatch.setattr(apprise_vendor, "_private_copy", stumbling)

    accepted = await failure(gotify(receiver))
    receiver.behaviour = act.answers(500, {})
    refused = await failure(gotify(receiver))

    assert type(accepted) is PermanentError
    assert "may have been delivered" in str(accepted)
    assert type(refused) is ProviderError


async def test_a_message_that_only_some_of_a_channel_s_topics_took_is_not_sent_again(
    receiver: act.LoopbackServer, monkeypatch: pytest.MonkeyPatch
):  # B17
    real = apprise_vendor._private_copy

    def without_pauses(module: str, settings: NotifyConfig) -> Any:
        plugin = real(module, settings)
        plugin.request_rate_per_sec = 0  # apprise waits 5.5 s from one request of a message to its next
        return plugin

    monkeypatch.setattr(apprise_vendor, "_private_copy", without_pauses)

    async def refuse_the_second(exchange: act.Exchange) -> None:
        await exchange.answer(200 if len(receiver.received) % 2 else 500, b"{}")

    receiver.behaviour = refuse_the_second
    url = f"ntfy://127.0.0.1:{receiver.port}/first/second"

    error = await failure(vendor(url))
    asked_for = await failure(vendor(url, retry_unknown=True))

    assert type(error) is PermanentError
    assert "in part" in str(error)
    assert type(asked_for) is ProviderError
    assert len(receiver.received) == 4


async def test_a_port_where_nobody_listens_is_worth_another_attempt(receiver: act.LoopbackServer):  # B17
    await receiver.aclose()

    error = await failure(gotify(receiver))

    await receiver.start()
    assert type(error) is ProviderError


async def test_no_more_of_an_answer_is_read_than_is_of_use(receiver: act.LoopbackServer):
    receiver.behaviour = act.endless

    error = await failure(gotify(receiver, timeout_s=5.0))

    assert isinstance(error, PermanentError)
    assert receiver.exchanges[0].sent < 20_000_000


@pytest.mark.parametrize("url", ["gotify://", "twilio://x", f"twilio://{SID}:@", "tgram://", "slack://x"])
async def test_an_address_that_apprise_cannot_read_is_a_matter_of_configuration(url: str):
    error = await failure(vendor(url), SMS)

    assert "'parents'" in str(error)
    assert error.permanent


async def test_check_reads_the_address_and_sends_nothing(connections: Connections, receiver: act.LoopbackServer):
    for notifier in (gotify(receiver), vendor(TWILIO)):
        await notifier.check()
        await notifier.aclose()
        await notifier.aclose()

    with pytest.raises(AsyncProcessorError, match="'parents'"):
        await vendor("tgram://").check()
    assert connections.attempts == []


async def test_nothing_of_a_message_is_logged_above_debug(twilio: ManyAnswers, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    twilio.statuses = {PAPA: 500}
    notifier = vendor(TWILIO)

    await notifier.send(Notification(key="t", message="Hällo", recipients=(MAMA, PAPA)))
    await notifier.aclose()

    assert [record.getMessage() for record in caplog.records] == []
