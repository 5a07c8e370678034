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
    """Settings of speech recognition, emotion from the voice, and the spoken answer.

    Attributes:
        max_audio_bytes: largest recording accepted.
        max_audio_s: longest recording accepted, in seconds.
    """

    max_audio_bytes: int = 50_000_000
    max_audio_s: float = 600.0


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
        loop_stall_s: an event loop blocked for longer is reported, with the stack that blocked it.
        profile_slowest: with profiling on, how many of the slowest attempts per type keep their profile.
        speech: settings of the speech processors.
        ai: settings of the reply processor.
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
    loop_stall_s: float = 0.2
    profile_slowest: int = 3
    speech: SpeechConfig = field(default_factory=SpeechConfig)
    ai: AIConfig = field(default_factory=AIConfig)
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
