"""Background work inside an application's own asyncio process."""
