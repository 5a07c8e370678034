"""What ``talk`` prints at its end: for people, and for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..model import TaskResult
from .printable import printable
from .turn import TurnResults

_NAME_WIDTH = 14
_COLUMNS = "{:<14}{:>10}{:>10}   {}"


def summary_lines(results: TurnResults, answer: Path | None) -> Iterator[str]:
    """What was heard, felt, answered and spoken, then the time of each stage.

    Args:
        results: how the stages ended.
        answer: where the spoken answer was written; None if there is none.
    """
    yield _line("heard", results.transcription, _heard)
    yield _line("felt", results.emotion, _felt)
    yield _line("answered", results.reply, _answered)
    yield _line("spoken", results.speech, lambda value: _spoken(value, answer))
    yield ""
    yield _COLUMNS.format("stage", "wait", "run", "where")
    for name, result in results.stages():
        yield _COLUMNS.format(name, f"{result.wait_time:.3f} s", f"{result.execution_time:.3f} s", _where(result))
    yield _COLUMNS.format("all", "", f"{results.total_time:.3f} s", "from the first submit to the last end")


def summary_json(results: TurnResults, answer: Path | None) -> dict[str, Any]:
    """The same as plain data. ``stages`` holds each result in full but for the bytes of the spoken answer."""
    return {
        "ok": results.ok,
        "heard": _get(results.transcription, "transcription"),
        "felt": _get(results.emotion, "primary_emotion"),
        "answered": _get(results.reply, "response"),
        "spoken": None if answer is None else str(answer),
        "total_s": results.total_time,
        "stages": {name: result.to_dict() for name, result in results.stages()},
    }


def _get(result: TaskResult, key: str) -> Any:
    return result.result[key] if result.ok else None


def _line(name: str, result: TaskResult, show: Any) -> str:
    text = show(result.result) if result.ok else f"({result.status.value}: {printable(result.error)})"
    return f"{name:<{_NAME_WIDTH}}{text}"


def _heard(value: Mapping[str, Any]) -> str:
    return _said(value["transcription"], value["reason"]) + _by(value)


def _felt(value: Mapping[str, Any]) -> str:
    sure = "" if value["confidence"] is None else f", confidence {value['confidence']:.2f}"
    return f"{printable(value['primary_emotion'])}{sure}{_by(value)}"


def _answered(value: Mapping[str, Any]) -> str:
    return _said(value["response"], "no answer") + _by(value)


def _spoken(value: Mapping[str, Any], answer: Path | None) -> str:
    if value["audio_data"] is None:
        return f"(not spoken: {printable(value['reason'])})"
    if answer is None:
        return "(spoken, but it could not be written)"
    return f"{printable(answer)}, {value['duration']:.1f} s{_by(value)}"


def _said(text: str, otherwise: object) -> str:
    return f'"{printable(text)}"' if text else f"({printable(otherwise)})"


def _by(value: Mapping[str, Any]) -> str:
    names = [value.get(name) for name in ("provider", "model", "voice")]
    return f"  [{', '.join(printable(name) for name in names if name)}]"


def _where(result: TaskResult) -> str:
    if result.worker_id is None:
        return "did not run"
    return result.worker_id if result.attempts == 1 else f"{result.worker_id}, attempt {result.attempts}"
