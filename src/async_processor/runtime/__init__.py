"""Waits: the asyncio shell that carries out what the scheduler decides."""
