"""Arrow's IPC bytes, stream or file, to a table that DuckDB can read."""

from __future__ import annotations

from typing import Any

from ..extras import needs_extra
from ..payload import invalid

FIELD = "data"


def read_table(data: bytes) -> Any:
    """The ``pyarrow.Table`` of some bytes.

    Raises:
        InvalidPayloadError: they are none that Arrow wrote.
        MissingExtraError: the extra "arrow" is not installed.
    """
    with needs_extra("arrow", needed_for="DATA_ANALYTICS of Arrow data"):
        import pyarrow as pa
    reader = pa.ipc.open_file if data[:6] == b"ARROW1" else pa.ipc.open_stream
    try:
        with reader(pa.py_buffer(data)) as opened:
            table = opened.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError):
        raise invalid(FIELD, "is not Arrow's IPC format; send the bytes of an Arrow stream or file") from None
    return table
