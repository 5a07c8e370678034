"""Sees every attempt of this process to send a packet to an address, whoever makes it: Python's audit events.

The events come from the interpreter's own socket code, before the system is asked to connect. A hook cannot be taken
away again, so there is one for all tests, which notes only while a test watches.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

_EVENTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_watching: list[Connections] = []


@dataclass
class Connections:
    """Where packets were to go, in order; and what names are taken to mean in this test."""

    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def resolve(self, name: str, *answers: list[str]) -> None:
        """Let a name have these addresses: the first list when it is looked up first, then the next; the last stays."""
        self.names[name] = list(answers)

    def answer(self, name: str) -> list[str]:
        self.asked.append(name)
        answers = self.names[name]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _EVENTS and isinstance(arguments[1], tuple):
        for connections in _watching:
            connections.attempts.append(arguments[1])
            if not ipaddress.ip_address(arguments[1][0]).is_loopback:
                raise OSError(errno.ENETUNREACH, "no packet of a test leaves the machine")


sys.addaudithook(_hook)


@contextlib.contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connections]:
    connections = Connections()
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if host not in connections.names:
            return real(host, port, *rest, **options)
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in connections.answer(host)
        ]

    # A name server that a test can tell what to say: there is none to be had otherwise.
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    _watching.append(connections)
    try:
        yield connections
    finally:
        _watching.remove(connections)
