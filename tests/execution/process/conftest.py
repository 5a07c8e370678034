"""One process lane for all tests of a module: each of them also shows that the ones before have done it no harm."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from tests.execution.lane_kit import Bench
from tests.execution.process.kit import open_lane


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Bench]:
    """A bench with two slots. Its tests are marked ``asyncio(loop_scope="module")``."""
    async with open_lane(2) as bench:
        yield bench
