"""Watches: observers of the engine, memory, the event loop. Nothing here is ever felt by a task."""
