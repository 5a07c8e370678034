"""The command of a later version, whose schema has one version more behind it: a store of "version 0" is migrated."""

from tests.cli.stores import migration

from async_processor.cli import main
from async_processor.storage import sqlite_schema

if __name__ == "__main__":
    sqlite_schema.MIGRATIONS[1] = migration()  # type: ignore[index]
    main()
