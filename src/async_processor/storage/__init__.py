"""Remembers tasks across restarts: one protocol, stores that keep it, and how tasks are put into bytes."""
