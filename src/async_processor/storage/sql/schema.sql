-- The store's tables, as of schema version 1.
--
-- A task has one row in "tasks", written when it is accepted and never touched again, and one in either "unfinished"
-- or "finished". What changes often is thereby small and apart from what is large: to start an attempt rewrites some
-- sixty bytes and no index, and the rows of the unfinished are the few that a restart has to read.
--
-- Times are seconds since the epoch (UTC). Bytes are opaque here; storage/codec.py knows what is in them.

-- row: the order of acceptance. crc: of the other columns and the dependencies, because SQLite does not check content.
CREATE TABLE tasks (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    priority INTEGER NOT NULL,
    created_at REAL NOT NULL,
    submitted_at REAL NOT NULL,
    idempotency_key TEXT,
    crc INTEGER NOT NULL,
    spec BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX keyed ON tasks (idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Which tasks (parent) a task (child) waits for. A parent may come later than its child, so it is an id and no row.
-- Kept as long as the child, for it is part of what was accepted.
CREATE TABLE dependencies (
    child INTEGER NOT NULL,
    position INTEGER NOT NULL,
    parent TEXT NOT NULL,
    PRIMARY KEY (child, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX dependents ON dependencies (parent);

-- running 0 -> 1: an attempt starts. 1 -> 0: it failed and another is due, or it was handed back, or its process died
-- (then crashes grows by one). The row goes when the task ends.
CREATE TABLE unfinished (
    row INTEGER PRIMARY KEY,
    running INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    first_started_at REAL,
    started_at REAL,
    due REAL,
    error TEXT,
    progress REAL,
    progress_message TEXT
) STRICT;

-- status: completed, failed, cancelled or timeout; never changes. value_file: name of the file that holds the value
-- instead, if it is large. crc: of status, error, outcome and value or value_file.
CREATE TABLE finished (
    row INTEGER PRIMARY KEY,
    status TEXT NOT NULL,
    finished_at REAL NOT NULL,
    attempt INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    first_started_at REAL,
    started_at REAL,
    error TEXT,
    progress REAL,
    progress_message TEXT,
    crc INTEGER NOT NULL,
    outcome BLOB,
    value BLOB,
    value_file TEXT
) STRICT;

-- What retention reads: successes and all else are kept for different times.
CREATE INDEX completed ON finished (finished_at) WHERE status = 'completed';
CREATE INDEX not_completed ON finished (finished_at) WHERE status <> 'completed';
CREATE INDEX filed ON finished (value_file) WHERE value_file IS NOT NULL;

-- Rows that could not be read, as they were found, and why. Their tasks end as failed. Nothing reads this but people.
CREATE TABLE quarantine (
    number INTEGER PRIMARY KEY,
    row INTEGER NOT NULL,
    at REAL NOT NULL,
    reason TEXT NOT NULL,
    task ANY,
    state ANY
) STRICT;
