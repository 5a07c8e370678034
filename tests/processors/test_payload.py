from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.errors import InvalidPayloadError
from async_processor.processors import payload as read

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters()) | st.binary()
    | st.integers(400, 5000).map(lambda digits: 10**digits) | st.just("\ud800") | st.builds(object)
    | st.decimals() | st.fractions(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip

READERS = {
    "required": lambda payload: read.required(payload, "x", (bytes, str), "bytes or text"),
    "optional": lambda payload: read.optional(payload, "x", int, "a whole number"),
    "text": lambda payload: read.text(payload, "x", max_chars=5),
    "number": lambda payload: read.number(payload, "x", None, 0, 10),
    "whole": lambda payload: read.whole(payload, "x", 3, 0, 10),
    "choice": lambda payload: read.choice(payload, "x", None, ("a", "b")),
    "buffer": lambda payload: read.buffer(payload, "x", "bytes", 5, "Config.max_bytes"),
    "mapping": lambda payload: read.mapping(payload, "x"),
}


def refusal(name, value):
    """The error that a reader raises for a value, or None."""
    try:
        READERS[name]({"x": value})
    except InvalidPayloadError as error:
        return error
    return None


@pytest.mark.parametrize("name", READERS)
@given(value=ANYTHING)
def test_whatever_a_field_holds_the_only_error_names_it(name, value):
    # B21
    error = refusal(name, value)

    if error is not None:
        assert error.field == "x"
        assert "payload['x']" in str(error)
        assert len(str(error)) < 300
        str(error).encode()


def test_missing_and_none_both_count_as_not_given():
    for payload in ({}, {"x": None}):
        assert read.optional(payload, "x", int, "a number") is None
        assert read.text(payload, "x", "default") == "default"
        assert read.number(payload, "x", 2.5, 0, 10) == 2.5
        assert read.whole(payload, "x", 0, 0, 10) == 0
        assert read.choice(payload, "x", "a", ("a", "b")) == "a"
        assert read.mapping(payload, "x") == {}
        with pytest.raises(InvalidPayloadError, match="is missing; it must be bytes"):
            read.required(payload, "x", bytes, "bytes")


def test_zero_and_empty_values_are_given_values():
    assert read.number({"x": 0}, "x", 5.0, 0, 10) == 0.0
    assert read.whole({"x": 0}, "x", 5, 0, 10) == 0
    assert read.text({"x": ""}, "x", "default") == ""


@pytest.mark.parametrize("value", [True, False, "3", math.nan, math.inf, -math.inf, -1, 11, 10**400, Decimal(3), 3j])
def test_what_is_no_number_in_range_is_refused(value):
    with pytest.raises(InvalidPayloadError, match="a number from 0 to 10"):
        read.number({"x": value}, "x", None, 0, 10)


def test_numbers_come_back_as_plain_python_numbers():
    assert type(read.number({"x": Fraction(1, 2)}, "x", None, 0, 1)) is float
    assert type(read.whole({"x": 3.0}, "x", None, 0, 10)) is int
    assert read.whole({"x": 2**53 + 1}, "x", None, 0, 2**60) == 2**53 + 1
    with pytest.raises(InvalidPayloadError, match="whole number"):
        read.whole({"x": 2.5}, "x", None, 0, 10)


def test_text_is_bounded_and_valid_unicode():
    with pytest.raises(InvalidPayloadError, match="6 characters; send at most 5"):
        read.text({"x": "abcdef"}, "x", max_chars=5)
    with pytest.raises(InvalidPayloadError, match="valid Unicode at character 1"):
        read.text({"x": "a\udfff"}, "x")


def test_a_choice_is_found_in_any_case_and_spelled_as_offered():
    assert read.choice({"x": "EN-us"}, "x", None, ("en", "en-US")) == "en-US"
    with pytest.raises(InvalidPayloadError, match=r"must be one of 'a', 'b', not 'c'"):
        read.choice({"x": "c"}, "x", "a", ("a", "b"))


def test_messages_never_repeat_text_of_the_payload():
    secret = "my secret words " * 10
    for name in READERS:
        for value in (secret, secret.encode()):
            assert "secret" not in str(refusal(name, value))


@pytest.mark.parametrize("value", [True, False])
def test_a_flag_is_true_or_false_and_nothing_that_looks_like_it(value):
    assert read.flag({"on": value}, "on", default=not value) is value
    assert read.flag({}, "on", default=value) is value
    assert read.flag({"on": None}, "on", default=value) is value
    for other in (1, 0, "true", b"", [], 1.0):
        with pytest.raises(InvalidPayloadError, match="must be True or False"):
            read.flag({"on": other}, "on", default=value)


ARRAY = np.arange(12, dtype=">i4").reshape(3, 4)


@pytest.mark.parametrize(
    "value",
    [
        b"abcdef", bytearray(b"abcdef"), memoryview(b"abcdef"), memoryview(b"a1b2c3d4e5f6")[::2], memoryview(ARRAY),
        memoryview(ARRAY)[::2], memoryview(ARRAY.astype("f8")), memoryview(np.array(5.0)), memoryview(b""),
    ],
)  # fmt: skip
def test_the_beginning_of_bytes_is_that_of_their_copy(value):
    whole = bytes(value)

    assert read.size_of(value) == len(whole)
    for size in (0, 1, 3, 5, 1_000):
        assert read.beginning(value, size) == whole[:size]


def test_bytes_are_handed_on_as_they_came_or_copied_as_one_asks():
    given = bytearray(b"abc")

    assert read.buffer({"x": given}, "x", "bytes", 3, "limit") is given
    assert read.data({"x": given}, "x", "bytes", 3, "limit") == b"abc"


def test_a_name_of_megabytes_is_compared_with_none():
    class Counted(str):
        __slots__ = ()

        def casefold(self):
            raise AssertionError("it was")

    with pytest.raises(InvalidPayloadError, match="a name of 1001 characters"):
        read.choice({"x": Counted("a" * 1_001)}, "x", None, ("a", "b"))
