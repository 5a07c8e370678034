"""Events as server-sent events: what crosses the border to a browser, and what does not.

No result, no message of a function's and no profile is told: they may hold what a child said. Text that callers chose
(task ids, names of types) stands in JSON, where no line break can end a frame.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from ..model import TaskPriority
from ..monitoring.events import EVENT_HOOKS, Event

_WITHHELD = {"result", "message", "profile"}

HEARTBEAT = b":\n\n"
"""A comment: for proxies that close what is silent."""


def event_frame(event: Event, event_id: str) -> bytes:
    """One event of a processor, named as the hook that tells of it."""
    told = {name: _plain(value) for name, value in event._asdict().items() if name not in _WITHHELD}
    return frame(EVENT_HOOKS[type(event)], told, event_id)


def frame(name: str, data: dict[str, Any], event_id: str) -> bytes:
    """One server-sent event."""
    return f"id: {event_id}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode("ascii")


def retry_line(seconds: float) -> bytes:
    """When a client is to come again after its stream ended."""
    return f"retry: {seconds * 1000:.0f}\n\n".encode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, TaskPriority):
        return value.name.lower()
    return value.value if isinstance(value, Enum) else value
