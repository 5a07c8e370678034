from __future__ import annotations

import pytest
from tests.processors.ai.server import LoopbackServer, says


@pytest.fixture
async def server():
    """A server that answers well until the test tells it otherwise."""
    loopback = LoopbackServer(says())
    await loopback.start()
    yield loopback
    await loopback.aclose()
