"""Where attempts run: one module per lane behind one protocol. Knows nothing of priorities or dependencies."""
