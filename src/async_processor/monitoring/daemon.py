"""Starts the threads of the monitoring."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("async_processor.monitoring")


def start_daemon(run: Callable[[], None], name: str) -> threading.Thread | None:
    """Run something in a thread that no exit of the program waits for.

    None, and a line in the log, where no thread can be had: monitoring does without, rather than fail the processor.
    """
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        logger.warning("monitoring goes on without its thread %s, which cannot be started: %s", name, error)
        return None
    return thread
