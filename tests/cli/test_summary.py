from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from async_processor.cli.summary import summary_json, summary_lines
from async_processor.cli.turn import TurnResults
from async_processor.model import TaskResult, TaskStatus

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
HEARD = {"transcription": "hello teddy", "reason": None, "provider": "pocketsphinx", "model": "en-us"}
FELT = {"primary_emotion": "happy", "confidence": 0.625, "provider": "swift-f0"}
ANSWERED = {"response": "Hello!", "provider": "scripted", "model": None}
SPOKEN = {"audio_data": b"RIFF", "reason": None, "duration": 1.26, "provider": "flite", "model": None, "voice": "slt"}


def ended(value: Any = None, *, status: TaskStatus = TaskStatus.COMPLETED, **fields: Any) -> TaskResult:
    fields = {"wait_time": 0.25, "execution_time": 0.5, "attempts": 1, "worker_id": "process-0"} | fields
    ends = BEGAN + timedelta(seconds=2)
    return TaskResult(task_id="t", status=status, result=value, created_at=BEGAN, completed_at=ends, **fields)


def results(**changed: TaskResult) -> TurnResults:
    whole = {"transcription": ended(HEARD), "emotion": ended(FELT), "reply": ended(ANSWERED), "speech": ended(SPOKEN)}
    return TurnResults(**(whole | changed))


def test_a_confidence_that_nobody_measured_is_not_shown():
    lines = list(summary_lines(results(emotion=ended({**FELT, "confidence": None})), None))

    assert "felt          happy  [swift-f0]" in lines


def test_the_summary_tells_heard_felt_answered_spoken_and_the_times():
    assert list(summary_lines(results(), Path("out/answer.wav"))) == [
        'heard         "hello teddy"  [pocketsphinx, en-us]',
        "felt          happy, confidence 0.62  [swift-f0]",
        'answered      "Hello!"  [scripted]',
        "spoken        out/answer.wav, 1.3 s  [flite, slt]",
        "",
        "stage               wait       run   where",
        "transcription    0.250 s   0.500 s   process-0",
        "emotion          0.250 s   0.500 s   process-0",
        "reply            0.250 s   0.500 s   process-0",
        "speech           0.250 s   0.500 s   process-0",
        "all                        2.000 s   from the first submit to the last end",
    ]


def test_a_stage_that_failed_shows_its_error_and_the_others_what_they_found():
    failed = ended(status=TaskStatus.FAILED, error="the worker\x1b[2J died", attempts=4)
    cancelled = ended(status=TaskStatus.CANCELLED, error="t failed", worker_id=None, attempts=0)

    lines = list(summary_lines(results(transcription=failed, speech=cancelled), None))

    assert lines[0] == "heard         (failed: the worker\\x1b[2J died)"
    assert lines[2] == 'answered      "Hello!"  [scripted]'
    assert lines[3] == "spoken        (cancelled: t failed)"
    assert lines[6].endswith("process-0, attempt 4")
    assert lines[9].endswith("did not run")


def test_text_from_outside_cannot_reach_the_terminal_as_a_command():
    hostile = "\x1b]0;owned\x07[bold]\u202e"
    lines = summary_lines(
        results(
            transcription=ended({**HEARD, "transcription": hostile, "provider": hostile}),
            emotion=ended({**FELT, "primary_emotion": hostile}),
            reply=ended({**ANSWERED, "response": hostile, "model": hostile}),
        ),
        Path(hostile),
    )

    assert [line for line in lines if not line.isprintable()] == []


def test_silence_shows_the_reason_why_nothing_was_heard():
    silent = {**HEARD, "transcription": "", "reason": "no speech was found in the recording"}

    first = next(summary_lines(results(transcription=ended(silent)), None))

    assert first == "heard         (no speech was found in the recording)  [pocketsphinx, en-us]"


def test_without_a_synthesiser_the_summary_says_what_to_install():
    mute = {"audio_data": None, "reason": "no offline synthesiser is installed; as root: apt-get install flite"}

    lines = list(summary_lines(results(speech=ended(mute)), None))

    assert lines[3] == "spoken        (not spoken: no offline synthesiser is installed; as root: apt-get install flite)"


def test_the_json_summary_is_plain_json_without_the_sound():
    plain = json.loads(json.dumps(summary_json(results(), Path("out/answer.wav"))))

    assert {name: value for name, value in plain.items() if name != "stages"} == {
        "ok": True,
        "heard": "hello teddy",
        "felt": "happy",
        "answered": "Hello!",
        "spoken": "out/answer.wav",
        "total_s": 2.0,
    }
    assert list(plain["stages"]) == ["transcription", "emotion", "reply", "speech"]
    assert plain["stages"]["speech"]["result"]["audio_data"]["bytes"] == 4


def test_the_json_summary_of_a_failure_says_so():
    plain = summary_json(results(transcription=ended(status=TaskStatus.TIMEOUT, error="too slow")), None)

    assert (plain["ok"], plain["heard"], plain["spoken"]) == (False, None, None)
    assert plain["stages"]["transcription"]["error"] == "too slow"
