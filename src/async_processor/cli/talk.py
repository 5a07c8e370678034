"""``async-processor talk``: a spoken sentence in; what was heard, felt and answered out."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from ..config import ProcessorConfig
from ..errors import AsyncProcessorError, ConfigurationError, InvalidPayloadError
from ..monitoring.observer import Observer
from ..processor import AdvancedAsyncProcessor
from ..results import SpokenAnswerResult
from ..runtime.stores import Durability
from . import event_loop
from .exit_code import ExitCode
from .interruption import InterruptedBySignal, interruptible
from .output import complain, print_line, tell
from .progress import shown_progress
from .summary import summary_json, summary_lines
from .turn import Turn, TurnResults


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkOptions:
    """What the command line says.

    Attributes:
        recording: the file with the spoken sentence.
        answer: where the spoken answer goes; directories are made.
        as_json: whether to print one JSON object rather than lines for people.
        store, durability: where the tasks of the talk are kept.
    """

    recording: Path
    answer: Path
    as_json: bool
    store: str = "memory:"
    durability: Durability = "power"


class UsageError(Exception):
    """The command was called in a way that cannot work."""


def run_talk(options: TalkOptions) -> ExitCode:
    """Talk once; says what went wrong on standard error."""
    try:
        return event_loop.run(_talk(options))
    except (UsageError, ConfigurationError) as error:
        complain("talk", error)
        return ExitCode.USAGE
    except InterruptedBySignal as error:
        complain("talk", f"stopped by {error}")
        return ExitCode(128 + error.number)
    except AsyncProcessorError as error:
        # The processor could not start; what fails later is in the results.
        complain("talk", error)
        return ExitCode.FAILED


async def _talk(options: TalkOptions) -> ExitCode:
    config = ProcessorConfig.from_env()
    turn = Turn.of(_read(options.recording, config.speech.max_audio_bytes))
    with interruptible() as interruption, _progress(turn, options) as observer:
        processor = AdvancedAsyncProcessor(config=config, store=options.store, durability=options.durability)
        try:
            processor.add_observer(observer)
            await processor.start()
            results = await interruption.run(turn.run(processor))
        except InvalidPayloadError as error:
            # Only the recording is the caller's own.
            raise UsageError(f"{options.recording} cannot be used: {error}") from None
        finally:
            # After the work nothing runs any more; after a signal nothing shall. Workers are ended by force.
            await processor.shutdown(timeout=0)
    return _report(results, options)


def _progress(turn: Turn, options: TalkOptions) -> AbstractContextManager[Observer]:
    if options.as_json:
        return nullcontext(Observer())
    return shown_progress({task.id: name for name, task in turn.stages()}, tell)


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            # One byte more than is allowed tells too much from enough, whatever kind of file it is.
            recording = file.read(max_bytes + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if len(recording) > max_bytes:
        raise UsageError(
            f"{path} is larger than {max_bytes} bytes; send less, or set ASYNC_PROCESSOR_SPEECH_MAX_AUDIO_BYTES"
        )
    return recording


def _report(results: TurnResults, options: TalkOptions) -> ExitCode:
    code = ExitCode.OK if results.ok else ExitCode.FAILED
    answer = None
    sound = SpokenAnswerResult.of(results.speech).audio_data if results.speech.ok else None
    if sound is not None:
        try:
            answer = _written(sound, options.answer)
        except OSError as error:
            complain("talk", f"cannot write {options.answer}: {error.strerror}")
            code = ExitCode.FAILED
    if options.as_json:
        print_line(json.dumps(summary_json(results, answer)))
    else:
        for line in summary_lines(results, answer):
            print_line(line)
    return code


def _written(sound: bytes, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sound)
    return path
