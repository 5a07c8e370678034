"""Which language a text is in, by py3langid (Lui and Baldwin, "langid.py", ACL 2012: naive Bayes over byte n-grams)."""

from __future__ import annotations

import functools
from typing import Any

from ...results.text_analysis import Language
from ..extras import needs_extra

NAME = "py3langid"

# The fewer there are to choose from, the better short phrases are told apart: of the 140 it knows, those that are
# spoken most, and those for which there are lists of stopwords.
LANGUAGES = (
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hi", "hr", "hu", "hy", "id", "it",
    "ja", "ko", "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "th", "tr", "uk", "vi", "zh",
)  # fmt: skip
# More text than this does not make it any surer, and only costs time.
_MAX_CHARS = 5_000


@functools.cache
def _identifier() -> Any:
    # Unpacking the model takes 0.4 s: once per process. One of our own, because set_languages changes it.
    with needs_extra("text", needed_for="TEXT_ANALYSIS of the language"):
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier


def identify(text: str) -> Language:
    """Recognise the language, among ``LANGUAGES``.

    It always names one, also for a single word or none, so ask only about some words.

    Args:
        text: with few marks on a letter: it is normalised, which takes quadratic time with many.

    Raises:
        MissingExtraError: py3langid is not installed.
    """
    code, confidence = _identifier().classify(text[:_MAX_CHARS])
    return Language(code=str(code), confidence=float(confidence))
