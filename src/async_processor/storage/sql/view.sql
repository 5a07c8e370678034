-- What other processes ask of a store, by name. Read in short transactions: a reader that holds on to an old state keeps
-- the write-ahead log from being cut back.

-- list_tasks --
-- The newest first.
SELECT row, id, type, priority, status, attempt, crashes, submitted_at, started_at, due, finished_at, error,
    progress, progress_message
FROM (
    SELECT tasks.row AS row, id, type, priority, CASE running WHEN 0 THEN 'pending' ELSE 'running' END AS status,
        attempt, crashes, submitted_at, started_at, due, NULL AS finished_at, error, progress, progress_message
    FROM unfinished JOIN tasks ON tasks.row = unfinished.row
    UNION ALL
    SELECT tasks.row, id, type, priority, status,
        attempt, crashes, submitted_at, started_at, NULL, finished_at, error, progress, progress_message
    FROM finished JOIN tasks ON tasks.row = finished.row
)
WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR type = ?2)
ORDER BY row DESC
LIMIT ?3;

-- count_tasks --
SELECT type, status, count(*) FROM (
    SELECT type, CASE running WHEN 0 THEN 'pending' ELSE 'running' END AS status
    FROM unfinished JOIN tasks ON tasks.row = unfinished.row
    UNION ALL
    SELECT type, status FROM finished JOIN tasks ON tasks.row = finished.row
)
GROUP BY type, status
ORDER BY type, status;

-- count_unfinished --
SELECT count(*) FROM unfinished;

-- oldest_unfinished --
SELECT min(submitted_at) FROM unfinished JOIN tasks ON tasks.row = unfinished.row;

-- count_quarantined --
SELECT count(*) FROM quarantine;
