"""One leaf module per library or hosted service behind a built-in processor."""
