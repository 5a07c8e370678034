"""Tables that come as the bytes of a file."""

from __future__ import annotations

import functools
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processors.data.kit import analyse, naive, query, summary_of
from tests.source_code import ROOT

from async_processor.config import DataConfig
from async_processor.errors import InvalidPayloadError, MissingExtraError, PermanentError

CSV = b"toy,minutes,when\nbear,12.5,2026-01-01T10:00:00+02:00\nball,,2026-01-02T00:00:00Z\nbear,20,\n"


def parquet(tmp_path: Path, select: str) -> bytes:
    """What DuckDB itself writes, in a process of its own making."""
    path = tmp_path / "table.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


def arrow(table: pa.Table, *, stream: bool = True) -> bytes:
    sink = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def test_csv_has_its_types_found():
    found = analyse(CSV, format="csv")

    assert [(item["name"], item["type"], item["count"]) for item in found["columns"]] == [
        ("toy", "text", 3), ("minutes", "number", 2), ("when", "time", 2),
    ]  # fmt: skip
    assert found["columns"][1]["mean"] == 16.25
    assert found["columns"][2]["min"] == "2026-01-01T08:00:00"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_rows_of_csv_may_be_too_short_or_too_long(separator: str):  # B18
    """DuckDB alone would make one column of texts of it."""
    data = "a,b\n1,2\n3\n4,5,6\n".replace(",", separator).encode()

    found = analyse(data, format="csv")

    assert [(item["name"], item["type"], item["count"]) for item in found["columns"]] == [
        ("a", "integer", 3), ("b", "integer", 2), ("column2", "integer", 1),
    ]  # fmt: skip


def test_a_line_of_csv_that_does_not_fit_is_told_by_its_number():
    with pytest.raises(InvalidPayloadError, match="at line 30002 ") as caught:
        analyse(b"a,b\n" + b"1,2\n" * 30_000 + b"hunter2,3\n", format="csv")

    assert "hunter2" not in str(caught.value)


def test_text_in_quotes_may_hold_separators_quotes_and_line_breaks():
    rows = query(b'a,b\n"1,""x""\ny",2\n"",3\n,4\n', "SELECT * FROM data", format="csv")["rows"]

    assert rows == [['1,"x"\ny', 2], [None, 3], [None, 4]]


ELSEWHERE = """
from tests.processors.data.kit import analyse
found = analyse(b"at,v\\n2026-01-01 00:00:00,1\\n2026-01-01T00:00:00+02:00,2\\n", format="csv")
print(found["columns"][0]["min"], found["columns"][0]["max"])
"""


def test_the_zone_of_the_machine_does_not_matter():
    ran = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], cwd=ROOT, env=os.environ | {"TZ": "Asia/Tokyo"},
        capture_output=True, text=True, timeout=50, check=True,
    )  # fmt: skip

    assert ran.stdout.split() == ["2025-12-31T22:00:00", "2026-01-01T00:00:00"]


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_bytes_may_be_of_any_kind(wrap: type):
    assert analyse(wrap(CSV), format="CSV")["row_count"] == 3


def test_what_csv_calls_a_number_and_is_none_is_no_value():
    assert summary_of(b"x\n1\nnan\ninf\n-inf\n3\n", "x", format="csv")["count"] == 2
    with pytest.raises(InvalidPayloadError, match=r"beyond 1e\+150 in column 'x'"):
        analyse(b"x\n1.5\n1e200\n", format="csv")


def test_parquet_keeps_its_types(tmp_path: Path):
    data = parquet(
        tmp_path,
        "SELECT 1::TINYINT a, 2.5::DECIMAL(9, 2) b, 'x'::ENUM('x', 'y') c, DATE '2026-01-01' d, 1.5::FLOAT e, "
        "TIMESTAMPTZ '2026-01-01 01:00:00+01' f, TIME '10:00' g, uuid() h, "
        "4::UBIGINT i, NULL::VARCHAR j, INTERVAL 1 DAY k, true l",
    )

    found = analyse(data, format="parquet")

    assert {item["name"]: item["type"] for item in found["columns"]} == {
        "a": "integer", "b": "number", "c": "text", "d": "time", "e": "number", "f": "time", "g": "text", "h": "text",
        "i": "integer", "j": "text", "k": "text", "l": "boolean",
    }  # fmt: skip
    assert found["columns"][5]["min"] == "2026-01-01T00:00:00"


@pytest.mark.parametrize("stream", [True, False])
def test_arrow_is_read_as_stream_and_as_file(stream: bool):
    table = pa.table({"n": [1, None, 3], "t": pa.array(["a", "b", None]), "at": [naive(2026, 1, 1)] * 3})

    found = analyse(arrow(table, stream=stream), format="arrow")

    assert [(item["name"], item["type"], item["count"]) for item in found["columns"]] == [
        ("n", "integer", 2), ("t", "text", 2), ("at", "time", 3),
    ]  # fmt: skip


def test_without_pyarrow_arrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    data = arrow(pa.table({"n": [1]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtraError, match=r"advanced-async-processor\[arrow\]"):
        analyse(data, format="arrow")


@pytest.mark.parametrize(
    "select", ["SELECT [1, 2] AS a", "SELECT {'b': 1} AS a", "SELECT 'x'::BLOB AS a", "SELECT MAP {1: 2} AS a"]
)
def test_columns_of_lists_structs_and_bytes_are_refused(select: str, tmp_path: Path):
    with pytest.raises(InvalidPayloadError, match=r"in column 'a'; values must be"):
        analyse(parquet(tmp_path, select), format="parquet")


@pytest.mark.parametrize(
    ("data", "form"),
    [(b"", "csv"), (b"junk", "parquet"), (b"junk", "arrow"), (b"PAR1" + b"\xff" * 99 + b"PAR1", "parquet"),
     (b"a\n\xff\n", "csv"), (b"ARROW1", "arrow"), (b"ARROW1\0\0" + b"\xff" * 50, "arrow"),
     (b"x" * 5_000_000, "csv"), (b"\x1f\x8bjunk", "csv")],
)  # fmt: skip
def test_bytes_that_are_no_such_file_are_refused_without_being_repeated(data: bytes, form: str):
    with pytest.raises(InvalidPayloadError, match=r"send") as caught:
        analyse(data, format=form)
    assert caught.value.field == "data"
    assert "junk" not in str(caught.value)
    assert "/proc" not in str(caught.value)


def test_the_format_must_be_said():
    for form in (None, "xlsx", 3):
        with pytest.raises(InvalidPayloadError, match="format"):
            analyse(CSV, format=form)


def test_a_small_file_that_holds_very_much_is_refused(tmp_path: Path):  # B18
    data = parquet(tmp_path, "SELECT 0 AS a FROM range(20000000)")
    assert len(data) < 2_000_000

    with pytest.raises(InvalidPayloadError, match="at most 10000000 cells"):
        analyse(data, format="parquet")


def test_a_view_of_one_number_is_bytes_too():
    view = memoryview(b"a\n12345\n").cast("Q", ())

    assert analyse(view, format="csv")["row_count"] == 1


def test_more_bytes_or_columns_than_allowed_are_refused():
    with pytest.raises(InvalidPayloadError, match="at most 10"):
        analyse(CSV, format="csv", config=DataConfig(max_bytes=10))
    with pytest.raises(InvalidPayloadError, match="more than 1000 columns"):
        analyse((",".join(f"c{number}" for number in range(1_500)) + "\n").encode(), format="csv")


def test_names_that_differ_in_case_only_are_told_apart_but_by_sql():
    data = b"a,A\n1,2\n"
    assert [item["mean"] for item in analyse(data, format="csv")["columns"]] == [1.0, 2.0]
    with pytest.raises(InvalidPayloadError, match="differ in case only"):
        query([{"a": 1, "A": 2}], "SELECT 1")


def test_nothing_is_left_on_the_disk_or_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = list(Path("/proc/self/fd").iterdir())

    analyse(CSV, format="csv")
    with pytest.raises(InvalidPayloadError):
        analyse(b"junk", format="parquet")

    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == len(before)


def is_read_or_refused(data: bytes, form: str) -> None:
    try:
        assert analyse(data, format=form)["row_count"] >= 0
    except InvalidPayloadError as error:
        assert error.field == "data"  # noqa: PT017 - the other outcome is as good
    except PermanentError as error:  # what claims to be very large
        assert "memory_limit_mb" in str(error)  # noqa: PT017


CSV_LIKE = st.text(alphabet="a1,;\"\n'\t -.:", max_size=200).map(str.encode)
ANY = given(data=st.binary(max_size=200) | CSV_LIKE, form=st.sampled_from(["csv", "parquet", "arrow"]))
EDITS = st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=6)


def edited(data: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
    """A file in which some bytes were put in the place of some others."""
    for place, added, removed in edits:
        at = place % len(data)
        data = data[:at] + added + data[at + removed :] or b"x"
    return data


@functools.cache
def files() -> list[tuple[str, bytes]]:
    table = pa.table({"n": [1, None, 3], "t": pa.array(["a", "b", None]).dictionary_encode(), "x": [0.5, 1.5, 2.5]})
    with tempfile.TemporaryDirectory() as folder:
        select = "SELECT i, i / 3 AS x, 'a' || i AS t, DATE '2026-01-01' + i::INTEGER AS d FROM range(99) r(i)"
        return [
            ("csv", CSV), ("arrow", arrow(table)), ("arrow", arrow(table, stream=False)),
            ("parquet", parquet(Path(folder), select)),
        ]  # fmt: skip


@settings(max_examples=40)
@ANY
def test_any_bytes_are_read_or_refused(data: bytes, form: str):  # B18
    is_read_or_refused(data, form)


@settings(max_examples=40)
@given(number=st.integers(0, 3), edits=EDITS)
def test_a_damaged_file_is_read_or_refused(number: int, edits: list[tuple[int, bytes, int]]):  # B18
    form, data = files()[number]
    is_read_or_refused(edited(data, edits), form)


@pytest.mark.nightly
@settings(max_examples=2_000)
@ANY
def test_any_bytes_at_length(data: bytes, form: str):
    is_read_or_refused(data, form)


@pytest.mark.nightly
@settings(max_examples=2_000)
@given(number=st.integers(0, 3), edits=EDITS)
def test_damaged_files_at_length(number: int, edits: list[tuple[int, bytes, int]]):
    form, data = files()[number]
    is_read_or_refused(edited(data, edits), form)
