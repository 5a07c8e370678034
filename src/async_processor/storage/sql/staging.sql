-- How the changes of many tasks become one statement (sqlite_staging.py says why): an INSERT of all of them into "staged".
--
-- The changes of one step come first, a row each; then a row that names the step. That one carries the step out for all
-- rows staged so far and empties the table. So one INSERT does any number of steps, in their order, and as it is one
-- statement, all of it happens or nothing. All of this is temporary: it belongs to a connection and is in no file.

PRAGMA temp_store = MEMORY;

-- A row that is null only fills up the statement, and is passed over.
CREATE TEMP TABLE staged (
    row INTEGER NOT NULL ON CONFLICT IGNORE, a, b, c, d, e, f, g, h, i, j, step TEXT
);

CREATE TEMP VIEW steps (step) AS SELECT NULL;

-- One trigger looks at each row, so that the others need not.
CREATE TEMP TRIGGER step_is_whole AFTER INSERT ON staged WHEN NEW.step IS NOT NULL BEGIN
    INSERT INTO steps (step) VALUES (NEW.step);
    DELETE FROM staged;
END;

-- A task was accepted: what never changes of it, and that it has not ended. i, j: number and time of its first attempt,
-- if that begins with it.
CREATE TEMP TRIGGER accept INSTEAD OF INSERT ON steps WHEN NEW.step = 'accept' BEGIN
    INSERT INTO tasks (row, id, type, priority, created_at, submitted_at, idempotency_key, crc, spec)
    SELECT row, a, b, c, d, e, f, g, h FROM staged WHERE step IS NULL;
    INSERT INTO unfinished (row, running, attempt, first_started_at, started_at)
    SELECT row, i IS NOT NULL, coalesce(i, 0), j, j FROM staged WHERE step IS NULL;
END;

-- What it waits for.
CREATE TEMP TRIGGER depend INSTEAD OF INSERT ON steps WHEN NEW.step = 'depend' BEGIN
    INSERT INTO dependencies (child, position, parent)
    SELECT row, a, b FROM staged WHERE step IS NULL;
END;

-- An attempt is about to begin.
CREATE TEMP TRIGGER start INSTEAD OF INSERT ON steps WHEN NEW.step = 'start' BEGIN
    UPDATE unfinished
    SET running = 1, attempt = new.a, started_at = new.b, first_started_at = coalesce(first_started_at, new.b),
        due = NULL, progress = NULL, progress_message = NULL
    FROM staged AS new
    WHERE unfinished.row = new.row;
END;

-- The attempt failed, and another is due.
CREATE TEMP TRIGGER retry INSTEAD OF INSERT ON steps WHEN NEW.step = 'retry' BEGIN
    UPDATE unfinished
    SET running = 0, due = new.a, error = new.b
    FROM staged AS new
    WHERE unfinished.row = new.row;
END;

CREATE TEMP TRIGGER request_cancel INSTEAD OF INSERT ON steps WHEN NEW.step = 'request_cancel' BEGIN
    UPDATE unfinished
    SET cancel_requested = 1
    WHERE row IN (SELECT row FROM staged);
END;

CREATE TEMP TRIGGER hand_back INSTEAD OF INSERT ON steps WHEN NEW.step = 'hand_back' BEGIN
    UPDATE unfinished
    SET running = 0
    WHERE row IN (SELECT row FROM staged);
END;

CREATE TEMP TRIGGER progress INSTEAD OF INSERT ON steps WHEN NEW.step = 'progress' BEGIN
    UPDATE unfinished
    SET progress = new.a, progress_message = new.b
    FROM staged AS new
    WHERE unfinished.row = new.row;
END;

-- Only of a task that has not ended: the join finds no other.
CREATE TEMP TRIGGER finish INSTEAD OF INSERT ON steps WHEN NEW.step = 'finish' BEGIN
    INSERT INTO finished (
        row, status, finished_at, error, crc, outcome, value, value_file,
        attempt, crashes, cancel_requested, first_started_at, started_at, progress, progress_message
    )
    SELECT new.row, a, b, c, d, e, f, g,
        attempt, crashes, cancel_requested, first_started_at, started_at, progress, progress_message
    FROM staged AS new CROSS JOIN unfinished ON unfinished.row = new.row;
    DELETE FROM unfinished
    WHERE row IN (SELECT row FROM staged);
END;
