"""TEXT_ANALYSIS: sentiment, keywords, language and readability of a text. Offline. See docs/text-analysis.md."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from ..config import ProcessorConfig, TextConfig
from ..context import DependencyResults, TaskContext
from ..errors import ConfigurationError, MissingExtraError, SizeLimitError
from ..model import LaneName, ProcessingTask
from ..results.text_analysis import (
    Keyword,
    Language,
    LanguageSource,
    Readability,
    Sentiment,
    TextAnalysisResult,
    TextStatistics,
)
from . import payload as read
from . import readability
from .heard_words import transcript_or_reply
from .providers import py3langid_language, vader_sentiment, yake_keywords
from .registry import ProcessorSpec, Readiness, inspect_function
from .text_sentiment import judge
from .text_units import Sentence, cleaned, has_letter, split_sentences

TEXT = "text"
SENTIMENT, KEYWORDS, LANGUAGE, READABILITY = "sentiment", "keywords", "language", "readability"
ANALYSES = (SENTIMENT, KEYWORDS, LANGUAGE, READABILITY)
ALL = "all"
DEFAULT_KEYWORDS, MAX_KEYWORDS = 10, 50

_WANTED = f"{ALL!r}, one of {', '.join(map(repr, ANALYSES))}, or a list of them"
_NO_ENTITIES = (
    "asks for entities, which nothing finds here: the libraries that do need models which are downloaded apart. "
    f"It must be {_WANTED}; for entities register a function of your own"
)
_ENGLISH = "en"
_LANGUAGE_CODE = re.compile(r"[a-z]{2}")
_LANGUAGE_TAG = re.compile(r"([A-Za-z]{2})(?:[-_][A-Za-z0-9]{1,8}){0,3}")
# Fewer words than this do not tell a language; and one that is told with less confidence is no more than a guess.
_TELLING_WORDS = 3
_TELLING_CONFIDENCE = 0.2
_HEARD_WORDS = 1_000
_LIBRARIES = ("vaderSentiment", "yake", "py3langid")
# They write without spaces between words, so that a "word" would be half a sentence.
_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "km", "lo", "my"})
_SPACELESS_LETTER = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_ENGLISH_LETTER = re.compile(r"[a-z]", re.IGNORECASE | re.ASCII)

Told = TypeVar("Told", Sentiment, Language, Readability)


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """How TEXT_ANALYSIS runs: in the process lane.

    Its libraries are pure Python and hold the interpreter's lock: a few such tasks in threads would make the event loop
    late. A worker can be killed, too, if a text that a stranger wrote should take too long.

    Raises:
        ConfigurationError: a setting in ``config.text`` cannot be used.
    """
    if config.text.max_text_chars == 0:
        raise ConfigurationError("TextConfig.max_text_chars must be above 0")
    if not _LANGUAGE_CODE.fullmatch(config.text.assumed_language):
        raise ConfigurationError("TextConfig.assumed_language must be a code of two small letters such as 'en'")
    return inspect_function(
        functools.partial(analyse, config=config.text),
        lane=LaneName.PROCESS,
        check=lambda task: check_payload(task.payload, config.text, alone=not task.depends_on),
        readiness=_readiness,
        example=lambda: {"text": "We had a lovely day at the zoo. The baby elephant splashed us with water!"},
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class TextRequest:
    """What a payload asks for.

    Attributes:
        text: what to analyse; None to take what a dependency brings.
        analyses: some of ``ANALYSES``, in their order.
        max_keywords: how many keywords, at most.
        language: two-letter code that the payload gives, or None.
    """

    text: str | None
    analyses: tuple[str, ...]
    max_keywords: int
    language: str | None


def read_request(payload: Mapping[str, Any], config: TextConfig) -> TextRequest:
    """What the payload asks for.

    Raises:
        InvalidPayloadError: a field cannot be used; says what to send.
    """
    text = None
    if payload.get(TEXT) is not None:
        text = read.text(payload, TEXT, max_chars=config.max_text_chars, wanted="the text to analyse")
    return TextRequest(
        text=text,
        analyses=_analyses(payload),
        max_keywords=read.whole(payload, "max_keywords", DEFAULT_KEYWORDS, 1, MAX_KEYWORDS),
        language=_language_hint(payload),
    )


def check_payload(payload: Mapping[str, Any], config: TextConfig, *, alone: bool) -> None:
    """Refuse what cannot be analysed, whatever the dependencies give.

    Args:
        alone: whether there are none, so that nobody brings a text but the payload.

    Raises:
        InvalidPayloadError: a field cannot be used, or there is no text.
    """
    request = read_request(payload, config)
    if alone:
        _find_text(request, DependencyResults(), config)


def _find_text(request: TextRequest, dependencies: DependencyResults, config: TextConfig) -> tuple[str, str]:
    """The text, and who brings it: the payload, or else a task that this one depended on."""
    if request.text is not None:
        return request.text, "payload"
    found = transcript_or_reply(dependencies)
    if found is None:
        raise read.invalid(
            TEXT,
            "is missing; send the text to analyse, or depend on an AUDIO_TRANSCRIPTION or AI_RESPONSE task",
        )
    text, task_type = found
    if len(text) > config.max_text_chars:
        raise SizeLimitError(
            f"the {task_type} task that this one depends on gave {len(text)} characters; at most "
            f"{config.max_text_chars} are analysed (TextConfig.max_text_chars)"
        )
    return text, str(task_type)


def _analyses(payload: Mapping[str, Any]) -> tuple[str, ...]:
    given = read.optional(payload, "analysis_type", (str, list, tuple), _WANTED)
    names = [ALL] if given is None else [given] if isinstance(given, str) else list(given)
    if not names or len(names) > len(ANALYSES) + 1 or not all(isinstance(name, str) for name in names):
        raise read.invalid("analysis_type", f"must be {_WANTED}")
    if any(name.casefold() in ("entities", "entity", "ner") for name in names):
        raise read.invalid("analysis_type", _NO_ENTITIES)
    chosen = {read.choice({"analysis_type": name}, "analysis_type", None, (ALL, *ANALYSES)) for name in names}
    return ANALYSES if ALL in chosen else tuple(name for name in ANALYSES if name in chosen)


def _language_hint(payload: Mapping[str, Any]) -> str | None:
    wanted = "a language code such as 'en' or 'en-US'"
    given = read.optional(payload, "language", str, wanted)
    if given is None:
        return None
    tag = _LANGUAGE_TAG.fullmatch(given)
    if tag is None:
        raise read.invalid("language", f"must be {wanted}")
    return tag[1].lower()


@dataclass(slots=True, frozen=True)
class _Untold:
    """Why something cannot be told of a text; completes the sentence that the result's ``reasons`` give."""

    reason: str


@dataclass(slots=True, frozen=True, kw_only=True)
class _Text:
    """A text, taken apart.

    Attributes:
        sentences: as they were written, also those without words.
        detected: its language, as far as its words tell.
        language: the code that it is analysed by.
        max_keywords: how many are wanted.
    """

    sentences: Sequence[Sentence]
    detected: Language | _Untold
    language: str
    max_keywords: int

    @property
    def words(self) -> list[tuple[str, ...]]:
        """The words of each sentence that has any."""
        return [sentence.words for sentence in self.sentences if sentence.words]


def analyse(task: ProcessingTask, context: TaskContext, *, config: TextConfig) -> dict[str, Any]:
    """Analyse ``payload["text"]``, or what a dependency heard or answered. Time grows with its length and no faster.

    What cannot be told is None, with the reason in ``reasons``.

    Raises:
        InvalidPayloadError: the payload cannot be used, or there is no text.
        SizeLimitError: a dependency's text is too long.
        MissingExtraError: the extra "text" is not installed.
        PermanentError: a library failed.
    """
    request = read_request(task.payload, config)
    given, text_source = _find_text(request, context.dependencies, config)
    text, source = _take_apart(given, request, config.assumed_language)
    found = {name: _ANALYSERS[name](text) for name in request.analyses}
    reasons = {name: value.reason for name, value in found.items() if isinstance(value, _Untold)}
    return TextAnalysisResult(
        **{name: value for name, value in found.items() if name not in reasons},
        statistics=TextStatistics(characters=len(given), words=sum(map(len, text.words)), sentences=len(text.words)),
        text_source=text_source,
        analysed_as=text.language,
        language_source=source,
        reasons=reasons,
        provider="+".join(_PROVIDERS[name] for name in found if name not in reasons) or "none",
        model=None,
        offline=True,
    ).as_dict()


def _take_apart(given: str, request: TextRequest, assumed_language: str) -> tuple[_Text, LanguageSource]:
    """The text with the language to analyse it by, and where that is known from."""
    sentences = split_sentences(cleaned(given))
    detected: Language | _Untold = _Untold("nobody asked for it")
    if LANGUAGE in request.analyses or request.language is None:
        detected = _detect(sentences)
    source: LanguageSource
    if request.language is not None:
        language, source = request.language, "payload"
    elif isinstance(detected, Language):
        language, source = detected.code, "text"
    else:
        language, source = assumed_language, "assumed"
    text = _Text(sentences=sentences, detected=detected, language=language, max_keywords=request.max_keywords)
    return text, source


def _detect(sentences: Sequence[Sentence]) -> Language | _Untold:
    words = (word for sentence in sentences for word in sentence.words if has_letter(word))
    first = list(itertools.islice(words, _HEARD_WORDS))
    # Where words are not parted, every character tells as much as a word.
    if sum(max(1, len(_SPACELESS_LETTER.findall(word))) for word in first) < _TELLING_WORDS:
        return _Untold(f"fewer than {_TELLING_WORDS} words do not tell a language")
    language = py3langid_language.identify(" ".join(first))
    if language.confidence < _TELLING_CONFIDENCE:
        return _Untold("the words are not recognised as any language")
    return language


def _sentiment(text: _Text) -> Sentiment | _Untold:
    problem = _not_english(text)
    if problem is not None:
        return problem
    sentiment = judge(text.sentences)
    return _NO_WORDS if sentiment is None else _rounded(sentiment)


def _keywords(text: _Text) -> tuple[Keyword, ...] | _Untold:
    if text.language in _WITHOUT_SPACES:
        return _Untold(f"{text.language!r} is written without spaces, so that its words are not found")
    return tuple(yake_keywords.keywords(text.words, text.language, text.max_keywords))


def _language(text: _Text) -> Language | _Untold:
    return text.detected if isinstance(text.detected, _Untold) else _rounded(text.detected)


def _readability(text: _Text) -> Readability | _Untold:
    problem = _not_english(text)
    if problem is not None:
        return problem
    return _rounded(readability.measure(text.words)) if text.words else _NO_WORDS


_ANALYSERS: dict[str, Callable[[_Text], Any]] = {
    SENTIMENT: _sentiment, KEYWORDS: _keywords, LANGUAGE: _language, READABILITY: _readability,
}  # fmt: skip
_PROVIDERS = {
    SENTIMENT: vader_sentiment.NAME, KEYWORDS: yake_keywords.NAME, LANGUAGE: py3langid_language.NAME,
    READABILITY: readability.NAME,
}  # fmt: skip
_NO_WORDS = _Untold("there are no words")


def _not_english(text: _Text) -> _Untold | None:
    if text.language != _ENGLISH:
        return _Untold(f"only English can be judged, and the text is taken for {text.language!r}")
    # Two words in other letters are too few to be recognised, but surely none that the methods know.
    if text.words and not any(_ENGLISH_LETTER.search(word) for words in text.words for word in words):
        return _Untold("only English can be judged, and no word is in its letters")
    return None


def _rounded(record: Told) -> Told:
    """The record with four decimals: more would claim a precision that none of the methods has."""
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    rounded: dict[str, Any] = {name: round(value, 4) for name, value in values.items() if isinstance(value, float)}
    return replace(record, **rounded)


async def _readiness() -> Readiness:
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    return Readiness(
        provider="+".join(_PROVIDERS.values()),
        offline=True,
        problem=str(MissingExtraError("text", needed_for="TEXT_ANALYSIS")) if missing else None,
    )
