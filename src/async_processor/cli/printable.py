"""Text from outside made safe to show.

What was heard, what a provider answered and what an error quotes may hold escape sequences that rewrite the screen,
or marks that turn the direction of writing. They are shown as what they are, and never carried out.
"""

from __future__ import annotations

import unicodedata

_LONGEST = 2_000

# Control characters, invisible formatting (which includes the direction marks), lone surrogates and private use.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
# Joiners: invisible too, but Persian words and many emoji cannot be written without them.
_JOINERS = "\u200c\u200d"


def printable(value: object, longest: int = _LONGEST) -> str:
    """One line of visible text: white space becomes blanks, what cannot be seen is written as an escape."""
    text = str(value)
    cut = text if len(text) <= longest else f"{text[:longest]}..."
    return "".join(map(_visible, " ".join(cut.split())))


def _visible(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode("ascii")
