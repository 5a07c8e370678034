"""Sentences, words and pieces of a text, also of one that was written to be slow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.processors.text_units import MAX_MARKS, cleaned, has_letter, pieces, split_sentences, split_words


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
        ('She said "Stop." Then she left.', ['She said "Stop."', "Then she left."]),
        ("It costs 3.50 at example.org today.", ["It costs 3.50 at example.org today."]),
        (
            "Mr. Bear met Mrs. Fox. They ate fish, i.e. cod.",
            ["Mr. Bear met Mrs. Fox.", "They ate fish, i.e. cod."],
        ),
        ("a title\n\nand then\none more line", ["a title", "and then\none more line"]),
        ("今日は楽しい。明日も。", ["今日は楽しい。", "明日も。"]),
        ("one\r\n\r\ntwo", ["one", "two"]),
        ("...", ["..."]),
        ("  \n\n ", []),
        ("", []),
    ],
)
def test_a_text_is_parted_into_sentences(text, sentences):
    assert [sentence.text for sentence in split_sentences(cleaned(text))] == sentences


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't like 'it' (really).", ["I", "don't", "like", "it", "really"]),
        ("A well-known teddy—bear’s 3 toys…", ["A", "well-known", "teddy", "bear’s", "3", "toys"]),
        ("cafe\u0301 na\u00efve", ["cafe\u0301", "na\u00efve"]),
        ("मुझे अंधेरे से", ["मुझे", "अंधेरे", "से"]),
        ("😀 -- ' - _ !", []),
        ("snake_case", ["snake", "case"]),
    ],
)
def test_words_are_what_has_letters_or_digits(text, words):
    assert split_words(text) == words


def test_a_number_has_no_letter():
    assert [has_letter(word) for word in ("3", "3rd", "मु", "_")] == [False, True, True, False]


def test_marks_beyond_any_writing_and_signs_that_turn_the_text_round_are_taken_out():
    assert cleaned("e" + "\u0301" * 1_000 + "!") == "e" + "\u0301" * MAX_MARKS + "!"
    assert cleaned("abc\u202edef\u2066g\ufeff") == "abcdefg"
    assert cleaned("a\0b\x1bc\u2028d") == "a b c\nd"
    # Persian words hold a joiner, and so do families of emoji.
    assert cleaned("می\u200cخواهم 👨\u200d👩") == "می\u200cخواهم 👨\u200d👩"


@given(st.text(alphabet="ab .\n", max_size=60), st.integers(1, 20))
def test_pieces_lose_nothing_and_keep_within_their_size(text, size):
    found = list(pieces(text, size))

    assert "".join(found) == text
    assert all(len(piece) <= size for piece in found)


def test_pieces_are_cut_at_spaces_where_there_are_any():
    assert [piece.strip() for piece in pieces("the little brown bear", 11)] == ["the little", "brown bear"]


@given(st.text(max_size=100))
def test_every_word_of_any_text_is_in_one_of_its_sentences(text):
    clean = cleaned(text)

    by_sentence = [word for sentence in split_sentences(clean) for word in sentence.words]
    assert by_sentence == split_words(clean)
