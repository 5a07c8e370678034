from __future__ import annotations

from async_processor.cli.printable import printable


def test_plain_text_of_any_script_stays_as_it_is():
    for text in ("Grüß dich, مرحبا, 你好 [bold]", "می\u200cخواهم", "👩\u200d🚀"):
        assert printable(text) == text


def test_escape_sequences_are_shown_and_not_carried_out():
    assert printable("\x1b[2J\x07gone\x9b1m") == "\\x1b[2J\\x07gone\\x9b1m"


def test_marks_that_turn_the_direction_of_writing_are_shown():
    assert printable("a\u202eb\u2066c") == "a\\u202eb\\u2066c"


def test_lines_and_tabs_become_blanks():
    assert printable("one\r\n\ttwo\u2028three") == "one two three"


def test_a_lone_surrogate_can_be_encoded_afterwards():
    assert printable("a\ud800b").encode("utf-8") == b"a\\ud800b"


def test_long_text_is_cut():
    assert printable("x" * 5_000, longest=10) == "x" * 10 + "..."
