from __future__ import annotations

import ssl
import subprocess

import pytest
from tests.processors.ai.server import LoopbackServer, says


@pytest.fixture
async def server():
    """A server that answers well until the test tells it otherwise."""
    loopback = LoopbackServer(says())
    await loopback.start()
    yield loopback
    await loopback.aclose()


@pytest.fixture
async def unused_port():
    """A port that nobody listens on any more."""
    loopback = LoopbackServer(says())
    await loopback.start()
    await loopback.aclose()
    return loopback.port


@pytest.fixture(scope="module")
def untrusted(tmp_path_factory) -> ssl.SSLContext:
    """TLS with a certificate that nobody vouches for."""
    folder = tmp_path_factory.mktemp("tls")
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
            check=True, capture_output=True, timeout=50,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("needs the openssl command to make a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context
