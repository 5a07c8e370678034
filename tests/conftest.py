"""What holds for every test: asyncio in debug mode, reproducible Hypothesis, and a check for what is left behind."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import settings
from tests.leaks import assert_back_to, look

# "ci" finds the same on every machine and run; "explore" goes on looking: HYPOTHESIS_PROFILE=explore.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
async def no_leaks() -> AsyncIterator[None]:
    """Fails a test that leaves threads, processes, open files or asyncio tasks behind."""
    before = look()
    yield
    await assert_back_to(before)
