"""Values as bytes: what comes back, what is refused, and what a stranger's bytes can do."""

from __future__ import annotations

import ast
import contextlib
import io
import itertools
import pickle
import random
import re
import struct
import subprocess
import sys
import threading
import time as clock
import tracemalloc
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.source_code import internal, load_modules

from async_processor import ProcessingType, TaskPriority, TaskStatus
from async_processor.errors import StoreFormatError, UnserializableError
from async_processor.model import LaneName
from async_processor.storage import nesting
from async_processor.storage.codec import decode_value, encode_value
from async_processor.storage.packing import MAX_DEPTH

np = pytest.importorskip("numpy")

MIB = 1 << 20


ONE_OF_EACH = [
    None, True, -1, 1.5, "\N{TEDDY BEAR}", b"a", [{"a": {}}], (1, ()), 2**70, {2}, frozenset({3}), {(1,): 4},
    Decimal("1.5"), UUID(int=1), bytearray(b"a"), datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 2),
    time(1, 2, fold=1), timedelta(-1, 2, 3), ProcessingType.CUSTOM, TaskPriority.LOW, TaskStatus.FAILED, LaneName.RAY,
    np.arange(2, dtype="<i2"), np.float32(1),
]  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Equal and of the same types all the way down; NaN is the same as NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        pairs = itertools.zip_longest(one.items(), other.items())
        return all(same(a, b) for a, b in pairs)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        return one == other and sorted(map(repr, map(type, one))) == sorted(map(repr, map(type, other)))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, np.generic):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, float):
        return struct.pack(">d", one) == struct.pack(">d", other)
    if isinstance(one, Decimal):
        return str(one) == str(other)
    if isinstance(one, datetime | time):
        return one == other and one.utcoffset() == other.utcoffset() and one.fold == other.fold
    return bool(one == other)


def back(value: Any) -> Any:
    return decode_value(encode_value(value, "value"))


# ---- what comes back

offsets = (
    st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
    # Refused, because Python reads them as none.
    .filter(lambda offset: not timedelta(0) < abs(offset) < timedelta(seconds=1))
    .map(timezone)
)
zones = st.none() | st.just(UTC) | offsets
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 200), 1 << 200)
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=20)
    | st.datetimes(timezones=zones)
    | st.dates()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.sampled_from([*ProcessingType, *TaskPriority, *TaskStatus, *LaneName]),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
leaves = keys | st.floats() | st.decimals() | st.times(timezones=zones) | st.binary(max_size=20).map(bytearray)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(texts, inner, max_size=5)
        | st.dictionaries(keys, inner, max_size=5)
        | st.sets(keys, max_size=5)
    ),
    max_leaves=25,
)


FIRST, LAST, TWICE = (
    datetime.fromisoformat(text) for text in ("0001-01-01", "9999-12-31T23:59:59.999999", "2026-10-25T02:30")
)
DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", ">i4", ">f8"]
DTYPES += ["M8[ns]", "m8[3D]"]


@settings(max_examples=300)
@given(values)
def test_what_goes_in_comes_out_equal_and_of_the_same_types(value: Any):
    assert same(back(value), value)


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**10_000, -(10**10_000),
        0.0, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324,
        "", "\0", "\N{TEDDY BEAR}", b"", bytearray(), [], (), set(), frozenset(), {},
        [[], (), {}], ((((),),),), {1: {(2, (3, b"4")): {5}}}, {frozenset({1}), (1, 2)},
        {True: "a", 2: "b", None: "c", b"d": "d", 1.5: "e", 2**70: "f", "g": "g"},
        FIRST, LAST, TWICE.replace(fold=1), TWICE.time().replace(fold=1),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(seconds=1, microseconds=1))),
        datetime(2026, 1, 1, tzinfo=timezone(-timedelta(hours=5, minutes=30))),
        time(12, tzinfo=UTC), timedelta.min, timedelta.max,
        Decimal("NaN"), Decimal("sNaN123"), Decimal("-Infinity"), Decimal("1E+999999999"), Decimal("-0E-99"),
        Decimal("1." + "1" * 5_000),
        *ProcessingType, *TaskPriority, *TaskStatus, *LaneName,
    ],
    ids=lambda value: f"int of {value.bit_length()}" if type(value) is int else repr(value)[:30],
)  # fmt: skip
def test_an_edge_of_a_type_comes_back(value: Any):
    assert same(back(value), value)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)])
def test_an_array_comes_back_with_its_dtype_and_shape_and_can_be_written_to(dtype: str, shape: tuple[int, ...]):
    array = np.arange(np.prod(shape, dtype=int)).astype("i8").reshape(shape).astype(dtype)

    found = back({"array": array, "both": (array, array)})

    assert same(found, {"array": array, "both": (array, array)})
    assert found["array"].flags.writeable
    assert found["array"].flags.owndata or found["array"].base is not None


def test_a_piece_of_an_array_and_one_in_fortran_order_come_back_by_their_items():
    array = np.asfortranarray(np.arange(24.0).reshape(4, 6))

    assert (back(array) == array).all()
    assert (back(array[::2, ::-3]) == array[::2, ::-3]).all()


@pytest.mark.parametrize("text", ["f8", "f4", "i2", "u8", "?", "c16", "M8[D]", "m8[s]"])
def test_a_numpy_scalar_comes_back_also_as_a_key(text: str):
    scalar = np.zeros(1, text)[0]

    assert same(back([scalar]), [scalar])
    assert same(back({scalar: 1}), {scalar: 1})


def test_a_memoryview_comes_back_as_bytes():
    assert same(back([memoryview(b"abcd")[1:], memoryview(b"abcd")[::2]]), [b"bcd", b"ac"])


def test_a_time_zone_comes_back_as_its_offset():
    here = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))

    assert back(here) == here
    assert back(here).tzinfo == timezone(timedelta(hours=2))


def test_a_value_can_be_a_hundred_levels_deep_and_no_more():
    for wrap in (
        lambda inner: [inner],
        lambda inner: (inner,),
        lambda inner: {"a": inner},
        lambda inner: {2**80: inner},
    ):
        value: Any = 1
        for _ in range(MAX_DEPTH):
            value = wrap(value)

        assert same(back(value), value)
        with pytest.raises(UnserializableError, match="deeper than 100 levels"):
            encode_value(wrap(value), "payload")


def test_a_list_that_is_there_two_hundred_thousand_times_comes_back_as_often():
    shared = ["a"]
    for value in ([shared] * 200_000, [shared] * 200_000 + [(1,)]):
        found = back(value)

        assert found == value
        assert found[0] is not found[1]


def test_a_list_that_is_there_at_several_depths_is_not_let_in_below_the_last_level():
    shared: Any = (1,)
    for _ in range(59):
        shared = [shared]
    deep = shared
    for _ in range(40):
        deep = [deep]

    assert back([shared, deep[0]]) == [shared, deep[0]]
    with pytest.raises(UnserializableError, match="deeper than 100 levels"):
        encode_value([shared, deep], "payload")


# ---- what is refused


class Colour(StrEnum):
    RED = "red"


class Text(str):
    __slots__ = ()


class Zone(tzinfo):
    def utcoffset(self, _when: datetime | None) -> timedelta:
        raise KeyError("what was said")


Pair = namedtuple("Pair", "one two")  # noqa: PYI024 - the type of a field of its own is no matter here
NAN = float("nan")
PLACE = "payload['items'][3]"


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (len, "send its name"),
        (lambda: 1, "send its name"),
        (int, "send its name"),
        (object(), "send plain data"),
        ((item for item in ()), "send a list of what it yields"),
        (io.BytesIO(), "send its path or its bytes"),
        (Path("a"), "send its path as a text"),
        (Colour.RED, "send its .value"),
        (Enum("Other", "A").A, "send its .value"),  # type: ignore[attr-defined]
        (Text("a"), "without the class of its own"),
        (Pair(1, 2), "plain dict, list, tuple or set"),
        (OrderedDict(a=1), "plain dict, list, tuple or set"),
        (MappingProxyType({}), "plain dict, list, tuple or set"),
        (1j, "send plain data"),
        (threading.Lock(), "send plain data"),
        ("\ud800", "lone surrogate"),
        (datetime(2026, 1, 1, tzinfo=Zone()), r"cannot be read \(KeyError\)"),
        (time(12, tzinfo=ZoneInfo("Europe/Berlin")), "no UTC offset"),
        (time(12, tzinfo=timezone(timedelta(microseconds=1))), "less than a second"),
        (datetime(2026, 1, 1, tzinfo=timezone(-timedelta(microseconds=999_999))), "less than a second"),
        (np.array([object()]), "dtype object"),
        (np.zeros(1, "i4,f8"), "dtype"),
        (np.array(["text"]), r"\.tolist\(\)"),
        (np.zeros(1, np.longdouble), "dtype float128"),
        (np.str_("a"), r"\.tolist\(\)"),
        (np.ma.zeros(1), "send plain data"),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", repr(value))[:40],
)
def test_a_refusal_says_where_and_what_to_do(value: Any, advice: str):
    with pytest.raises(UnserializableError, match=advice) as caught:
        encode_value({"items": [1, 2, 3, value]}, "payload")

    assert caught.value.message.startswith(f"{PLACE} ")
    assert "what was said" not in caught.value.message


def test_a_refused_array_names_the_way_out_of_its_library():
    class Tensor:
        def numpy(self) -> Any:
            raise AssertionError("asked for although it is refused")

    with pytest.raises(UnserializableError, match=r"by \.numpy\(\)"):
        encode_value(Tensor(), "result")


@pytest.mark.parametrize(
    "key", [NAN, (1, NAN), frozenset({NAN}), np.float32("nan"), Decimal("NaN"), np.datetime64("NaT")], ids=repr
)
def test_nan_is_no_key_and_no_item_of_a_set(key: Any):
    with pytest.raises(UnserializableError, match=r"^payload\['a'\] \(a key\) is or holds NaN"):
        encode_value({"a": {key: 1}}, "payload")
    with pytest.raises(UnserializableError, match=r"^result \(an item of the set\) is or holds NaN"):
        encode_value({key}, "result")


def test_what_contains_itself_is_refused():
    ring: list[Any] = []
    ring.append({"a": ring})

    with pytest.raises(UnserializableError, match="or contains itself"):
        encode_value(ring, "payload")


def test_a_ladder_of_lists_that_would_fill_the_disk_is_refused():
    ladder: list[Any] = []
    for _ in range(60):
        ladder = [ladder, ladder]

    with pytest.raises(UnserializableError, match="is there too often"):
        encode_value(ladder, "payload")


def test_the_place_of_a_refusal_is_short_whatever_the_keys_are():
    value: Any = print
    for key in (10**100_000, "long" * 1_000, object, None, True, (1, 2)):
        value = {key: [value]} if key is not object else [value]

    with pytest.raises(UnserializableError) as caught:
        encode_value(value, "payload")

    assert caught.value.message.startswith("payload[<tuple>][0][True][0][None][0][0]['long")
    assert len(caught.value.message) < 300


def test_a_value_that_changes_meanwhile_is_refused():
    value: dict[Any, Any] = {}

    class Changing(tzinfo):
        def utcoffset(self, _when: datetime | None) -> timedelta:
            value[len(value)] = 1
            return timedelta()

    value["when"] = datetime(2026, 1, 1, tzinfo=Changing())

    with pytest.raises(UnserializableError, match="do not change it"):
        encode_value(value, "payload")


# ---- a stranger's bytes


def made_of(count: int) -> bytes:
    return struct.pack(">I", count)


def refused(data: bytes) -> StoreFormatError:
    with pytest.raises(StoreFormatError) as caught:
        decode_value(data)
    return caught.value


FOREIGN = {
    "nothing": b"",
    "only a form": b"\x91",
    "an unknown form": b"\x93\xc0\xc0\xc0",
    "the form of a map": b"\x81\xc0\xc0",
    "trailing bytes": encode_value({"a": 1}, "value") + b"\0",
    "truncated": encode_value(["a" * 100, 1], "value")[:-1],
    "a declared array of 4 Gi": b"\x91\xdd\xff\xff\xff\xff",
    "a declared map of 4 Gi": b"\x91\xdf\xff\xff\xff\xff",
    "a declared text of 4 GiB": b"\x91\xdb\xff\xff\xff\xffa",
    "declared bytes of 4 GiB": b"\x91\xc6\xff\xff\xff\xffa",
    "a declared extension of 4 GiB": b"\x92\xc9\xff\xff\xff\xff\x01a",
    "declared arrays in declared arrays": b"\x91" + (b"\xdd" + made_of(100_000)) * 20_000,
    "declared arrays in keys": b"\x91\x81" + (b"\xdd" + made_of(100_000)) * 20_000,
    "a million arrays deep": b"\x91" * 1_000_000,
    "a million arrays deep, with extensions": b"\x92" + b"\x91" * 1_000_000,
    "a million maps deep": b"\x91" + b"\x81" * 1_000_000,
    "101 levels with extensions": b"\x92" + b"\x91" * 101 + b"\xc0\xc0",
    "no text": b"\x91\xa1\xff",
    "an unused code": b"\x91\xc1",
    "an extension in the plain form": b"\x91\xd4\x01\x01",
    "an unknown extension": b"\x92\xd4\x63a\xc0",
    "a negative extension": b"\x92\xd4\x80a\xc0",
    "a marker on its own": b"\x92\xc7\0\x10\xc0",
    "a marker that is not first": b"\x92\x92\x01\xc7\0\x10\xc0",
    "a marker in a map": b"\x92\x81\xa1a\xc7\0\x10\xc0",
    "a marker as a key": b"\x92\x81\xc7\0\x10\x01\xc0",
    "a marker with bytes": b"\x92\x91\xd4\x10a\xc0",
    "an array as a key": b"\x92\x81\x91\xc0\x01\xc0",
    "a set of lists": b"\x92\x92\xc7\0\x11\x90\xc0",
    "a dict with an odd end": b"\x92\x92\xc7\0\x13\x01\xc0",
    "the bytes of an array without one": b"\x92\xd4\x0fa\xc0",
    "no date": b"\x92\xd4\x04a\xc0",
    "no moment": b"\x92\xc7\x05\x03Hello\xc0",
    "no number": b"\x92\xc7\x03\x071_x\xc0",
    "no interval": b"\x92\xc7\x0c\x06\xff\xff\xff\x7f" + b"\0" * 8 + b"\xc0",
    "no UUID": b"\x92\xd4\x08a\xc0",
    "no member of an enum": b"\x92\xc7\x07\x20__doc__\xc0",
}


def array_of(dtype: str, shape: list[int], data: bytes) -> bytes:
    marker, raw = msgspec.msgpack.Ext(20, b""), msgspec.msgpack.Ext(15, data)
    return msgspec.msgpack.encode([[marker, dtype, shape, raw], None])


FOREIGN |= {
    "an array of objects": array_of("|O", [1], b"\0" * 8),
    "an array of text": array_of("<U1", [1], b"\xff" * 4),
    "an array of fields": array_of("i4,i4", [1], b"\0" * 8),
    "an array of a huge interval": array_of("<M8[99999999999D]", [1], b"\0" * 8),
    "an array larger than its bytes": array_of("|u1", [1 << 40], b"a"),
    "an array of a shape that overflows": array_of("|u1", [1 << 32, 1 << 32], b""),
    "an empty array of a huge shape": array_of("|u1", [0, 1 << 62, 1 << 62], b""),
    "an array of a negative shape": array_of("|u1", [-1, -1], b"a"),
    "an array of a hundred dimensions": array_of("|u1", [1] * 100, b"a"),
    "truth that is 2": array_of("|b1", [1], b"\2"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_bytes_are_refused_without_allocating_what_they_declare(name: str):  # S16
    data = FOREIGN[name]
    tracemalloc.start()
    try:
        error = refused(data)
        allocated = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert allocated < 16 * MIB
    assert "value" in error.message
    assert len(error.message) < 300


def test_a_pickle_is_not_run(tmp_path: Path):  # S16
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (canary,)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps(Bomb(), protocol)
        # Also as what our own forms might be made to hold.
        bombs = [pickled, b"\x91" + pickled, b"\x92" + pickled]
        bombs += [msgspec.msgpack.encode([msgspec.msgpack.Ext(code, pickled), None]) for code in range(-128, 128)]
        bombs += [array_of(dtype, [1], pickled) for dtype in ("O", "|O", "object", "pickle", "<f8")]
        for data in bombs:
            try:
                found = decode_value(data)
            except StoreFormatError:
                continue
            assert isinstance(found, int | bytearray | datetime)

    assert not canary.exists()


def test_large_hostile_numbers_are_read_in_linear_time():  # S16
    """Twenty million bits and digits: by way of decimal digits or of the exponent, minutes or gigabytes."""
    ext = msgspec.msgpack.Ext
    large = [ext(1, b"\x7f" * 2_500_000), ext(7, b"1E+999999999999999999"), ext(7, b"9" * 2_500_000)]
    started = clock.process_time()

    number, huge, digits = decode_value(msgspec.msgpack.encode([large, None]))

    assert clock.process_time() - started < 2
    assert number.bit_length() == 8 * 2_500_000 - 1
    assert huge.is_finite()
    assert digits.adjusted() == 2_499_999
    with pytest.raises(UnserializableError, match=r"payload\[<int>\]"):
        encode_value({number: print}, "payload")


def test_depth_ends_no_program_that_has_raised_the_recursion_limit():  # S16
    program = (
        "import sys; sys.setrecursionlimit(10**7)\n"
        "from async_processor.storage.codec import decode_value, StoreFormatError\n"
        "for data in (b'\\x91' * 10**6, b'\\x92' + b'\\x81\\xa1a' * 10**6, b'\\x91' + b'\\xdc\\0\\2\\xc0' * 10**5):\n"
        "    try: decode_value(data)\n"
        "    except StoreFormatError: print('refused')\n"
        "from async_processor.storage.task_codec import decode_task, EncodedTask\n"
        "try: decode_task(EncodedTask('a', 'b', 1, 0.0, 0.0, None, (), b'\\x9f\\x01\\xc2' + b'\\x91' * 10**6))\n"
        "except StoreFormatError: print('refused')\n"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=25, check=True)

    assert ended.stdout.split() == ["refused"] * 4


@given(values, st.integers(0, 6))
def test_depth_is_counted_as_msgpack_has_it(value: Any, depth: int):
    def levels(item: Any) -> int:
        if isinstance(item, dict):
            item = [*item, *item.values()]
        return 1 + max(map(levels, item), default=0) if isinstance(item, list | tuple) else 0

    data = encode_value(value, "value")
    hook = msgspec.msgpack.Decoder(ext_hook=lambda code, data: None)

    # An empty list is counted only by those who look into it.
    assert not nesting.deeper_than(data, levels(hook.decode(data)))
    assert nesting.deeper_than(b"\x91" * depth + b"\xc0", depth - 1)
    assert not nesting.deeper_than(b"\x91" * depth + data, depth + levels(hook.decode(data)))


SEEDS = [
    {"value": 1}, [1.5, "text", b"bytes", None, True], (1, {2, 3}), {(1, 2): frozenset({3})}, 2**100, Decimal("1.5"),
    datetime(2026, 1, 1, tzinfo=UTC), timedelta(1), UUID(int=1 << 100), bytearray(b"ab"), np.arange(6.0).reshape(2, 3),
    np.float32(1), TaskPriority.HIGH, date(2026, 1, 1), [[[[["deep"]]]]],
]  # fmt: skip
KNOWN = (
    type(None), bool, int, float, str, bytes, bytearray, list, tuple, set, frozenset, dict, datetime, date, time,
    timedelta, Decimal, UUID, ProcessingType, TaskPriority, TaskStatus, LaneName, np.ndarray, np.generic,
)  # fmt: skip


HEADS = [b"\xc7\0\x10", b"\xc7\0\x13", b"\xd4\x0fa", b"\xdd\xff\xff\xff\xff", b"\x91"]


def mutated(dice: random.Random) -> bytes:
    data = bytearray(encode_value(dice.choice(SEEDS), "value"))
    for _ in range(dice.randint(1, 2)):
        at = dice.randrange(len(data)) if data else 0
        match dice.randrange(8):
            case 0 | 1 | 2 | 3 if data:
                data[at] = dice.randrange(256)
            case 4:
                del data[at : at + dice.randint(1, 4)]
            case 5:
                data[at:at] = dice.randbytes(dice.randint(1, 4))
            case 6:
                # The heads of extensions, markers and declared lengths, where chance would rarely put them.
                data[at:at] = dice.choice(
                    [b"\xc7\0\x10", b"\xc7\0\x13", b"\xd4\x0fa", b"\xdd\xff\xff\xff\xff", b"\x91"]
                )
            case _:
                data[at:at] = encode_value(dice.choice(SEEDS), "value")[1:]
    return bytes(data)


def parts(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        yield from (part for pair in value.items() for item in pair for part in parts(item))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (part for item in value for part in parts(item))


def test_mutated_bytes_give_a_value_of_known_types_or_the_one_error():  # S16
    dice = random.Random(16)
    read = 0
    for _ in range(50_000):
        data = mutated(dice)
        try:
            found = decode_value(data)
        except StoreFormatError:
            continue
        read += 1
        assert all(isinstance(part, KNOWN) for part in parts(found)), data

    # Else the mutations are too wild to test anything.
    assert read > 5_000


@settings(max_examples=300)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x91", b"\x92"]))
def test_any_bytes_give_a_value_or_the_one_error(data: bytes, form: bytes):  # S16
    with contextlib.suppress(StoreFormatError):
        decode_value(form + data)


def test_no_words_from_a_damaged_value_are_in_the_message():
    data = msgspec.msgpack.encode([msgspec.msgpack.Ext(3, b"I am sad"), None])

    assert "sad" not in refused(data).message


def test_bytes_of_the_first_version_can_be_read_for_ever():
    """Do not change these bytes: they are in people's files."""
    data = bytes.fromhex(
        "92dc0019c0c3ffcb3ff8000000000000a4f09fa7b8c401619181a1618093c700100191c70010c7090100000000000000004092c700"
        "110292c700120393c7001392c700100104c70307312e35d80800000000000000000000000000000001d40261c71903323032362d30"
        "312d30315430303a30303a30302b30303a3030c70a04323032362d30312d3032c7090530313a30323a303066c70c06ffffffff0200"
        "000003000000c70620435553544f4dc703214c4f57c706224641494c4544c7032352415994c70014a33c69329102d60f0000010093"
        "c70015a33c6634d60f0000803fc0"
    )

    assert same(decode_value(data), ONE_OF_EACH)
    assert encode_value(ONE_OF_EACH, "value") == data


# ---- rules about the code


EXECUTING_MODULES = {
    "pickle", "cPickle", "_pickle", "marshal", "shelve", "dbm", "dill", "cloudpickle", "joblib", "code", "codeop",
    "runpy", "imp", "importlib", "ctypes",
}  # fmt: skip
EXECUTING_NAMES = {"eval", "exec", "compile", "__import__", "execfile"}


def test_nothing_that_runs_code_from_bytes_is_reachable_from_storage():  # S16
    modules = load_modules()
    pending = [name for name in modules if name.partition(".")[0] == "storage"]
    assert "storage.codec" in pending
    reached: set[str] = set()
    wrong = []
    while pending:
        module = modules[pending.pop()]
        if module.name in reached:
            continue
        reached.add(module.name)
        for item in module.imports:
            target = internal(item.target, modules)
            if target:
                pending.append(target)
            elif target is None and item.target.partition(".")[0] in EXECUTING_MODULES:
                wrong.append(f"{module.at(item.line)} imports {item.target}")
        for node in ast.walk(module.tree):
            named = isinstance(node, ast.Name) and node.id in EXECUTING_NAMES
            allowed = isinstance(node, ast.keyword) and node.arg == "allow_pickle"
            if named or allowed:
                wrong.append(f"{module.path.name}:{node.lineno} can run code")

    assert wrong == []
    assert {"errors", "model"} < reached


def test_reading_and_writing_plain_values_loads_no_numpy():
    program = (
        "import sys\n"
        "from async_processor.storage.codec import decode_value, encode_value\n"
        "from datetime import datetime\n"
        "decode_value(encode_value({'a': (1, datetime.now())}, 'value'))\n"
        "try: encode_value(object(), 'value')\n"
        "except TypeError: print('numpy' in sys.modules)\n"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=25, check=True)

    assert ended.stdout.split() == ["False"]


def test_an_array_says_what_to_install_where_numpy_is_missing(monkeypatch: pytest.MonkeyPatch):
    data = encode_value(np.zeros(1), "value")
    monkeypatch.setitem(sys.modules, "numpy", None)

    assert "pip install 'advanced-async-processor[voice]'" in refused(data).message


def test_large_bytes_are_copied_once():
    large = bytes(10 * MIB)
    array = np.zeros(10 * MIB, "u1")
    for value in ({"audio": large}, {"audio": memoryview(large)}, (large, 16_000), array, bytearray(large)):
        tracemalloc.start()
        data = encode_value(value, "payload")
        # msgspec's buffer grows by half beyond what is needed, and is cut to size at the end.
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        found = decode_value(data)
        assert tracemalloc.get_traced_memory()[1] - before < 11 * MIB
        tracemalloc.stop()
        del found
