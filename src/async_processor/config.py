"""Settings beyond the constructor's arguments. Frozen, checked on construction, readable from the environment."""

from __future__ import annotations

import os
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from .errors import ConfigurationError

ENV_PREFIX = "ASYNC_PROCESSOR_"
_SWITCH = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False, "1": True, "0": False}


@dataclass(slots=True, frozen=True, kw_only=True)
class _Settings:
    """Shared reading and checking. Every number is a limit or a duration: finite, and 0 or more."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for item in fields(self):
            _check(type(self).__name__, item.name, hints[item.name], getattr(self, item.name))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, prefix: str = ENV_PREFIX) -> Self:
        """Defaults, with every field replaced whose variable ``PREFIX + FIELD`` is set.

        Settings within settings read ``PREFIX + FIELD + "_" + THEIR_FIELD``; a mapping is written as a JSON object.

        Raises:
            ConfigurationError: a variable cannot be read as its field's type; the message names it.
        """
        found = os.environ if environ is None else environ
        hints = typing.get_type_hints(cls)
        values: dict[str, Any] = {}
        for item in fields(cls):
            hint, variable = hints[item.name], f"{prefix}{item.name.upper()}"
            if isinstance(hint, type) and issubclass(hint, _Settings):
                values[item.name] = hint.from_env(found, f"{variable}_")
            elif variable in found:
                values[item.name] = _parse(variable, hint, found[variable])
        return cls(**values)


@dataclass(slots=True, frozen=True, kw_only=True)
class SpeechConfig(_Settings):
    """Settings of speech recognition, enhancement, emotion from the voice, and the spoken answer.

    Attributes:
        max_audio_bytes: largest recording accepted.
        max_audio_s: longest recording accepted, in seconds.
        provider: who transcribes. "auto" is Whisper where ``whisper_model_dir`` is set, else PocketSphinx; else
            "pocketsphinx", "whisper", "openai", or what another package brings. A recording leaves the machine only
            where this names who gets it, whatever keys there are in the environment.
        whisper_model_dir: folder of a Whisper model in CTranslate2's format, with its tokenizer.
        whisper_threads: threads that one recognition by Whisper may use.
        model: name of the hosted model. There is no default: vendors switch names off.
        base_url: address of the hosted server, usually ending in ``/v1``; None to take ``OPENAI_BASE_URL``, or else
            the vendor's own.
        api_key: its key; None to take ``OPENAI_API_KEY``. Never shown or logged.
        request_timeout_s: seconds for one hosted transcription, upload included.
        max_upload_bytes: largest recording sent to a server.
        max_response_bytes: largest answer read from a server that transcribes.
        synthesizer: who speaks answers. "auto" is the first program that is installed of "flite" and "espeak-ng"; else
            one of these, "openai", or what another package brings. A text leaves the machine only where this names
            who gets it, whatever keys there are in the environment.
        synthesizer_model: name of the hosted model that speaks. There is no default.
        synthesizer_voice: name of the voice; None for a program's own. A hosted model has no default.
        synthesizer_base_url: address of the server that speaks, usually ending in ``/v1``; None to take
            ``OPENAI_BASE_URL``, or else the vendor's own.
        synthesizer_api_key: its key; None to take ``OPENAI_API_KEY``, but not for a ``synthesizer_base_url``. Never
            shown or logged.
        synthesizer_timeout_s: seconds for one text that a server speaks.
        max_speech_bytes: largest speech taken from a synthesiser.
    """

    max_audio_bytes: int = 50_000_000
    max_audio_s: float = 600.0
    provider: str = "auto"
    whisper_model_dir: str | None = None
    whisper_threads: int = 1
    model: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    request_timeout_s: float = 60.0
    max_upload_bytes: int = 25_000_000
    max_response_bytes: int = 1_000_000
    synthesizer: str = "auto"
    synthesizer_model: str | None = None
    synthesizer_voice: str | None = None
    synthesizer_base_url: str | None = None
    synthesizer_api_key: str | None = field(default=None, repr=False)
    synthesizer_timeout_s: float = 30.0
    max_speech_bytes: int = 10_000_000


@dataclass(slots=True, frozen=True, kw_only=True)
class AIConfig(_Settings):
    """Settings of the reply generator.

    Attributes:
        provider: "auto" goes by the keys in the environment and falls back to the offline companion; else "openai",
            "anthropic", "scripted", or what another package brings.
        model: model name for the hosted provider. There is no default: vendors switch names off.
        base_url: address of the server, for OpenAI's protocol usually ending in ``/v1``; None to take
            ``OPENAI_BASE_URL`` or ``ANTHROPIC_BASE_URL``, or else the vendor's own.
        api_key: the key; None to take ``OPENAI_API_KEY`` or ``ANTHROPIC_API_KEY``. Never shown or logged.
        max_tokens_parameter: name under which the server takes the limit.
        request_timeout_s: seconds for one request.
        max_prompt_chars: longest prompt accepted, context included.
        max_tokens: length of a reply where the payload names none, in tokens; for models that think before they
            speak, leave room for their thoughts.
        max_tokens_limit: largest ``max_tokens`` accepted.
        max_response_bytes: largest answer read from a server.
        moderation: who judges whether what goes to the model and what comes back is fit for a child: "offline" by
            words, "openai" by its moderation service, "off" nobody; or what another package brings.
        moderation_base_url: address of a server with OpenAI's moderation protocol; None for OpenAI's own.
        moderation_api_key: its key; None to take, for OpenAI's own service, ``OPENAI_API_KEY``, or ``api_key`` where
            that is OpenAI's. Never shown or logged.
        moderation_timeout_s: seconds for one judgement; what is not judged by then does not pass.
    """

    provider: str = "auto"
    model: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    max_tokens_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_completion_tokens"
    request_timeout_s: float = 30.0
    max_prompt_chars: int = 20_000
    max_tokens: int = 300
    max_tokens_limit: int = 4_096
    max_response_bytes: int = 4_000_000
    moderation: str = "offline"
    moderation_base_url: str | None = None
    moderation_api_key: str | None = field(default=None, repr=False)
    moderation_timeout_s: float = 5.0


@dataclass(slots=True, frozen=True, kw_only=True)
class TextConfig(_Settings):
    """Settings of the text analysis.

    Attributes:
        max_text_chars: longest text accepted, in characters.
        assumed_language: two-letter code of the language that a text is taken for where neither its payload nor its
            words tell.
    """

    max_text_chars: int = 100_000
    assumed_language: str = "en"


@dataclass(slots=True, frozen=True, kw_only=True)
class ImageConfig(_Settings):
    """Settings of picture processing.

    Attributes:
        max_image_bytes: largest file accepted.
        max_pixels: largest picture accepted or made, in pixels (width times height); at most 178,956,970.
        max_frames: most frames an animation may have; only the first is used.
    """

    max_image_bytes: int = 50_000_000
    max_pixels: int = 40_000_000
    max_frames: int = 500


@dataclass(slots=True, frozen=True, kw_only=True)
class ImageGenerationConfig(_Settings):
    """Settings of picture generation.

    Attributes:
        provider: "auto" takes ``model_directory``, else ``base_url`` (OpenAI's protocol), else ``OPENAI_API_KEY``, and
            falls back to a drawing; else "openai", "a1111" (any server with ``/sdapi/v1/txt2img``), "diffusers",
            "procedural", or what another package brings.
        model: model name for a server; there is no default: vendors switch names off. Of a local model, the name to
            give it; the directory's unless set.
        model_directory: a local model in the layout of diffusers, with weights as safetensors.
        base_url: address of the server, for OpenAI's protocol usually ending in ``/v1``; None to take
            ``OPENAI_BASE_URL``, or else the vendor's own.
        api_key: the key; None to take ``OPENAI_API_KEY``; ``user:password`` for "a1111". Never shown or logged.
        request_timeout_s: seconds for one request.
        max_prompt_chars: longest prompt accepted.
        max_pixels: largest picture that may be asked for, in pixels (width times height).
        max_steps: most steps that may be asked for.
        max_response_bytes: largest answer read from a server.
    """

    provider: str = "auto"
    model: str | None = None
    model_directory: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    request_timeout_s: float = 180.0
    max_prompt_chars: int = 4_000
    max_pixels: int = 4_194_304
    max_steps: int = 150
    max_response_bytes: int = 32_000_000


@dataclass(slots=True, frozen=True, kw_only=True)
class EmotionConfig(_Settings):
    """Settings of emotion analysis. Without them everything stays on the machine.

    Attributes:
        provider: "offline" judges voice and words here; "chat" has a chat model judge the words; "hume" has Hume judge
            the recording; else what another package brings. Keys in the environment alone choose nothing.
        protocol: for "chat", whose protocol the model speaks; "auto" for the one that ``AIConfig`` leads to, or
            OpenAI's at a ``base_url`` of its own.
        model: for "chat", name of the model; None to take ``AIConfig.model``.
        base_url: address of the server; None for the vendor's own. For "chat" it goes together with ``protocol`` and
            ``api_key``: where none of the three is given, all are those of ``AIConfig``.
        api_key: the key; None to take ``HUME_API_KEY``, or for "chat" what ``AIConfig`` would. Never shown or logged.
        request_timeout_s: seconds for one request.
        max_tokens: for "chat", longest answer in tokens; leave room for models that think before they answer.
        max_response_bytes: largest answer read from a server.
    """

    provider: str = "offline"
    protocol: Literal["auto", "openai", "anthropic"] = "auto"
    model: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    request_timeout_s: float = 30.0
    max_tokens: int = 1_000
    max_response_bytes: int = 4_000_000


@dataclass(slots=True, frozen=True, kw_only=True)
class DataConfig(_Settings):
    """Settings of the data analysis.

    Attributes:
        max_bytes: largest file accepted as bytes.
        max_cells: most rows times columns accepted.
        max_columns: most columns accepted.
        max_result_rows: most rows, groups or points in a result; what a payload's ``limit`` may ask for.
        memory_limit_mb: memory in MiB that one analysis may take in the database.
        threads: threads that one analysis may use in the database.
        query_timeout_s: longest time for one query to the database, in seconds.
        max_chart_points: most points, bars or values that a chart shows.
        max_chart_pixels: largest chart, in pixels (width times height).
    """

    max_bytes: int = 50_000_000
    max_cells: int = 10_000_000
    max_columns: int = 1_000
    max_result_rows: int = 1_000
    memory_limit_mb: int = 1_024
    threads: int = 1
    query_timeout_s: float = 30.0
    max_chart_points: int = 100_000
    max_chart_pixels: int = 4_000_000


@dataclass(slots=True, frozen=True, kw_only=True)
class DatabaseConfig(_Settings):
    """Settings of database operations. Tasks name a connection; where it leads stands here and nowhere else.

    Attributes:
        connections: name of each connection, and its URL: ``sqlite:///FILE``, or
            ``postgresql://USER:PASSWORD@HOST/DATABASE``. Never shown or logged.
        pool_size: most connections that are open to one database at a time.
        connect_timeout_s: seconds to get a connection, a new one or one that others use.
        statement_timeout_s: seconds for one statement, reading its rows included.
        lock_timeout_s: seconds to wait for a lock that others hold.
        max_rows: most rows that a task is given; the rest is cut off, and the result says so.
        max_bytes: most bytes of rows that a task is given, and the largest single value in SQLite.
        max_statement_chars: longest statement accepted.
        max_statements: most statements in a transaction.
        max_parameters: most values that one task may bind.
    """

    connections: Mapping[str, str] = field(default_factory=dict, repr=False)
    pool_size: int = 5
    connect_timeout_s: float = 10.0
    statement_timeout_s: float = 30.0
    lock_timeout_s: float = 5.0
    max_rows: int = 10_000
    max_bytes: int = 16_000_000
    max_statement_chars: int = 20_000
    max_statements: int = 50
    max_parameters: int = 10_000


@dataclass(slots=True, frozen=True, kw_only=True)
class NotifyConfig(_Settings):
    """Settings of notifications.

    Attributes:
        channels: by name, the address (URL) that a channel sends by. Holds passwords: never shown or logged.
        allow_private_networks: whether webhooks and push services may be on this machine or in a private network.
        retry_unknown: whether a mail or vendor's message that may have been delivered is sent again.
        timeout_s: seconds for handing over one message; for an SMS, to one number.
        max_recipients: most recipients of one message.
        max_message_chars: longest message accepted, and longest HTML.
        max_attachments: most files with one mail.
        max_attachment_bytes: largest size of all files of one mail together.
    """

    channels: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow_private_networks: bool = False
    retry_unknown: bool = False
    timeout_s: float = 30.0
    max_recipients: int = 50
    max_message_chars: int = 100_000
    max_attachments: int = 10
    max_attachment_bytes: int = 5_000_000


@dataclass(slots=True, frozen=True, kw_only=True)
class ProcessorConfig(_Settings):
    """How a processor behaves. Durations in seconds, sizes in bytes unless the name says otherwise.

    Attributes:
        reserved_slots: slots per lane that only CRITICAL and HIGH may take, in lanes of four slots or more.
        max_wait_s: how long a ready task may be overtaken before the starvation guard helps it.
        dependency_timeout_s: how long a task waits for a dependency that nobody submits.
        cancel_grace_s: how long a coroutine may take to end after it was cancelled.
        max_results: how many finished tasks are remembered.
        result_ttl_s: how long a finished task is remembered.
        max_failures: how many tasks that ended in any way but COMPLETED a store on disk remembers.
        failure_ttl_s: how long it remembers each of them.
        result_file_bytes: encoded results larger than this go to files beside the store.
        registration_timeout_s: how long a task that was taken up from a store waits for its type to be registered.
        max_crashes: how many times, at least, a task is taken up again after its process died while it ran.
        max_payload_bytes: largest payload accepted, counting bytes and text.
        max_result_bytes: largest result accepted, counting bytes and text.
        max_abandoned_threads: how many timed-out threads may linger before the thread lane refuses work.
        retry_base_s: upper bound of the first retry's delay; doubles with each attempt.
        retry_max_s: largest backoff, and longest ``Retry-After`` that is honoured; the backoff comes on top of it.
        callback_timeout_s: how long a task's callback may take.
        start_method: how worker processes are started.
        worker_start_timeout_s: how long a worker process may take until it is ready.
        worker_max_tasks: attempts after which a worker process is replaced; 0 for never.
        worker_max_memory_mb: size in MiB at which an idle worker process is replaced; 0 for never.
        memory_fraction: part of the machine's or container's memory that memory-intensive tasks may fill.
        memory_default_mb: assumed peak of a memory-intensive task whose type has not run yet.
        garbage_collection: "automatic" leaves Python's collector alone; "when_quiet" puts its full collections, which
            stop everything, off until no task runs, for 60 s at most.
        loop_stall_s: an event loop blocked for longer is reported, with the stack that blocked it.
        profile_slowest: with profiling on, how many of the slowest attempts per type keep their profile.
        speech: settings of the speech processors.
        ai: settings of the reply processor.
        images: settings of picture processing.
        image_generation: settings of picture generation.
        emotion: settings of emotion analysis.
        data: settings of the data analysis.
        database: settings of database operations.
        text: settings of the text analysis.
        notify: settings of notifications.
    """

    reserved_slots: int = 1
    max_wait_s: float = 60.0
    dependency_timeout_s: float = 300.0
    cancel_grace_s: float = 1.0
    max_results: int = 10_000
    result_ttl_s: float = 3_600.0
    max_failures: int = 10_000
    failure_ttl_s: float = 604_800.0
    result_file_bytes: int = 1_000_000
    registration_timeout_s: float = 300.0
    max_crashes: int = 3
    max_payload_bytes: int = 64 * 1024 * 1024
    max_result_bytes: int = 64 * 1024 * 1024
    max_abandoned_threads: int = 20
    retry_base_s: float = 0.5
    retry_max_s: float = 60.0
    callback_timeout_s: float = 30.0
    start_method: Literal["forkserver", "spawn"] = "forkserver"
    worker_start_timeout_s: float = 60.0
    worker_max_tasks: int = 1_000
    worker_max_memory_mb: float = 1_024.0
    memory_fraction: float = 0.8
    memory_default_mb: float = 512.0
    garbage_collection: Literal["automatic", "when_quiet"] = "automatic"
    loop_stall_s: float = 0.2
    profile_slowest: int = 3
    speech: SpeechConfig = field(default_factory=SpeechConfig)
    ai: AIConfig = field(default_factory=AIConfig)
    images: ImageConfig = field(default_factory=ImageConfig)
    image_generation: ImageGenerationConfig = field(default_factory=ImageGenerationConfig)
    emotion: EmotionConfig = field(default_factory=EmotionConfig)
    data: DataConfig = field(default_factory=DataConfig)
    database: DatabaseConfig = field(default_factory=DatabaseConfig)
    text: TextConfig = field(default_factory=TextConfig)
    notify: NotifyConfig = field(default_factory=NotifyConfig)


def _check(owner: str, name: str, hint: Any, value: Any) -> None:
    choices = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in choices:
            raise ConfigurationError(f"{owner}.{name} must be one of {', '.join(choices)}, not {value!r}")
        return
    if origin is Mapping:
        if not isinstance(value, Mapping) or not all(isinstance(part, str) for item in value.items() for part in item):
            raise ConfigurationError(f"{owner}.{name} must be a mapping of names to texts")
        return
    wanted = choices if origin is types.UnionType else (hint,)
    numeric = float in wanted
    accepted = (*wanted, int) if numeric else wanted
    if not isinstance(value, accepted) or isinstance(value, bool) != (bool in wanted):
        shown = " or ".join(getattr(item, "__name__", str(item)) for item in wanted)
        raise ConfigurationError(f"{owner}.{name} must be {shown}, not {type(value).__name__}")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # Compared with the largest float: an integer beyond it cannot even be asked whether it is finite.
    if number and not 0 <= value <= sys.float_info.max:
        raise ConfigurationError(f"{owner}.{name} must be a finite number of 0 or more, not {value!r}")


def _parse(variable: str, hint: Any, text: str) -> Any:
    wanted = typing.get_args(hint) if typing.get_origin(hint) is types.UnionType else (hint,)
    if types.NoneType in wanted and text == "":
        return None
    if typing.get_origin(hint) is Mapping:
        return _parse_mapping(variable, text)
    if bool in wanted:
        return _parse_switch(variable, text)
    try:
        if int in wanted:
            return int(text)
        if float in wanted:
            return float(text)
    except ValueError:
        raise ConfigurationError(f"{variable} must be a number, not {text!r}") from None
    return text


def _parse_switch(variable: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in _SWITCH:
        raise ConfigurationError(f"{variable} must be one of {', '.join(_SWITCH)}, not {text!r}")
    return _SWITCH[word]


def _parse_mapping(variable: str, text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        # Not what it holds: that may be a password.
        raise ConfigurationError(f"{variable} must be a JSON object of names and texts") from None
