import threading

import pytest


@pytest.fixture
def no_threads_left():
    """A system that gives no further thread: here, because none has room for its stack."""
    before = threading.stack_size(1 << 45)
    yield
    threading.stack_size(before)
