"""What a child's words say about its mood: how positive they are, and which feelings it names as its own.

VADER judges the words in general. It was made for what adults write, so phrases that children say and that it gets
wrong are listed here with a value of their own. English only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .providers.vader_sentiment import Polarity, polarity

MAX_CHARS = 5_000
_MAX_DECORATED_CHARS = 500
# VADER's authors call a text neutral within this distance from zero.
NEUTRAL = 0.05

_NOBODY = r"(?:nobody|no one|none of them)"
_BEFRIENDS = r"(?:play\w*|like[sd]?|love[sd]?|talk\w*|listen\w*|came)"
_SAID = r"(?:said|says|say|called?|calls)"
_TOYS = r"(?:toys?|teddy|bear|dolls?|ball|book|bike|car|train|crayons?|cookies?|candy|turn|seat|tablet)"

# Phrase, its value, and the feeling that it gives away (or None). Each stands for sentences that VADER calls neutral
# or gets the wrong way round; tests/processors/test_mood_words.py holds one for each.
_PHRASES: tuple[tuple[str, float, str | None], ...] = (
    (rf"{_NOBODY} (?:\w+ ){{0,3}}?{_BEFRIENDS}(?: \w+){{0,2}}? (?:me|us|my \w+)", -0.6, "sad"),
    (rf"{_NOBODY} to play with", -0.5, "sad"),
    (r"laugh(?:s|ed|ing)? at (?:me|us)", -0.6, "sad"),
    (r"(?:make|makes|made|making) fun of (?:me|us)", -0.6, "sad"),
    (r"pick(?:s|ed|ing)? on (?:me|us)", -0.6, "sad"),
    (r"(?:yell|shout|scream)(?:s|ed|ing)? at (?:me|us)", -0.5, None),
    (r"(?:was|am|were|been|felt|feel|get|got) left out|left (?:me|us) out", -0.5, "sad"),
    (rf"{_SAID} (?:that )?(?:i am|i'm|me) (?:stupid|dumb|ugly|fat|a baby|weird)", -0.6, "sad"),
    (r"(?:wish|want) (?:\w+ ){0,2}?(?:i had|to have|have) (?:a|some|any|more) friends?", -0.4, "sad"),
    (r"good at nothing|(?:not|never|no) good at anything", -0.5, "sad"),
    (r"miss (?:my|you|mom\w*|mum\w*|dad\w*|grand\w+|nana|papa|her|him|them)(?: \w+)?", -0.5, "sad"),
    (r"want (?:my )?(?:mom|mommy|mum|mummy|dad|daddy|mama|papa)(?! to\b)", -0.4, "sad"),
    (r"want to go home", -0.3, None),
    (rf"(?:took|takes|stole|grabbed|snatched|broke) my (?:\w+ )?{_TOYS}", -0.4, None),
    (r"monsters? (?:\w+ )?(?:under|in|behind) (?:my|the) (?:bed|closet|wardrobe|room|door|curtains?)", -0.5, "afraid"),
    (r"nightmares?|bad dreams?|scary dreams?", -0.5, "afraid"),
    (r"(?:can't|can not|cannot|couldn't|could not) (?:sleep|fall asleep)", -0.3, None),
    (r"(?:ouch|owie|boo boo)", -0.4, None),
    (r"leave me alone|go away", -0.4, None),
    (r"(?:can't|can not|cannot) wait", 0.6, "excited"),
    (r"i did it|all by myself", 0.5, "happy"),
)  # fmt: skip
_DENIABLE = "afraid"
_DENIED = re.compile(r"(?:\b(?:no|not|never|without|nor)|n't)(?: \w+){0,3} $")
_PATTERN = re.compile("|".join(rf"(?P<p{n}>\b(?:{text})\b)" for n, (text, _, _) in enumerate(_PHRASES)))

# Words for feelings, and the value of having said so where VADER does not know the word.
_FEELINGS = {
    "afraid": (-0.5, "afraid scared frightened terrified worried nervous spooked"),
    "angry": (-0.5, "angry mad furious annoyed grumpy"),
    "sad": (-0.5, "sad lonely alone unhappy upset crying heartbroken miserable"),
    "tired": (-0.2, "tired sleepy exhausted"),
    "bored": (-0.3, "bored"),
    "happy": (0.5, "happy glad proud cheerful joyful"),
    "excited": (0.5, "excited thrilled"),
}
_FEELING_OF = {word: feeling for feeling, (_, words) in _FEELINGS.items() for word in words.split()}
NAMED_FEELINGS = tuple(_FEELINGS)

# "I am", then words that do not turn the meaning round, then feelings: "i'm so sad and a bit angry". The feeling must
# be the child's own: "mommy is angry with me" and "i am not scared" do not match.
_FILLERS = "so very really super kind of a bit little just too still all feeling getting always and also now oh"
_OWN = re.compile(
    r"\b(?:i am|i'm|im|i feel|i felt|i was|i get|i got|makes me|made me|me feel)"
    rf"((?: (?:{'|'.join((*_FILLERS.split(), *_FEELING_OF))})\b)+)"
)
_TYPOGRAPHY = str.maketrans({"’": "'", "‘": "'", "ʼ": "'"})
_NO_WORD = re.compile(r"[^\w' ]+|_")


@dataclass(slots=True, frozen=True)
class WordMood:
    """What the words say.

    Attributes:
        valence: from -1.0 (unpleasant) to 1.0 (pleasant).
        feelings: what the speaker calls its own feeling, in the order said, each once.
        words: how many words there were.
        positive, negative, neutral: shares of the words, together 1.0; all 0.0 where there is nothing to judge.
    """

    valence: float
    feelings: tuple[str, ...]
    words: int
    positive: float
    negative: float
    neutral: float


@dataclass(slots=True, frozen=True)
class _Found:
    """A listed phrase in a text: its value, the feeling it gives away, and how many words it has."""

    value: float
    feeling: str | None
    words: int


def read_mood(text: str, *, extra: str = "voice") -> WordMood:
    """Judge what was said; at most ``MAX_CHARS`` characters of it.

    Raises:
        MissingExtraError: ``extra``, which brings VADER, is not installed.
    """
    text = text[:MAX_CHARS]
    plain = normalise(text)
    rest, phrases = _take_phrases(plain)
    words = len(plain.split())
    feelings = dict.fromkeys(item.feeling for item in phrases if item.feeling is not None)
    feelings.update(dict.fromkeys(_own_feelings(plain)))
    # VADER makes use of capitals, exclamation marks and emoji, where there are any left. In a long text it spends
    # seconds on them.
    general = polarity(text if rest == plain and len(text) <= _MAX_DECORATED_CHARS else rest, extra)
    values = [item.value for item in phrases]
    if abs(general.compound) >= NEUTRAL:
        values.append(general.compound)
    if not values:
        phrases = [_Found(_FEELINGS[feeling][0], feeling, words=1) for feeling in feelings]
        values = [item.value for item in phrases]
    valence = sum(values) / len(values) if values else 0.0
    return WordMood(valence, tuple(feelings), words, *_shares(phrases, general, words))


def _shares(phrases: Sequence[_Found], general: Polarity, words: int) -> tuple[float, float, float]:
    """Positive, negative and neutral: the words of listed phrases as those have it, the other words as VADER has it."""
    positive = sum(item.words for item in phrases if item.value > 0)
    negative = sum(item.words for item in phrases if item.value < 0)
    if not positive and not negative:
        return general.positive, general.negative, general.neutral
    others = max(0, words - positive - negative)
    positive_share = (positive + others * general.positive) / words
    negative_share = (negative + others * general.negative) / words
    return positive_share, negative_share, max(0.0, 1.0 - positive_share - negative_share)


def _take_phrases(plain: str) -> tuple[str, list[_Found]]:
    """The text without the listed phrases, whose words VADER would count the wrong way round, and what they say."""
    found = []
    for match in _PATTERN.finditer(plain):
        _, value, feeling = _PHRASES[int(str(match.lastgroup)[1:])]
        # "there are no monsters under my bed" says nothing bad; "don't laugh at me" does.
        if feeling != _DENIABLE or not _DENIED.search(plain, max(0, match.start() - 40), match.start()):
            found.append(_Found(value, feeling, len(match[0].split())))
    return _PATTERN.sub("", plain), found


def _own_feelings(plain: str) -> list[str]:
    return [_FEELING_OF[word] for match in _OWN.finditer(plain) for word in match[1].split() if word in _FEELING_OF]


def normalise(text: str) -> str:
    """Lower case, straight apostrophes, single spaces, no punctuation: as a recogniser writes."""
    return " ".join(_NO_WORD.sub(" ", text.lower().translate(_TYPOGRAPHY)).split())
