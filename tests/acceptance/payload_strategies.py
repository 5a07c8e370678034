"""Payloads by schema, for Hypothesis: fields missing, of the wrong type, out of range, right, and ones too many."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from tests.acceptance.payloads import PIXEL, count_fields

from async_processor import ProcessingType
from async_processor.processors.spoken_answer import SPOKEN_ANSWER

Payloads = st.SearchStrategy[dict[str, Any]]


def _released() -> memoryview:
    view = memoryview(b"gone")
    view.release()
    return view


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(), max_size=20)
    | st.binary(max_size=10) | st.builds(object) | st.builds(_released)
    | st.sampled_from([10**400, -1, Decimal("NaN"), Decimal("sNaN"), dt.date.max, str, "\ud800", 1j, ...])
)  # fmt: skip
KEYS = st.text(max_size=5) | st.none() | st.integers() | st.binary(max_size=3)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=5,
)


def _of(required: dict[str, Payloads] | None = None, **optional: st.SearchStrategy[Any]) -> Payloads:
    """Mostly what the fields of a schema may hold; each also with anything else in it, and with what nobody reads."""
    right: dict[str, Any] = {name: strategy | ANYTHING for name, strategy in {**(required or {}), **optional}.items()}
    mixed = st.fixed_dictionaries({}, optional={**right, "child_id": ANYTHING, "extra": ANYTHING})
    # One that lacks nothing, and is mostly right in all else: few of the others get past their first field.
    whole = st.fixed_dictionaries(dict(required or {}), optional={**optional, "child_id": ANYTHING})
    return whole | mixed | st.tuples(whole, mixed).map(lambda pair: {**pair[0], **dict(list(pair[1].items())[:1])})


NAMES = st.sampled_from(["toys", "name", "age"]) | st.text(min_size=1, max_size=5)
LISTED = NAMES | st.lists(NAMES, max_size=4)
WORDS = st.text(max_size=30)
SOUND = st.sampled_from([b"RIFF", b"fLaC", b"OggS", b"ID3", b"\0\0\0 ftyp", b"\xff\xfb\x90\0", b"", b"\0"]).flatmap(
    lambda head: st.binary(max_size=40).map(lambda rest: head + rest)
)
SOUND_FIELDS: dict[str, Any] = {
    "sample_rate": st.integers(7_000, 200_000),
    "channels": st.integers(0, 9),
}
BUFFERS = SOUND | SOUND.map(bytearray) | SOUND.map(memoryview) | SOUND.map(lambda data: memoryview(data)[::2])

OPERATION = st.fixed_dictionaries(
    {
        "operation": st.sampled_from(
            ["resize", "crop", "thumbnail", "rotate", "convert", "grayscale", "blur", "sharpen", "enhance"]
        )
    },
    optional={
        **{name: st.integers(-1, 70_000) for name in ("width", "height", "left", "top", "percent", "threshold")},
        **{name: st.floats() for name in ("degrees", "radius", "contrast", "brightness", "color")},
        "fit": st.sampled_from(["fill", "contain", "cover", "best"]),
        "format": st.sampled_from(["JPEG", "png", "jpg", "bmp"]),
        "expand": st.booleans(),
    },
)

VALUES = st.none() | st.integers() | WORDS | st.lists(st.integers(), max_size=2)
ROW = st.dictionaries(NAMES, VALUES | ANYTHING, max_size=3)
CONDITION = VALUES | st.fixed_dictionaries(
    {"op": st.sampled_from(["=", "<", "like", "in", "not in", "is null", "between"])},
    optional={"value": VALUES | ANYTHING},
)
WHERE = st.dictionaries(NAMES, CONDITION | st.lists(CONDITION, max_size=2), max_size=3)
STATEMENT = _of(
    {
        "operation": st.sampled_from(["select", "insert", "upsert", "update", "delete", "sql"]),
        "table": NAMES,
        "values": ROW | st.lists(ROW, max_size=3),
        "where": WHERE,
    },
    columns=LISTED,
    order_by=LISTED,
    conflict_columns=LISTED,
    limit=st.integers(-1, 10),
    offset=st.integers(-1, 10),
    all_rows=st.booleans(),
    sql=st.sampled_from(["SELECT 1", "DROP TABLE toys", "/* */ (select :a)", "UPDATE toys SET a = :a", ""]),
    parameters=st.dictionaries(NAMES, VALUES, max_size=2),
)

CHART = _of(
    {"kind": st.sampled_from(["line", "bar", "HISTOGRAM", "scatter", "pie"])},
    x=NAMES,
    y=NAMES | st.lists(NAMES, max_size=2),
    bins=st.integers(-1, 2_000),
    title=WORDS,
    width=st.integers(0, 9_000),
    height=st.integers(0, 9_000),
)

PAYLOADS: dict[str, Payloads] = {
    ProcessingType.AUDIO_TRANSCRIPTION: _of(
        {"audio_data": BUFFERS}, language=st.sampled_from(["en", "de-AT", "x", "EN-us"]), **SOUND_FIELDS
    ),
    ProcessingType.AUDIO_ENHANCEMENT: _of(
        {"audio_data": BUFFERS},
        noise_reduction=st.booleans(),
        normalization=st.booleans(),
        target_lufs=st.floats(-60, 0),
        output_sample_rate=st.integers(7_000, 200_000),
        **SOUND_FIELDS,
    ),
    ProcessingType.EMOTION_ANALYSIS: _of(
        {"text": WORDS},
        audio_data=BUFFERS,
        analysis_type=st.sampled_from(["comprehensive", "prosody", "audio", "TEXT", "mood"]),
        baseline=st.dictionaries(st.sampled_from(["pitch_hz", "spectral_tilt_db"]), st.floats(-100, 300), max_size=2),
        model=WORDS,
        **SOUND_FIELDS,
    )
    | _of({"audio_data": BUFFERS}, analysis_type=st.sampled_from(["comprehensive", "audio"]), **SOUND_FIELDS),
    ProcessingType.AI_RESPONSE: _of(
        {"prompt": WORDS},
        prompt_template=st.sampled_from(["child_interaction", "bedtime_story", "other"]),
        text=WORDS,
        system=WORDS,
        model=WORDS,
        max_tokens=st.integers(-1, 5_000),
        context=st.dictionaries(st.sampled_from(["child_age", "emotion", "topic", "child_id"]), ANYTHING, max_size=3),
    ),
    ProcessingType.IMAGE_GENERATION: _of(
        {"prompt": WORDS},
        negative_prompt=WORDS,
        size=st.sampled_from(["512x512", "8X8", "1e9x1", " 64 × 64 "]),
        width=st.integers(0, 9_000),
        height=st.integers(0, 9_000),
        seed=st.integers(-1, 2**33),
        steps=st.integers(0, 200),
        guidance_scale=st.floats(-1, 60),
        quality=st.sampled_from(["auto", "HIGH", "best"]),
    ),
    ProcessingType.IMAGE_PROCESSING: _of(
        {"image_data": st.sampled_from([PIXEL, bytearray(PIXEL), memoryview(PIXEL), b"", b"\x89PNG\r\n\x1a\n"])},
        operations=st.lists(OPERATION | ANYTHING, max_size=3),
        output_format=st.sampled_from(["JPEG", "jpg", "webp", "GIF"]),
        quality=st.integers(0, 101),
        operation=st.sampled_from(["grayscale", "blur", "melt"]),
    ),
    ProcessingType.DATA_ANALYTICS: _of(
        {
            "data": st.lists(st.dictionaries(NAMES, ANYTHING, max_size=2), max_size=3)
            | st.dictionaries(KEYS, ANYTHING, max_size=3)
            | BUFFERS
        },
        format=st.sampled_from(["csv", "Parquet", "arrow", "xlsx"]),
        analysis_type=st.sampled_from(["summary", "group_by", "time_series", "correlation", "outliers", "sql", "x"]),
        limit=st.integers(-1, 2_000),
        by=LISTED,
        aggregations=st.dictionaries(NAMES, st.sampled_from(["sum", "MEAN", "mode", ["min", "max"], []]), max_size=3),
        time_column=NAMES,
        value_column=NAMES,
        interval=st.sampled_from(["day", "15 minutes", "0 days", "1 fortnight"]),
        window=st.integers(-1, 20_000),
        columns=LISTED,
        method=st.sampled_from(["iqr", "zscore", "mad", "eye"]),
        threshold=st.floats(-1, 10),
        query=st.sampled_from(["SELECT 1", "", " ", "a\0b"]),
        chart=CHART,
    ),
    SPOKEN_ANSWER: _of({"text": WORDS}),
    ProcessingType.DATABASE_OPERATION: STATEMENT
    | _of(
        {
            "operation": st.just("transaction"),
            "statements": st.lists(STATEMENT | ANYTHING, max_size=3),
        },
        connection=NAMES,
        once=NAMES,
    ),
    ProcessingType.TEXT_ANALYSIS: _of(
        {"text": WORDS},
        analysis_type=st.sampled_from(["all", "SENTIMENT", ["keywords", "language"], "ner", [], "x"]),
        max_keywords=st.integers(-2, 60),
        language=st.sampled_from(["en", "de-AT", "english", ""]),
    ),
    ProcessingType.NOTIFICATION: _of(
        {"message": WORDS, "recipients": st.lists(st.sampled_from(["a@example.org", "+49 151 12345678", "ä"]))},
        recipient=st.sampled_from(["a@example.org", "Mama <b@example.org>", "a@b", "x\r\ny"]),
        channel=st.sampled_from(["one", "two"]),
        subject=WORDS,
        title=WORDS,
        html=WORDS,
        attachments=st.lists(
            st.fixed_dictionaries({"name": NAMES | ANYTHING, "content": BUFFERS | ANYTHING}) | ANYTHING, max_size=2
        ),
    )
    | _of({"message": WORDS}),
    ProcessingType.CUSTOM: _of(
        {"processor": st.sampled_from([count_fields, len, print, dict, max, lambda payload, context: context])},
    ),
}
