"""DuckDB, locked down: one table in memory, no files, no network, no settings that a query could change.

What was measured and must stay as it is:

- ``enable_external_access=false`` stops ``read_csv``, ``COPY``, ``ATTACH`` and ``INSTALL``; without
  ``lock_configuration`` a query may switch it on again.
- ``python_enable_replacements=false``: else a query reads any Python variable by its name.
- ``temp_directory=''``: else what does not fit in memory is written to ``.tmp`` in the working directory.
- ``memory_limit`` does not count a single long text: ``repeat('x', 1000000000)`` took 4 GB. See ``bounded_memory``.
- ``interrupt`` ends a query in about 10 ms, and is forgotten by the next; so it is called until the query has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import UUID

from ...config import DataConfig
from ...errors import InvalidPayloadError, PermanentError
from ..extras import needs_extra
from ..payload import invalid

NAME = "duckdb"
DATA, QUERY = "data", "query"

_POLL_S = 0.02
_MIB = 1024 * 1024
_LOCK = ("SET enable_external_access=false", "SET lock_configuration=true")
# Without padding, one short row makes the reader take the whole of each line for one text, and say nothing. Read in
# parallel, padding and line breaks in quotes do not go together.
_READERS = {"csv": "read_csv(?, null_padding=true, parallel=false)", "parquet": "read_parquet(?)"}

_CSV_LINE = re.compile(r"CSV Error on Line: (\d+)")


class StoppedError(PermanentError):
    """The attempt is to stop. Nobody sees it: who asked for the stop decides what is told of the attempt."""


@dataclass(slots=True, frozen=True)
class Rows:
    """What a query gave: names of its columns, rows of plain values, and whether there were more."""

    names: list[str]
    values: list[list[Any]]
    truncated: bool


class Relation(NamedTuple):
    """Something to select from: SQL of our own making, and its parameters."""

    sql: str
    parameters: tuple[Any, ...] = ()


class Engine:
    """A database of one attempt's own. Use it as a context manager, on one thread.

    Args:
        config: limits.
        cancelled: whether the attempt is to stop; looked at while a query runs, on another thread.

    Raises:
        MissingExtraError: the extra "data" is not installed.
    """

    def __init__(self, config: DataConfig, cancelled: Callable[[], bool]) -> None:
        with needs_extra("data", needed_for="DATA_ANALYTICS"):
            import duckdb
        self._duckdb: Any = duckdb
        self._timeout = config.query_timeout_s
        self._cancelled = cancelled
        self._until: float | None = None
        self._until_lock = threading.Lock()
        self._closed = threading.Event()
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{config.memory_limit_mb}MiB",
                "threads": config.threads,
                "temp_directory": "",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "python_enable_replacements": "false",
                # Texts are what object arrays hold here; nothing is guessed from a sample of them.
                "pandas_analyze_sample": 0,
                # Says where in a query the mistake is, apart from the text that is wrong.
                "errors_as_json": "true",
            },
        )
        # Times without a zone are read in it; the machine's own would change the figures.
        self._connection.execute("SET TimeZone='UTC'")
        self._watch = threading.Thread(target=self._interrupt_when_due, name="async-processor-duckdb", daemon=True)
        self._watch.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._watch.join()
        self._connection.close()

    def check(self) -> None:
        """End the work here if the attempt is to stop.

        Raises:
            StoppedError: it is.
        """
        if self._cancelled():
            raise StoppedError("stopped")

    def offer(self, found: Any) -> Relation:
        """NumPy arrays by name, or an Arrow table, as something to select from."""
        self._connection.register("given", found)
        return Relation("given")

    def file(self, path: str, form: str) -> Relation:
        """A file of our own making, as something to select from; only before ``lock``."""
        return Relation(_READERS[form], (path,))

    def describe(self, relation: Relation) -> list[tuple[str, str]]:
        """Names and types of its columns."""
        rows = self._fetch(f"DESCRIBE SELECT * FROM {relation.sql}", relation.parameters)
        return [(name, kind) for name, kind, *_ in rows]

    def load(self, relation: Relation, columns: int, expressions: Sequence[str], max_rows: int) -> None:
        """Make the table ``t`` of expressions over its columns, which are ``c0``, ``c1``, ... here and there.

        Reads one row more than is allowed, for the caller to count.
        """
        there, here = _names(columns), _names(len(expressions))
        self.run(
            f"CREATE TABLE t({here}) AS SELECT {', '.join(expressions)} "
            f"FROM {relation.sql} AS given({there}) LIMIT {max_rows + 1}",
            relation.parameters,
        )

    def lock(self) -> None:
        """From here on the table ``t`` is all there is: no file can be opened, and no setting changed."""
        self._connection.unregister("given")
        for statement in _LOCK:
            self.run(statement)

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """One statement of our own, for its effect."""
        with self._timed(DATA):
            self._connection.execute(sql, parameters)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[list[Any]]:
        """All rows of a query of our own, as plain values."""
        return [[plain(value) for value in row] for row in self._fetch(sql, parameters)]

    def select(self, query: str, limit: int) -> Rows:
        """At most ``limit`` rows of a caller's query.

        Raises:
            InvalidPayloadError: it is not one SELECT, is wrong, or wants what is locked.
            PermanentError: it takes more time or memory than it may.
        """
        with self._timed(QUERY):
            statements = self._connection.extract_statements(query)
            if len(statements) != 1 or statements[0].type != self._duckdb.StatementType.SELECT:
                raise invalid(QUERY, "must be one SELECT statement over the table data, and nothing else")
            self._connection.execute(statements[0])
            names = [str(item[0]) for item in self._connection.description or ()]
            found = self._connection.fetchmany(limit + 1)
            values = [[plain(value) for value in row] for row in found[:limit]]
        return Rows(names, values, truncated=len(found) > limit)

    def _fetch(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._timed(DATA):
            found: list[tuple[Any, ...]] = self._connection.execute(sql, parameters).fetchall()
        return found

    @contextlib.contextmanager
    def _timed(self, field: str) -> Iterator[None]:
        """Bounds what runs inside in time, and turns the database's errors into ours."""
        self.check()
        self._until = time.monotonic() + self._timeout
        try:
            yield
        except self._duckdb.InterruptException:
            self.check()
            raise PermanentError(
                f"the analysis was stopped after query_timeout_s ({self._timeout:g} s); send less data or a simpler "
                "query, or raise DataConfig.query_timeout_s"
            ) from None
        except (self._duckdb.OutOfMemoryException, MemoryError):
            raise _too_much_memory() from None
        except RecursionError:
            raise invalid(field, "nests too deeply; send something flatter") from None
        except self._duckdb.Error as error:
            if field == DATA and isinstance(error, self._duckdb.ParserException):
                raise  # a mistake of ours
            raise _refusal(error, field) from None
        finally:
            with self._until_lock:  # else the watch could interrupt what comes next
                self._until = None

    def _interrupt_when_due(self) -> None:
        while not self._closed.wait(_POLL_S):
            with self._until_lock:
                if self._until is not None and (self._cancelled() or time.monotonic() >= self._until):
                    self._connection.interrupt()


def plain(value: Any) -> Any:
    """A value of the database as one that JSON has: times in ISO 8601, decimals as floats, what is not finite None."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date | clock_time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)


@contextlib.contextmanager
def file_in_memory(data: bytes) -> Iterator[str]:
    """A path under which this process alone can read the bytes, while the block runs. Never on a disk."""
    descriptor = os.memfd_create("async-processor-data", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def bounded_memory(extra_mb: int) -> Iterator[None]:
    """Let this process take at most ``extra_mb`` MiB more while the block runs. For worker processes only.

    Beyond that allocations fail, in the database and in Python, and nothing else does.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    wanted = taken + extra_mb * _MIB
    allowed = min([wanted, *(limit for limit in before if limit != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, before[1]))
    try:
        yield
    except MemoryError:
        raise _too_much_memory() from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _too_much_memory() -> PermanentError:
    return PermanentError(
        "the analysis needs more memory than memory_limit_mb; send less data or a simpler query, or raise "
        "DataConfig.memory_limit_mb"
    )


def _names(count: int) -> str:
    return ", ".join(f"c{number}" for number in range(count))


# What went wrong, by the database's class of error, and what to send instead. Its own words repeat the query's.
_PROBLEMS = {
    "ParserException": "is no SQL that DuckDB reads; send one SELECT statement",
    "CatalogException": "names a table or a function that there is not; send a query over the table data",
    "BinderException": "names a column that there is not, or combines types that do not fit; send another query",
    "PermissionException": "wants a file, the network or an extension; send a query over the table data only",
    "ConversionException": "converts a value that does not fit the type; send another query, TRY_CAST gives NULL there",
    "OutOfRangeException": "computes a number that is out of range; send another query",
}


def _refusal(error: Exception, field: str) -> InvalidPayloadError:
    if field == DATA:
        line = _CSV_LINE.search(str(error))
        place = "" if line is None else f" at line {line[1]}"
        return invalid(
            DATA,
            f"cannot be read or computed with{place} ({type(error).__name__} of DuckDB); send a whole file in its "
            "format, a CSV in UTF-8 with one type in each column",
        )
    position = _position(str(error))
    place = "" if position is None else f" (at character {position + 1})"
    problem = _PROBLEMS.get(type(error).__name__, f"cannot be run ({type(error).__name__}); send another query")
    return invalid(QUERY, problem.replace(";", f"{place};", 1))


def _position(message: str) -> int | None:
    """Where in the query the mistake is: "Parser Error: {... "position": "7"}"."""
    try:
        return int(json.loads(message[message.index("{") :])["position"])
    except (ValueError, KeyError, TypeError):
        return None
