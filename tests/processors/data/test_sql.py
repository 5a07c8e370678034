"""A caller's SQL: what it may ask, and everything that it may not do."""

from __future__ import annotations

import datetime as dt
import inspect
import itertools
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processors.data.kit import analyse, query

from async_processor.config import DataConfig
from async_processor.errors import InvalidPayloadError, PermanentError
from async_processor.processors.providers.duckdb_engine import Engine, StoppedError, plain

ENDLESS = "SELECT sum(i % 7) FROM range(1000000000000) t(i)"
TOYS = [{"toy": "bear", "minutes": 12}, {"toy": "ball", "minutes": 7}, {"toy": "bear", "minutes": 20}]


def test_a_query_sees_the_table_under_the_callers_names():
    found = query(TOYS, "SELECT toy, sum(minutes) AS total FROM data GROUP BY toy ORDER BY total DESC")

    assert found["columns"] == ["toy", "total"]
    assert found["rows"] == [["bear", 32], ["ball", 7]]
    assert (found["row_count"], found["truncated"]) == (3, False)


def test_a_query_may_begin_otherwise_and_end_in_a_comment():
    for text in (
        "WITH x AS (FROM data) SELECT count(*) FROM x",
        "select count(*) from data; -- all",
        "(SELECT count(*) FROM data)",
    ):
        assert query(TOYS, text)["rows"] == [[3]]


def test_rows_beyond_the_limit_are_never_made():
    found = query(TOYS, "SELECT * FROM range(1000000000000)", limit=4)

    assert (found["rows"], found["truncated"]) == ([[0], [1], [2], [3]], True)
    assert not query(TOYS, "SELECT * FROM data", limit=3)["truncated"]


# Not one of these may do what it says. All are refused as the payload's fault, so none is tried again.
HOSTILE = [
    "SELECT * FROM read_csv('{file}')", "SELECT * FROM '{file}'", "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_blob('{file}')", "SELECT * FROM glob('{folder}/*')", "SELECT * FROM sniff_csv('{file}')",
    "SELECT * FROM read_parquet('{file}')", "SELECT * FROM parquet_metadata('{file}')",
    "SELECT * FROM read_json('{file}')",
    "SELECT * FROM read_csv('http://127.0.0.1:9/x')", "SELECT * FROM 's3://bucket/x.parquet'",
    "COPY data TO '{folder}/out.csv'", "COPY (SELECT 1) TO '{folder}/out.parquet'", "EXPORT DATABASE '{folder}'",
    "ATTACH '{folder}/new.db'", "INSTALL httpfs", "LOAD httpfs", "PRAGMA version", "PRAGMA database_list",
    "PRAGMA enable_profiling", "SET threads = 64", "SET memory_limit = '64GB'", "SET enable_external_access = true",
    "RESET lock_configuration", "CALL pragma_version()", "CREATE TABLE x AS SELECT 1", "DROP VIEW data",
    "DELETE FROM t",
    "INSERT INTO t SELECT * FROM t", "UPDATE t SET c0 = 1", "USE memory", "CHECKPOINT", "VACUUM", "BEGIN",
    "PREPARE x AS SELECT 1", "EXECUTE x", "EXPLAIN SELECT 1", "CREATE MACRO f() AS 1", "CREATE SECRET (TYPE s3)",
    "SELECT 1; SELECT 2", "SELECT 1; COPY data TO '{folder}/out.csv'", "", ";", "-- nothing", "SELECT ?", "SELECT $1",
    "SELECT * FROM TOYS", "SELECT * FROM hidden_frame", "SELECT * FROM duckdb_secrets()", "SELECT getenv('HOME')",
    "SELEC 1", "SELECT nothing FROM data", "SELECT * FROM nothing", "SELECT nothing(1)", "SELECT CAST('x' AS INT)",
    "SELECT 9223372036854775807 + 1", "SELECT " + "(" * 3_000 + "1" + ")" * 3_000, "SELECT 1" + " + 1" * 30_000,
    "SELECT * FROM import_database('{folder}')", "SELECT * FROM set_config('threads', 1)",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:40])
def test_a_query_that_is_more_than_a_question_is_refused(text: str, tmp_path: Path):
    secret = tmp_path / "secret.csv"
    secret.write_text("password\nhunter2\n")
    hidden_frame = {"a": [1]}  # DuckDB would find a variable of this name

    with pytest.raises(InvalidPayloadError, match=r"send|must be") as caught:
        query(TOYS, text.replace("{file}", str(secret)).replace("{folder}", str(tmp_path)))

    assert caught.value.field == "query"
    assert str(tmp_path) not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]
    assert hidden_frame


def test_a_mistake_is_told_by_its_place_and_not_by_its_text():
    with pytest.raises(InvalidPayloadError) as caught:
        query(TOYS, "SELECT toy, hunter2 FROM data")

    assert "(at character 13)" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_what_a_query_writes_is_gone_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    query(TOYS, "WITH gone AS (DELETE FROM t RETURNING *) SELECT count(*) FROM gone")

    assert query(TOYS, "SELECT count(*) FROM data")["rows"] == [[3]]
    assert list(tmp_path.iterdir()) == []


HOSTILE_NAMES = [
    '"',
    '""',
    '"; DROP TABLE t; --',
    "a'b",
    "select",
    "c0",
    "t",
    "data",
    " ",
    "ü\N{BEAR FACE}",
    "a\nb",
    "{0}",
    "%s",
    "\\",
    "rowid",
]


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "x" * 10_000, ""], ids=ascii)
def test_a_column_may_be_called_anything(name: str):
    records = [{name: 3, "other": 1.0}, {name: 5, "other": 2.0}]

    assert [item["name"] for item in analyse(records)["columns"]] == [name, "other"]
    assert analyse(records, analysis_type="group_by", by=name, aggregations={"other": "sum"})["groups"][1] == {
        "key": {name: 5}, "count": 1, "values": {"other": {"sum": 2.0}},
    }  # fmt: skip
    assert analyse(records, analysis_type="outliers", columns=[name])["columns"][0]["name"] == name
    assert analyse(records, analysis_type="correlation")["pairs"][0]["a"] == name
    if name:
        found = query(records, "SELECT * FROM data")
        assert (found["columns"], found["rows"][0]) == ([name, "other"], [3, 1.0])


@settings(max_examples=40)
@given(names=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique_by=str.casefold))
def test_any_names_are_quoted(names: list[str]):
    try:
        found = query([dict.fromkeys(names, 7)], "SELECT * FROM data")
    except InvalidPayloadError:
        assert any("\0" in name for name in names)
        return
    assert (found["columns"], found["rows"]) == (names, [[7] * len(names)])


def test_a_query_that_takes_too_long_is_stopped_and_not_tried_again():
    began = time.monotonic()

    with pytest.raises(PermanentError, match="query_timeout_s"):
        query(TOYS, ENDLESS,
              config=DataConfig(query_timeout_s=0.2))  # fmt: skip

    assert time.monotonic() - began < 5


def test_a_query_ends_soon_after_its_attempt_is_to_stop():
    """As the thread lane tells it: a flag that turns true while the database works."""
    looks = itertools.count()
    with Engine(DataConfig(), lambda: next(looks) >= 3) as engine, pytest.raises(StoppedError):
        engine.rows(ENDLESS)

    assert next(looks) < 200, "about 20 ms lie between two looks"


def test_an_attempt_that_is_to_stop_asks_nothing_more():
    with pytest.raises(StoppedError):
        analyse(TOYS, cancelled=True)


@pytest.mark.parametrize(
    "text",
    ["SELECT list(i) FROM range(100000000) t(i)", "SELECT i FROM range(50000000) t(i) ORDER BY random()"],
)  # fmt: skip
def test_a_query_that_takes_too_much_memory_is_stopped(text: str):
    with pytest.raises(PermanentError, match="memory_limit_mb"):
        query(TOYS, text, config=DataConfig(memory_limit_mb=50))


GREEDY = """
import resource, sys
from async_processor.config import DataConfig
from async_processor.context import TaskContext
from async_processor.errors import PermanentError
from async_processor.model import ProcessingTask
from async_processor.processors.data_analytics import analyse

def run(text):
    task = ProcessingTask("data_analytics", {"data": {"a": [1]}, "analysis_type": "sql", "query": text})
    context = TaskContext(task_id="t", task_type="data_analytics")
    return analyse(task, context, config=DataConfig(memory_limit_mb=100), apart=True)

run("SELECT 1")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    run("SELECT repeat('x', 1000000000)")
except PermanentError as error:
    print(error)
grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print("bounded" if grown_mb < 300 else f"grew by {grown_mb:.0f} MiB")
print(run("SELECT 42")["rows"], len(bytes(400_000_000)))
"""


def test_one_huge_text_does_not_get_round_the_limit_in_a_worker():
    """The database does not count it; four gigabytes were taken."""
    ran = subprocess.run([sys.executable, "-c", GREEDY], capture_output=True, text=True, timeout=50, check=True)

    lines = ran.stdout.splitlines()
    assert "memory_limit_mb" in lines[0]
    assert lines[1:] == ["bounded", "[[42]] 400000000"]


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("170141183460469231731687303715884105727::HUGEINT", 2**127 - 1),
        ("1.50::DECIMAL(10, 2)", 1.5),
        ("'nan'::DOUBLE", None),
        ("'-inf'::FLOAT", None),
        ("DATE '2026-03-01'", "2026-03-01"),
        ("TIMESTAMP '2026-03-01 12:30:00.5'", "2026-03-01T12:30:00.500000"),
        ("TIMESTAMPTZ '2026-03-01 12:30:00+02'", "2026-03-01T10:30:00+00:00"),
        ("TIMESTAMP '290000-01-01'", "290000-01-01 00:00:00"),
        ("TIME '10:20:30'", "10:20:30"),
        ("INTERVAL '90 seconds'", 90.0),
        ("'\\xFFa'::BLOB", "ff61"),
        ("UUID '00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001"),
        ("[1.5, NULL, 'nan'::DOUBLE]", [1.5, None, None]),
        ("{'a': DATE '2026-03-01', 'b': [true]}", {"a": "2026-03-01", "b": [True]}),
        ("MAP {1: 'x'}", {"1": "x"}),
        ("NULL", None),
        ("'\\u00e9' || chr(0)", "\\u00e9\0"),
        ("1e308 * 10", None),
        ("1234567890123456789012345678901234567890123::BIGNUM", "1234567890123456789012345678901234567890123"),
    ],
)  # fmt: skip
def test_every_type_of_the_database_comes_out_as_json_has_it(sql: str, value: object):
    assert query(TOYS, f"SELECT {sql}")["rows"] == [[value]]


def nested_query(depth: int, frames: int) -> Any:
    """Ask for lists in lists from so deep a stack; the database takes long over deeper ones."""
    if frames:
        return nested_query(depth, frames - 1)
    return query(TOYS, f"SELECT {'[' * depth}1{']' * depth}")


def test_deeply_nested_values_are_refused_or_given():
    free = sys.getrecursionlimit() - len(inspect.stack())
    with pytest.raises(InvalidPayloadError, match="nests too deeply"):
        nested_query(150, free - 250)
    assert nested_query(50, 0)["rows"]


def test_plain_values_are_plain():
    assert plain({Decimal("1.5"): (UUID(int=0), dt.timedelta(hours=1), memoryview(b"a"))}) == {
        "1.5": ["00000000-0000-0000-0000-000000000000", 3600.0, "61"]
    }
