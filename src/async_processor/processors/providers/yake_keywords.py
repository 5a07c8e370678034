"""Keywords of a text by YAKE, which ranks words by where and how they stand in it, without a model.

Campos and others, "YAKE! Keyword extraction from single documents using multiple local features", Information Sciences
509, 2020.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterable, Iterator, Sequence

from ...errors import PermanentError
from ...results.text_analysis import Keyword
from ..extras import needs_extra

NAME = "yake"
MAX_WORDS = 3
"""Words in one keyword."""

# Languages whose lists of stopwords come with YAKE. It takes the first two letters of whatever it is given for a list's
# name, which is not always the language's code: its "br" is for Brazil, where that is Breton.
_STOPWORDS = {
    code: code
    for code in (
        "ar", "bg", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "hi", "hr", "hu", "hy", "id", "it", "lt",
        "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "tr", "uk",
    )
} | {"cs": "cz"}  # fmt: skip
_NO_LIST = "xx"

# Its splitter goes over a sentence again for each contraction in it, so sentences are kept short; and it compares
# keywords letter by letter, so words are.
_MAX_SENTENCE_WORDS = 100
_MAX_WORD_CHARS = 50


def keywords(sentences: Iterable[Sequence[str]], language: str, limit: int) -> list[Keyword]:
    """The best keywords of sentences that are given as their words; few or none where there is little text.

    Args:
        language: two-letter code; decides which words count for nothing.
        limit: how many, at most.

    Raises:
        MissingExtraError: yake is not installed.
        PermanentError: yake could not do it.
    """
    with needs_extra("text", needed_for="TEXT_ANALYSIS of keywords"):
        import yake

    kept = [[word for word in words if len(word) <= _MAX_WORD_CHARS] for words in sentences]
    extractor = yake.KeywordExtractor(lan=_STOPWORDS.get(language, _NO_LIST), n=MAX_WORDS, top=limit)
    with _silent(logging.getLogger("yake.core.yake")) as failures:
        found = extractor.extract_keywords(_as_text(kept))
    # It keeps words of texts for later ones; they may be personal.
    extractor.clear_caches()
    if failures:
        raise PermanentError("yake could not rank the words of this text")
    written = {word for words in kept for word in words}
    scored = ((_as_written(phrase, written), float(score)) for phrase, score in found)
    return [Keyword(keyword=phrase, score=score) for phrase, score in scored if math.isfinite(score)]


def _as_text(sentences: Iterable[Sequence[str]]) -> str:
    """A text that YAKE parts into just these sentences.

    Its splitter joins a sentence to the one before by how that ends and this begins, and takes quadratic time where it
    joins many. Never after an exclamation mark and before a capital.
    """
    parts = (
        words[start : start + _MAX_SENTENCE_WORDS]
        for words in sentences
        for start in range(0, len(words), _MAX_SENTENCE_WORDS)
    )
    return " ".join(f"{_capitalised(' '.join(part))}!" for part in parts)


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def _as_written(phrase: str, written: set[str]) -> str:
    """The phrase, without the capital that we gave it if it began a sentence."""
    first = phrase.partition(" ")[0]
    lower = phrase[0].lower() + phrase[1:]
    return phrase if first in written or lower.partition(" ")[0] not in written else lower


@contextlib.contextmanager
def _silent(logger: logging.Logger) -> Iterator[list[str]]:
    """Collect the levels of what a logger says instead of letting it speak: YAKE logs texts that it fails on."""
    said: list[str] = []

    def swallow(record: logging.LogRecord) -> bool:
        said.append(record.levelname)
        return False

    logger.addFilter(swallow)
    try:
        yield said
    finally:
        logger.removeFilter(swallow)
