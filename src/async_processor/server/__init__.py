"""Health and events over HTTP, for a web application of one's own or for the command's server. See docs/server.md."""

from __future__ import annotations

from .access import Access
from .app import create_app, health_routes
from .event_feed import StreamSettings

__all__ = ["Access", "StreamSettings", "create_app", "health_routes"]
