"""DBOS with its system database in SQLite: each task is a workflow."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Self

from dbos import DBOS
from sqlalchemy import Engine, event

from benchmarks.durable import workloads
from benchmarks.system import Adapters

NAME = "dbos"
PACKAGE = "dbos"
ABOUT = "workflows on SQLite: what waits survives, what runs runs again from its last step; results are kept"


@DBOS.workflow()
async def successor(number: int) -> int:
    return number + 1


class Dbos:
    """See ``benchmarks.durable.Durable``."""

    def __init__(self, folder: Path, *, power: bool) -> None:
        self._path = folder / "dbos.db"
        self._synchronous = "FULL" if power else "NORMAL"

    async def __aenter__(self) -> Self:
        event.listen(Engine, "connect", self._set_up)
        DBOS(config={"name": "benchmarks", "system_database_url": f"sqlite:///{self._path}", "log_level": "WARNING"})
        DBOS.launch()
        return self

    async def __aexit__(self, *raised: object) -> None:
        DBOS.destroy()

    async def successor(self, number: int) -> int:
        handle = await DBOS.start_workflow_async(successor, number)
        result: int = await handle.get_result()
        return result

    async def kept(self) -> int:
        with sqlite3.connect(self._path) as connection:
            statement = "SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'"
            (count,) = connection.execute(statement).fetchone()
        return int(count)

    def _set_up(self, connection: Any, _: Any) -> None:
        # Faster than the rollback journal that it uses by itself.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")


ADAPTERS: Adapters = workloads(Dbos)
