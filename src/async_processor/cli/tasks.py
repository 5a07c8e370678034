"""``async-processor tasks``: a look into a store, and changes to one whose owner is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from ..errors import AsyncProcessorError, ConfigurationError, StoreFormatError
from ..model import TaskPriority, preview
from ..storage.base import StoredTask
from ..storage.sqlite_repair import cancel_stored, retry_stored
from ..storage.sqlite_view import StoreCounts, StoreView, TaskLine
from ..storage.task_codec import decode_result, decode_task
from .exit_code import ExitCode
from .output import complain, print_line
from .printable import printable
from .store_option import file_of

_NOTE_CHARS = 60
_STATUSES = ("pending", "running", "completed", "failed", "cancelled", "timeout")


def list_tasks(store: str, *, status: str | None, task_type: str | None, limit: int, as_json: bool) -> ExitCode:
    """One line for each of the newest tasks."""

    def show() -> None:
        if status is not None and status not in _STATUSES:
            raise ConfigurationError(f"--status must be one of {', '.join(_STATUSES)}, not {status!r}")
        found = StoreView(file_of(store)).tasks(status=status, task_type=task_type, limit=limit)
        _print([_line_dict(line) for line in found], lambda: _table(found), as_json=as_json)

    return _carried_out("list", show)


def show_task(store: str, task_id: str, *, as_json: bool) -> ExitCode:
    """Everything about one task; payload and result cut short."""

    def show() -> None:
        stored = StoreView(file_of(store)).task(task_id)
        if stored is None:
            raise AsyncProcessorError(f"no task {task_id!r} is in the store {file_of(store)}")
        facts = _facts(stored)
        _print(facts, lambda: (f"{name:<16}{printable(_text(fact))}" for name, fact in facts.items()), as_json=as_json)

    return _carried_out("show", show)


def show_counts(store: str, *, as_json: bool) -> ExitCode:
    """How many tasks there are of what."""

    def show() -> None:
        counts = StoreView(file_of(store)).counts()
        _print(_counts_dict(counts), lambda: _counts_table(counts), as_json=as_json)

    return _carried_out("stats", show)


def cancel(store: str, task_id: str) -> ExitCode:
    """End a task of a store that nobody owns."""

    def do() -> None:
        cancel_stored(file_of(store), task_id, datetime.now(UTC))
        print_line(f"cancelled {printable(task_id)}; what depends on it is cancelled at the next start")

    return _carried_out("cancel", do)


def retry(store: str, task_id: str) -> ExitCode:
    """Have a task of a store that nobody owns done again."""

    def do() -> None:
        retry_stored(file_of(store), task_id)
        print_line(f"{printable(task_id)} waits again, for the next start")

    return _carried_out("retry", do)


def _carried_out(command: str, do: Callable[[], None]) -> ExitCode:
    try:
        do()
    except ConfigurationError as error:
        complain(f"tasks {command}", error)
        return ExitCode.USAGE
    except AsyncProcessorError as error:
        complain(f"tasks {command}", error)
        return ExitCode.FAILED
    return ExitCode.OK


def _print(shown: Any, lines: Callable[[], Iterable[str]], *, as_json: bool) -> None:
    for line in [json.dumps(shown)] if as_json else lines():
        print_line(line)


# ---- lists


def _table(lines: Iterable[TaskLine]) -> list[str]:
    rows = [("STATUS", "ID", "TYPE", "PRIORITY", "ATTEMPTS", "SUBMITTED", "NOTE")]
    rows += [
        (
            line.status, printable(line.id, 40), printable(line.task_type, 30), _priority(line.priority),
            str(line.attempt), _time(line.submitted_at) or "", _note(line),
        )
        for line in lines
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _note(line: TaskLine) -> str:
    if line.error is not None:
        return printable(line.error, _NOTE_CHARS)
    if line.progress is None:
        return ""
    return printable(f"{100 * line.progress:.0f} % {line.progress_message or ''}", _NOTE_CHARS)


def _line_dict(line: TaskLine) -> dict[str, Any]:
    shown = line._asdict()
    del shown["row"]
    for name in ("submitted_at", "started_at", "due", "finished_at"):
        shown[name] = _time(shown[name])
    return shown | {
        "priority": _priority(line.priority),
        "error": _cut(line.error),
        "progress": _cut(line.progress),
        "progress_message": _cut(line.progress_message),
    }


# ---- one task


def _facts(stored: StoredTask) -> dict[str, Any]:
    task = stored.task
    facts: dict[str, Any] = {
        "id": task.id,
        "type": task.task_type,
        "status": stored.status.value,
        "priority": _priority(task.priority),
        "attempts": stored.attempt,
        "crashes": stored.crashes,
        "depends_on": list(task.depends_on),
        "idempotency_key": task.idempotency_key,
        "submitted_at": _time(task.submitted_at),
        "started_at": _time(stored.started_at),
        "due": _time(stored.due),
        "finished_at": _time(stored.finished_at),
        "progress": _cut(stored.progress),
        "progress_message": _cut(stored.progress_message),
        "error": _cut(stored.error),
    }
    return facts | _contents(stored)


def _contents(stored: StoredTask) -> dict[str, Any]:
    try:
        restored = decode_task(stored.task)
        shown = {"payload": preview(restored.task.payload), "not_stored": list(restored.missing)}
        if stored.status.is_terminal:
            result = decode_result(stored)
            shown |= {"result": preview(result.result), "traceback": _cut(result.traceback)}
    except StoreFormatError as error:
        return {"unreadable": str(error)}
    return shown


# ---- counts


def _counts_dict(counts: StoreCounts) -> dict[str, Any]:
    return {
        "total": {status: counts.of_status(status) for status in _STATUSES},
        "types": counts.by_type,
        "oldest_unfinished": _time(counts.oldest_unfinished),
        "quarantined": counts.quarantined,
    }


def _counts_table(counts: StoreCounts) -> list[str]:
    lines = [f"{'TYPE':<30}" + "".join(f"{status.upper():>11}" for status in _STATUSES)]
    for task_type, by_status in [
        *counts.by_type.items(),
        ("all", {item: counts.of_status(item) for item in _STATUSES}),
    ]:
        lines.append(
            f"{printable(task_type, 28):<30}" + "".join(f"{by_status.get(status, 0):>11}" for status in _STATUSES)
        )
    lines.append(f"oldest unfinished: {_time(counts.oldest_unfinished) or 'none'}")
    if counts.quarantined:
        lines.append(f"rows that cannot be read: {counts.quarantined}")
    return lines


def _priority(number: int) -> str:
    return TaskPriority(number).name if number in TaskPriority.__members__.values() else str(number)


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OSError, OverflowError, ValueError):
        # No moment at all: the file is damaged, or a stranger's.
        return str(seconds)


def _cut(value: float | str | None) -> Any:
    return preview(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
