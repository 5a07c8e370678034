"""Replies without a language model: a script, told as such (``generated=False``).

It listens for topics by their phrases, in the order of what matters most, and picks one of their replies. What was
said decides which, so the same words get the same reply, on every machine. The feeling colours it, the age shortens
it. English only. Nothing that was said is ever repeated in a reply.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from ..chat import ChatReply, ChatRequest, Feeling, FinishReason
from .companion_script import MOODS, OPEN, OPENINGS, QUESTION, QUESTION_WORDS, TOPICS, UNHEARD, Topic

# Longer talk is not listened to any further: what matters is said by then, and time stays flat.
MAX_HEARD_CHARS = 2_000
SMALL_UNTIL_YEARS = 4
_SMALL_WORDS = 14
_STRONG_VALENCE = 0.35
_EXCITED_AROUSAL = 0.2
_APOSTROPHES = str.maketrans("’‘`´", "''''")
_WORD = re.compile(r"[\w']+")
_SENTENCE_END = re.compile(r"(?<=[.!?]) ")


def _listener(topic: Topic) -> re.Pattern[str]:
    """Alternatives of fixed text: no repetition, so the time for a text grows with its length and no faster."""
    negated = "" if topic.urgent else r"(?<!\bnot )(?<!n't )(?<!never )(?<!\bno )"
    return re.compile(rf"{negated}\b(?:{'|'.join(map(re.escape, topic.phrases))})\b")


_LISTENERS = tuple((topic, _listener(topic)) for topic in TOPICS)


class ScriptedChat:
    """The ``ChatModel`` that needs nothing: no key, no network, no library."""

    provider = "scripted"

    async def reply(self, request: ChatRequest) -> ChatReply:
        text, reason = _within(request.max_tokens, say(request.words, request.feeling, request.age))
        return ChatReply(
            text=text,
            provider=self.provider,
            model=None,
            tokens_used=None,
            finish_reason=reason,
            offline=True,
            generated=False,
        )

    async def check(self) -> None:
        """It can always answer."""

    async def aclose(self) -> None:
        """It holds nothing open."""


def say(words: str, feeling: Feeling, age: float | None) -> str:
    """The companion's answer.

    Args:
        words: what was said to it; "" if nothing was understood.
        feeling: how the speaker seems to feel.
        age: years, or None.
    """
    heard = _plain(words)
    mood = mood_of(feeling)
    topic = topic_of(heard)
    if topic is OPEN and mood is not None:
        topic = next(item for item in TOPICS if item.name == mood)
    small = age is not None and age <= SMALL_UNTIL_YEARS
    seed = int.from_bytes(hashlib.sha256(f"{topic.name}:{heard}".encode()).digest()[:8], "big")
    reply = _pick(_for_small(topic.replies) if small else topic.replies, seed)
    if mood is None or small or not _needs_opening(topic, mood):
        return reply
    return f"{_pick(OPENINGS[mood], seed)} {reply}"


def topic_of(heard: str) -> Topic:
    """What the words, in plain lower case, are about."""
    if not heard:
        return UNHEARD
    found = next((topic for topic, listener in _LISTENERS if listener.search(heard)), None)
    if found is not None:
        return found
    return QUESTION if heard.partition(" ")[0] in QUESTION_WORDS else OPEN


def mood_of(feeling: Feeling) -> str | None:
    """One of the four moods the companion knows, or None where the feeling is unknown or mild."""
    named = MOODS.get((feeling.name or "").strip().lower())
    if named is not None or feeling.valence is None or abs(feeling.valence) < _STRONG_VALENCE:
        return named
    if feeling.valence > 0:
        return "happy"
    # Bad and excited may be anger or fear, which sound alike; comfort is right for both.
    return "scared" if (feeling.arousal or 0.0) >= _EXCITED_AROUSAL else "sad"


def _plain(words: str) -> str:
    lowered = words[:MAX_HEARD_CHARS].translate(_APOSTROPHES).lower()
    return " ".join(_WORD.findall(lowered))


def _needs_opening(topic: Topic, mood: str) -> bool:
    return not topic.serious and topic.name != mood and topic is not UNHEARD


def _for_small(replies: Sequence[str]) -> Sequence[str]:
    return [reply for reply in replies if len(reply.split()) <= _SMALL_WORDS] or replies[:1]


def _pick(options: Sequence[str], seed: int) -> str:
    return options[seed % len(options)]


def _within(max_tokens: int, text: str) -> tuple[str, FinishReason]:
    """Cut to whole sentences, or else words, so that there are no more words than tokens were allowed."""
    if len(text.split()) <= max_tokens:
        return text, "stop"
    kept: list[str] = []
    for sentence in _SENTENCE_END.split(text):
        if len(" ".join([*kept, sentence]).split()) > max_tokens:
            break
        kept.append(sentence)
    return " ".join(kept or text.split()[:max_tokens]), "length"
