"""Every notifier of ours keeps the contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.processors.ai import server as act
from tests.processors.notify.mail_server import MailServerKit

from async_processor.config import NotifyConfig
from async_processor.processors.notifier import Notification, Notifier
from async_processor.processors.notifiers import open_channel
from async_processor.testing.provider_contracts import Check, notifier_checks

SETTINGS = NotifyConfig(allow_private_networks=True, timeout_s=10.0)
TO_MAMA = Notification(key="task-1", message="Hello", recipients=("mama@example.org",))
TO_ALL = Notification(key="task-1", message="Hello")

CHANNELS: dict[str, tuple[str, Notification]] = {
    "mail": ("smtp://127.0.0.1:{mail}?from=bear@example.org", TO_MAMA),
    "webhook": ("json://127.0.0.1:{http}/", TO_ALL),
    "vendor": ("gotify://127.0.0.1:{http}/A0123456789abcd", TO_ALL),
}
NOBODY_LISTENS = 9


def checks(kind: str, ports: dict[str, int]) -> dict[str, Check]:
    url, notification = CHANNELS[kind]

    def maker(ports: dict[str, int]) -> Callable[[], Notifier]:
        return lambda: open_channel("c", url.format(**ports), SETTINGS)

    broken = maker(dict.fromkeys(ports, NOBODY_LISTENS))
    return {check.name: check for check in notifier_checks(maker(ports), notification, broken=broken)}


@pytest.mark.parametrize("kind", CHANNELS)
@pytest.mark.parametrize("name", checks("mail", {"mail": 1, "http": 1}))
async def test_a_notifier_keeps_the_contract(
    mail_server: MailServerKit, receiver: act.LoopbackServer, kind: str, name: str
):
    await checks(kind, {"mail": mail_server.port, "http": receiver.port})[name]()
