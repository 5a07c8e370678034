"""Decides: pure and synchronous. No clock, no dice, no I/O of its own."""
