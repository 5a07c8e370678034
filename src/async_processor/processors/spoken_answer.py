"""``spoken_answer``: a reply, or any text, as sound. Described in docs/spoken-answer.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config import ProcessorConfig, SpeechConfig
from ..context import TaskContext
from ..errors import AsyncProcessorError, InvalidPayloadError, ProcessorNotAvailableError
from ..model import LaneName, ProcessingTask
from ..results.spoken_answer import SpokenAnswerResult
from . import payload as read
from .example_sound import SENTENCE
from .heard_words import reply
from .registry import ProcessorSpec, Readiness
from .speech_synthesis import Speaker, Speech
from .synthesis import MAX_CHARS
from .synthesizers import check_settings

SPOKEN_ANSWER = "spoken_answer"
"""The task type. It is no member of ``ProcessingType``, whose members are the guide's."""

TEXT = "text"


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """How spoken answers are made: on the event loop, which waits for a program, a server or a provider of one's own.

    Raises:
        ConfigurationError: the settings name a synthesiser but not what it needs, or contradict each other.
    """
    check_settings(config.speech)
    answer = SpokenAnswer(config.speech)
    return ProcessorSpec(
        func=answer,
        is_async=True,
        wants_context=True,
        lane=LaneName.ASYNC,
        check=check,
        aclose=answer.aclose,
        readiness=answer.readiness,
        example=example,
    )


@dataclass(slots=True, frozen=True)
class SpokenRequest:
    """What a payload asks for; ``text`` None is for the reply of a task that this one depends on."""

    text: str | None


def read_request(payload: Mapping[str, Any]) -> SpokenRequest:
    """Read a payload.

    Raises:
        InvalidPayloadError: it cannot be used; ``field`` names the key.
    """
    if payload.get(TEXT) is None:
        return SpokenRequest(None)
    return SpokenRequest(read.text(payload, TEXT, max_chars=MAX_CHARS, wanted="what to say, as text"))


def check(task: ProcessingTask) -> None:
    """Refuse at submit what could not be spoken.

    Raises:
        InvalidPayloadError: the text cannot be used, or there is none and no task that could bring it.
    """
    if read_request(task.payload).text is None and not task.depends_on:
        raise _missing()


class SpokenAnswer:
    """The processor function.

    Args:
        config: who speaks.
        speaker: speaks; made from ``config`` unless given.
    """

    def __init__(self, config: SpeechConfig, speaker: Speaker | None = None) -> None:
        self._config = config
        self._speaker = Speaker(config) if speaker is None else speaker

    async def __call__(self, task: ProcessingTask, context: TaskContext) -> dict[str, Any]:
        """Speak ``payload["text"]``, or else the reply that the task waited for.

        Where nothing chooses a synthesiser and this machine has none, the answer stays text and the result says why.

        Raises:
            InvalidPayloadError: the payload cannot be used, or there is nothing to speak.
            AsyncProcessorError: as ``Speaker.speak``.
        """
        text = find_text(task.payload, context)
        said = cut(text)
        speech, reason = None, "the text has nothing that can be spoken" if said.strip() else "the text is empty"
        try:
            speech = await self._speaker.speak(said)
        except ProcessorNotAvailableError as error:
            if self._config.synthesizer != "auto":
                raise
            reason = error.message
        left_out = f"the text has {len(text)} characters; only the first {len(said)} were spoken"
        return result(speech, reason, () if said == text else (left_out,)).as_dict()

    async def readiness(self) -> Readiness:
        """Whether a text could be spoken."""
        problem, provider, offline = None, self._config.synthesizer, False
        try:
            provider, offline = self._speaker.provider, self._speaker.offline
            await self._speaker.check()
        except AsyncProcessorError as error:
            problem = error.message
        remarks = () if offline else ("what is answered leaves this machine to be spoken",)
        return Readiness(provider=provider, offline=offline, problem=problem, remarks=remarks)

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._speaker.aclose()


def find_text(payload: Mapping[str, Any], context: TaskContext) -> str:
    """The payload's text, else the reply that the task waited for.

    Raises:
        InvalidPayloadError: there is neither, or the text cannot be used.
    """
    given = read_request(payload).text
    if given is not None:
        return given
    answered = reply(context.dependencies)
    if answered is None:
        raise _missing()
    return answered


def _missing() -> InvalidPayloadError:
    return read.invalid(TEXT, "is missing; send what to say, or depend on an AI_RESPONSE task")


def cut(text: str) -> str:
    """As much as is spoken at a time, cut between words: a long answer is still an answer."""
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS + 1].rpartition(" ")[0][:MAX_CHARS]


def result(speech: Speech | None, reason: str, warnings: Sequence[str]) -> SpokenAnswerResult:
    """The result; ``reason`` is why there is no speech, if there is none."""
    if speech is None:
        return SpokenAnswerResult(reason=reason, warnings=())
    return SpokenAnswerResult(
        audio_data=speech.wav,
        duration=round(speech.duration, 3),
        sample_rate=speech.sample_rate,
        provider=speech.provider,
        model=speech.model,
        voice=speech.voice,
        offline=speech.offline,
        reason=None,
        warnings=tuple(warnings),
    )


def example() -> dict[str, Any]:
    """A few words."""
    return {"text": SENTENCE}
