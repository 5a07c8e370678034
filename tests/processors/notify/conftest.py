"""Real servers on loopback, and what watches where connections go."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.processors.ai import server as act
from tests.processors.notify.connections import Connections, watched
from tests.processors.notify.mail_server import MailServerKit


@pytest.fixture
async def receiver() -> AsyncIterator[act.LoopbackServer]:
    """An HTTP server that says yes to everything, until a test has it behave otherwise."""
    server = act.LoopbackServer(act.answers(200, {}))
    await server.start()
    yield server
    await server.aclose()


@pytest.fixture
async def mail_server() -> AsyncIterator[MailServerKit]:
    kit = MailServerKit()
    await kit.start()
    yield kit
    await kit.aclose()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``key.pem`` and a self-signed ``certificate.pem`` for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    command = [
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost",
        "-keyout", folder / "key.pem", "-out", folder / "certificate.pem",
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=50)
    except FileNotFoundError:
        pytest.skip("needs the openssl command to make a certificate")
    return folder


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    return context


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connections]:
    with watched(monkeypatch) as found:
        yield found
