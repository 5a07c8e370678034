"""Kills a program that works on a store, again and again, and looks whether anything was lost.

    python -m benchmarks.chaos [--kills 200] [--tasks 5000] [--durability power] [--seed 1] [--json FILE]

Each life is a process group of its own, with all three lanes, ended by SIGKILL at a random moment; the next one goes on
with the same file. When all tasks of a run have ended, the next run begins with a new file, until there were so many
kills. Of every run is asked: did everything that was accepted end, with the right result, and the one that had been
seen; was no task run more often than a kill accounts for, and each time under a higher number of attempt?
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import select
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from async_processor import (
    AdvancedAsyncProcessor,
    DuplicateTaskError,
    ProcessingTask,
    ProcessorConfig,
    TaskResult,
    TaskStatus,
    create_task,
)
from async_processor.execution import process_lane as _process_lane
from async_processor.runtime import engine as _engine
from async_processor.runtime import journal as _journal
from async_processor.storage import sqlite_store as _sqlite_store
from benchmarks.chaos_functions import answer, append, in_thread_or_process, on_loop

ASYNC_SLOTS, THREAD_SLOTS, PROCESS_SLOTS = 10, 4, 2
SLOTS = ASYNC_SLOTS + THREAD_SLOTS + PROCESS_SLOTS
SUBMITTERS = 50
# Imported at first use otherwise, in each life anew.
IMPORTED = (_engine, _journal, _process_lane, _sqlite_store)
SHORTEST_LIFE_S, LONGEST_LIFE_S = 0.05, 0.6
PATIENCE_S = 120.0


@dataclass
class Report:
    """What became of all runs together."""

    kills: int = 0
    runs: int = 0
    tasks: int = 0
    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    repeated_attempts: list[str] = field(default_factory=list)
    reruns: int = 0
    recovery_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def reruns_allowed(self) -> int:
        return self.kills * SLOTS

    @property
    def ok(self) -> bool:
        wrong = self.lost or self.changed or self.repeated_attempts
        return not wrong and self.reruns <= self.reruns_allowed

    def lines(self) -> Iterable[str]:
        yield f"kills        {self.kills} in {self.runs} runs of {self.tasks} tasks in all, {self.seconds:.0f} s"
        yield f"lost         {len(self.lost)} {self.lost[:5] or ''}"
        yield f"changed      {len(self.changed)} {self.changed[:5] or ''}"
        yield f"re-runs      {self.reruns}, of at most {self.reruns_allowed}"
        yield f"old numbers  {len(self.repeated_attempts)} {self.repeated_attempts[:5] or ''}"
        if self.recovery_ms:
            ordered = sorted(self.recovery_ms)
            yield f"recovery     p50 {statistics.median(ordered):.0f} ms, max {ordered[-1]:.0f} ms"


class Run:
    """One file, and the lives that are spent on it.

    Args:
        folder: where everything of this run goes.
        tasks: how many tasks there are to do.
        durability: of the store.
    """

    def __init__(self, folder: Path, tasks: int, durability: str) -> None:
        self.folder = folder
        self.tasks = tasks
        self.durability = durability
        self.ledger, self.accepted, self.seen, self.final, self.starts = (
            str(folder / name) for name in ("ledger", "accepted", "seen", "final", "starts")
        )

    # ---- the program that is killed

    def live(self) -> int:
        """Begin a life in a process group of its own; its process id.

        Forked from here, where everything is imported and nothing runs yet: an interpreter takes longer to start than
        most lives last.
        """
        process = os.fork()
        if process == 0:
            os.setsid()
            try:
                asyncio.run(self._work())
            except BaseException as error:  # noqa: BLE001 - whatever it is, this process must not go on as its parent
                print(f"a life ended with {error!r}", file=sys.stderr)
                os._exit(1)
            os._exit(0)
        return process

    async def _work(self) -> None:
        began = time.perf_counter()
        processor = self._processor()
        await processor.start()
        append(self.starts, f"{(time.perf_counter() - began) * 1000:.1f}")
        accepted = set(_lines(self.accepted))
        todo = iter([number for number in range(self.tasks) if _name(number) not in accepted])
        await asyncio.gather(*(self._submit(processor, todo) for _ in range(SUBMITTERS)))
        await processor.wait_until_idle()
        for number in range(self.tasks):
            result = await processor.wait_for_task(_name(number))
            append(self.final, f"{result.task_id} {result.status} {result.result} {result.attempts}")
        await processor.shutdown()

    def _processor(self) -> AdvancedAsyncProcessor:
        processor = AdvancedAsyncProcessor(
            ASYNC_SLOTS,
            THREAD_SLOTS,
            PROCESS_SLOTS,
            queue_size=self.tasks,
            store=f"sqlite:///{self.folder / 'tasks.db'}",
            durability=self.durability,  # type: ignore[arg-type]
            config=ProcessorConfig(max_results=2 * self.tasks, result_ttl_s=86_400.0),
        )
        processor.register_processor("on_loop", on_loop)
        processor.register_processor("in_thread", in_thread_or_process)
        processor.register_processor("in_process", in_thread_or_process, cpu_intensive=True)
        return processor

    async def _submit(self, processor: AdvancedAsyncProcessor, todo: Iterable[int]) -> None:
        for number in todo:
            task = self._task(number)
            # Some were kept in an earlier life, which could not say so any more.
            with contextlib.suppress(DuplicateTaskError):
                await processor.submit_task(task)
            append(self.accepted, task.id)
            result = await processor.wait_for_task(task.id)
            append(self.seen, f"{result.task_id} {_shown(result)}")

    def _task(self, number: int) -> ProcessingTask:
        kind = "in_process" if number % 25 == 24 else "in_thread" if number % 5 == 4 else "on_loop"
        payload = {"number": number, "seconds": (number % 4) / 1000, "ledger": self.ledger}
        after = [_name(number - 1)] if number % 7 == 6 else []
        # So many retries that nobody who merely ran when the process was killed is taken for the culprit.
        return create_task(kind, payload, id=_name(number), max_retries=1_000, depends_on=after)

    # ---- judging

    def judge(self, report: Report) -> None:
        """Add what became of this run."""
        final = {name: rest for name, *rest in map(str.split, _lines(self.final))}
        report.runs += 1
        report.tasks += self.tasks
        for name in _lines(self.accepted):
            status, value, _ = final.get(name, ("gone", "", ""))
            if status != TaskStatus.COMPLETED or value != str(answer(int(name[1:]))):
                report.lost.append(name)
        for line in _lines(self.seen):
            name, value = line.split()
            if name not in final or final[name][1] != value:
                report.changed.append(name)
        self._judge_attempts(report)
        report.recovery_ms += [float(line) for line in _lines(self.starts)]

    def _judge_attempts(self, report: Report) -> None:
        attempts: defaultdict[str, list[int]] = defaultdict(list)
        for line in _lines(self.ledger):
            name, attempt = line.split()
            attempts[name].append(int(attempt))
        report.reruns += sum(len(numbers) - 1 for numbers in attempts.values())
        report.repeated_attempts += [
            name for name, numbers in attempts.items() if Counter(numbers).most_common(1)[0][1] > 1
        ]


def chaos(kills: int, tasks: int, durability: str, seed: int, *, progress: bool = False) -> Report:
    """Kill so often; what became of it."""
    rng, report, began = random.Random(seed), Report(), time.monotonic()
    while report.kills < kills:
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            run = Run(Path(folder), tasks, durability)
            while not _one_life(run, rng, report, kills):
                if progress:
                    print(f"\r{report.kills}/{kills} kills", end="", file=sys.stderr, flush=True)
            run.judge(report)
    report.seconds = time.monotonic() - began
    return report


def _one_life(run: Run, rng: random.Random, report: Report, kills: int) -> bool:
    """Let it live for a while, or, after the last kill, to its end; whether it came to its end."""
    process = run.live()
    seconds = rng.uniform(SHORTEST_LIFE_S, LONGEST_LIFE_S) if report.kills < kills else PATIENCE_S
    status = _wait(process, seconds)
    if status is None:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        if report.kills == kills:
            sys.exit(f"the run did not end within {PATIENCE_S:.0f} s")
        report.kills += 1
        return False
    if status:
        sys.exit(f"a life failed, with status {status}")
    return True


def _wait(process: int, seconds: float) -> int | None:
    """The exit status of a process, or None if it still lives after so long."""
    handle = os.pidfd_open(process)
    try:
        ended, _, _ = select.select([handle], [], [], seconds)
    finally:
        os.close(handle)
    return os.waitpid(process, 0)[1] if ended else None


def _name(number: int) -> str:
    return f"t{number}"


def _shown(result: TaskResult) -> str:
    return str(result.result)


def _lines(path: str) -> list[str]:
    try:
        # The last line may have been cut by the kill only if nobody was told of it.
        return Path(path).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=5_000, help="of each run")
    parser.add_argument("--durability", choices=("power", "process"), default="power")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--json", metavar="FILE", help="where to write everything")
    options = parser.parse_args()
    report = chaos(options.kills, options.tasks, options.durability, options.seed, progress=True)
    print(file=sys.stderr)
    for line in report.lines():
        print(line)
    if options.json:
        Path(options.json).write_text(json.dumps(asdict(report), indent=2))
    sys.exit(0 if report.ok else 1)


if __name__ == "__main__":
    main()
