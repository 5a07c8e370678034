-- The statements of the SQLite store by name, but for those that write changes (staging.sql). A /*rows*/ before a tuple
-- of parameters means: as often as there are rows, in one statement (sql_files.py says why).

-- unfinished_again --
-- A task that had ended has not.
INSERT INTO unfinished (row)
VALUES /*rows*/ (?);

-- erase_unfinished --
DELETE FROM unfinished
WHERE row IN (VALUES /*rows*/ (?));

-- count_crashes --
-- At start: every attempt that was running died with the last owner.
UPDATE unfinished
SET running = 0, crashes = crashes + 1
WHERE running = 1;

-- accepted_rows --
-- Which of these rows are there: after a commit that failed.
SELECT row FROM tasks
WHERE row IN (VALUES /*rows*/ (?));

-- totals --
-- What an opening needs to know, and whether every task has its one state: a cheap check of the whole.
SELECT
    (SELECT coalesce(max(row), 0) FROM tasks),
    (SELECT count(*) FROM tasks),
    (SELECT count(*) FROM unfinished),
    (SELECT count(*) FROM finished),
    (SELECT count(*) FROM finished WHERE status = 'completed'),
    (SELECT count(*) FROM quarantine);

-- count_finished --
-- How many of them completed, how many did not: counted along, and anew where a change did not find its row.
SELECT
    (SELECT count(*) FROM finished WHERE status = 'completed'),
    (SELECT count(*) FROM finished WHERE status <> 'completed');

-- idempotency_keys --
SELECT idempotency_key, id FROM tasks
WHERE idempotency_key IS NOT NULL;

-- unfinished_in_order --
-- In one text, for to step through many small rows is to ask for the interpreter's lock as often.
SELECT group_concat(row) FROM (
    SELECT unfinished.row AS row
    FROM unfinished LEFT JOIN tasks ON tasks.row = unfinished.row
    ORDER BY tasks.priority, unfinished.row
);

-- read_unfinished --
-- The columns are those that sqlite_rows.py names. The left side decides: a state without its task must be noticed.
SELECT unfinished.row, id, type, priority, created_at, submitted_at, idempotency_key, tasks.crc, spec,
    CASE running WHEN 0 THEN 'pending' WHEN 1 THEN 'running' END, attempt, crashes, cancel_requested,
    first_started_at, started_at, due, NULL, error, progress, progress_message, NULL, NULL, NULL, NULL
FROM unfinished LEFT JOIN tasks ON tasks.row = unfinished.row
WHERE unfinished.row IN (VALUES /*rows*/ (?));

-- read_finished --
SELECT finished.row, id, type, priority, created_at, submitted_at, idempotency_key, tasks.crc, spec,
    status, attempt, crashes, cancel_requested,
    first_started_at, started_at, NULL, finished_at, error, progress, progress_message,
    finished.crc, outcome, value, value_file
FROM finished LEFT JOIN tasks ON tasks.row = finished.row
WHERE finished.row IN (VALUES /*rows*/ (?));

-- rows_of_ids --
-- The id is that of the index, which is right even if the one in the row is damaged.
SELECT row, id FROM tasks
WHERE id IN (VALUES /*rows*/ (?));

-- read_dependencies --
SELECT child, parent FROM dependencies
WHERE child IN (VALUES /*rows*/ (?))
ORDER BY child, position;

-- oldest_completed --
-- Those that may go, of an age: not what an unfinished task still depends on. In one text, for to step through many rows
-- is to ask for the interpreter's lock as often.
SELECT json_group_array(json_array(row, idempotency_key, value_file)) FROM (
    SELECT finished.row AS row, idempotency_key, value_file
    FROM finished JOIN tasks ON tasks.row = finished.row
    WHERE status = 'completed' AND finished_at <= ?1 AND NOT EXISTS (
        SELECT 1 FROM dependencies JOIN unfinished ON unfinished.row = child WHERE parent = tasks.id
    )
    ORDER BY finished_at
    LIMIT ?2
);

-- oldest_not_completed --
SELECT json_group_array(json_array(row, idempotency_key, value_file)) FROM (
    SELECT finished.row AS row, idempotency_key, value_file
    FROM finished JOIN tasks ON tasks.row = finished.row
    WHERE status <> 'completed' AND finished_at <= ?1 AND NOT EXISTS (
        SELECT 1 FROM dependencies JOIN unfinished ON unfinished.row = child WHERE parent = tasks.id
    )
    ORDER BY finished_at
    LIMIT ?2
);

-- erase_tasks --
DELETE FROM tasks
WHERE row IN (VALUES /*rows*/ (?));

-- erase_dependencies --
DELETE FROM dependencies
WHERE child IN (VALUES /*rows*/ (?));

-- erase_finished --
DELETE FROM finished
WHERE row IN (VALUES /*rows*/ (?));

-- value_files --
SELECT DISTINCT value_file FROM finished
WHERE value_file IS NOT NULL;

-- rows_of_file --
SELECT count(*) FROM finished
WHERE value_file = ?;

-- quarantined_rows --
SELECT row FROM quarantine
WHERE row IN (VALUES /*rows*/ (?));

-- quarantine --
-- The row as it was found, as SQL writes its values.
INSERT INTO quarantine (row, at, reason, task, state)
VALUES (?1, ?2, ?3,
    (SELECT quote(id) || ',' || quote(type) || ',' || quote(priority) || ',' || quote(created_at) || ',' ||
        quote(submitted_at) || ',' || quote(idempotency_key) || ',' || quote(crc) || ',' || quote(spec)
     FROM tasks WHERE row = ?1),
    (SELECT quote(status) || ',' || quote(finished_at) || ',' || quote(attempt) || ',' || quote(error) || ',' ||
        quote(crc) || ',' || quote(outcome) || ',' || quote(value) || ',' || quote(value_file)
     FROM finished WHERE row = ?1));

-- fail_unreadable --
-- Its row in "tasks" stays as it is: what cannot be read cannot safely be changed.
INSERT INTO finished (row, status, finished_at, attempt, crashes, cancel_requested, error, crc)
VALUES (?1, 'failed', ?2, 0, 0, 0, ?3, ?4);
