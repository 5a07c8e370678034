"""The scheduler's record of a task with what the engine keeps of it, and how a task becomes one."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from typing import Any

from ..config import ProcessorConfig
from ..errors import InvalidPayloadError, InvalidTaskError, PermanentError, ProcessorNotAvailableError
from ..model import LaneName, ProcessingTask, ProcessingType, TaskResult
from ..monitoring.learned_memory import LearnedMemory
from ..processors.registry import ProcessorRegistry, ProcessorSpec, failing
from ..scheduling.records import TaskRecord
from ..scheduling.routing import Hints, route
from .sizes import payload_size


class Job(TaskRecord):
    """A record with the running side of a task: its function, its context, who waits for it, its result.

    One object for both: there may be a million, and the garbage collector looks at each. The scheduler does not know of
    what is added here. Once the result is there, task, function and context are let go: results are kept for long,
    payloads are not.

    Attributes:
        task, task_type: as submitted; ``type_name`` is the type as plain text, which is what observers group by.
        spec: its function; None as long as none is registered for the type of a task from the store.
        variables: the submitter's context variables; None for none.
        entry: what the journal knows of the task; None without a journal.
        waiters: futures of those who wait for the result; None for nobody.
        result: how it ended; None before.
    """

    __slots__ = ("entry", "result", "spec", "task", "task_type", "type_name", "variables", "waiters")

    def carry(
        self,
        task_type: ProcessingType | str,
        task: ProcessingTask | None = None,
        spec: ProcessorSpec | None = None,
        variables: contextvars.Context | None = None,
        entry: Any = None,
    ) -> None:
        """Take on what is run. Once, before the scheduler has the record."""
        # No constructor of its own: to hand the record's many arguments on costs more than all that is done here.
        self.task = task
        self.task_type = task_type
        self.type_name = str(task_type)
        self.spec = spec
        self.variables = variables
        self.entry = entry
        self.waiters: list[asyncio.Future[TaskResult]] | None = None
        self.result: TaskResult | None = None

    def wait(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[TaskResult]:
        """A future of its own for whoever wants to wait for the result."""
        future: asyncio.Future[TaskResult] = loop.create_future()
        if self.result is not None:
            future.set_result(self.result)
        elif self.waiters is None:
            self.waiters = [future]
        else:
            self.waiters.append(future)
        return future

    def forget_waiter(self, future: asyncio.Future[TaskResult]) -> None:
        """Whoever waited has gone."""
        if self.waiters is not None and future in self.waiters:
            self.waiters.remove(future)

    def resolve(self, result: TaskResult) -> None:
        """The result is there: wake everybody, let everything else go."""
        self.result = result
        waiters, self.waiters = self.waiters, None
        self.task = self.spec = self.variables = None
        for future in waiters or ():
            if not future.done():
                future.set_result(result)


class JobFactory:
    """Turns a caller's task into a record for the scheduler.

    Args:
        registry: the processor functions.
        config: limits and defaults.
        learned: peak memory by task type, as seen so far.
    """

    def __init__(self, registry: ProcessorRegistry, config: ProcessorConfig, learned: LearnedMemory) -> None:
        self._registry = registry
        self._config = config
        self._learned = learned

    def make(self, task: ProcessingTask, entry: Callable[[ProcessingTask], Any] | None = None) -> Job:
        """Check a task and put everything together.

        Args:
            entry: makes the journal's entry of the task, if there is a journal.

        Raises:
            InvalidTaskError: a field cannot be used, or the payload is too large.
            InvalidPayloadError: the payload is not one of the task's type.
            ProcessorNotAvailableError: nothing is registered under the task's own type name.
            UnserializableError: the journal cannot keep it.
        """
        if not isinstance(task, ProcessingTask):
            raise InvalidTaskError(f"submit a ProcessingTask (create_task makes one), not {type(task).__name__}")
        # Fields may have been assigned since construction.
        task.validate()
        self._check_size(task)
        spec = self._registered(task)
        if spec.check is not None or spec.resolve is not None:
            spec = _judged(spec, task)
        # Most have none, and then need no context kept for them.
        variables = contextvars.copy_context() or None
        return self._record(task, spec, variables, None if entry is None else entry(task))

    def restore(self, task: ProcessingTask, entry: Any) -> Job:
        """The record of a task that was accepted in an earlier run; without ``spec`` if its type is not registered.

        It was accepted, so its payload is not judged anew: one that cannot be used fails when it runs.
        """
        registered = self._registry.get(task.task_type) is not None
        return self._record(task, self._spec_of(task) if registered else None, None, entry)

    def registered(self, job: Job) -> tuple[LaneName, float | None]:
        """The type of a restored task has a function now: lane, and memory to set aside."""
        assert job.task is not None, f"{job} has ended"  # noqa: S101 - the caller asks for those that wait
        job.spec = self._spec_of(job.task)
        return self._place(job.task, job.spec)

    def _record(
        self, task: ProcessingTask, spec: ProcessorSpec | None, variables: contextvars.Context | None, entry: Any
    ) -> Job:
        # Where a task runs whose function is not known yet is found out when it is; see ``registered``.
        lane, memory_mb = (LaneName.ASYNC, None) if spec is None else self._place(task, spec)
        job = Job(
            task.id,
            lane=lane,
            priority=task.priority,
            timeout=task.timeout,
            max_retries=task.max_retries,
            depends_on=tuple(dict.fromkeys(task.depends_on)) if task.depends_on else (),
            run_anyway=task.on_dependency_failure == "run",
            dependency_timeout=(
                self._config.dependency_timeout_s if task.dependency_timeout is None else task.dependency_timeout
            ),
            memory_mb=memory_mb,
        )
        job.carry(task.task_type, task, spec, variables, entry)
        return job

    def _place(self, task: ProcessingTask, spec: ProcessorSpec) -> tuple[LaneName, float | None]:
        memory_intensive = task.memory_intensive or spec.memory_intensive
        lane = _route(
            spec.is_async,
            task.cpu_intensive or spec.cpu_intensive,
            task.io_bound or spec.io_bound,
            memory_intensive,
            spec.lane,
        )
        return lane, self._memory_of(task) if memory_intensive else None

    def _registered(self, task: ProcessingTask) -> ProcessorSpec:
        spec = self._registry.get(task.task_type)
        if spec is None:
            problem = _not_available(task, self._registry)
            if not isinstance(task.task_type, ProcessingType):
                # A name of one's own that nobody registered is a slip of the programmer: say so at once.
                raise problem
            return failing(problem)
        return spec

    def _spec_of(self, task: ProcessingTask) -> ProcessorSpec:
        """How a task runs that was accepted already, whatever its payload."""
        spec = self._registered(task)
        if spec.resolve is None:
            return spec
        try:
            return spec.resolve(task.payload)
        except PermanentError as error:
            return failing(error)

    def _check_size(self, task: ProcessingTask) -> None:
        limit = self._config.max_payload_bytes
        if task.payload and payload_size(task.payload, limit) > limit:
            raise InvalidTaskError(
                f"the payload of task {task.id!r} is larger than max_payload_bytes ({limit:,} bytes); "
                "send less, or raise the limit in ProcessorConfig",
                field="payload",
                task_id=task.id,
            )

    def _memory_of(self, task: ProcessingTask) -> float:
        if task.memory_mb is not None:
            return float(task.memory_mb)
        learned = self._learned.expected_mb(task.task_type)
        return self._config.memory_default_mb if learned is None else learned


@functools.cache
def _route(
    is_async: bool, cpu_intensive: bool, io_bound: bool, memory_intensive: bool, pinned: LaneName | None
) -> LaneName:
    return route(Hints(is_async, cpu_intensive, io_bound, memory_intensive, pinned))


def _judged(spec: ProcessorSpec, task: ProcessingTask) -> ProcessorSpec:
    """How a task runs whose payload its type wants to see first.

    Raises:
        InvalidPayloadError: it is not one that the type can use.
    """
    try:
        if spec.check is not None:
            spec.check(task)
        return spec if spec.resolve is None else spec.resolve(task.payload)
    except InvalidPayloadError as error:
        message = f"task {task.id!r} is not accepted: {error}"
        raise InvalidPayloadError(message, field=error.field, task_id=task.id) from None
    except PermanentError as error:
        return failing(error)


def _not_available(task: ProcessingTask, registry: ProcessorRegistry) -> ProcessorNotAvailableError:
    known = ", ".join(sorted(map(str, registry.types()))) or "none"
    return ProcessorNotAvailableError(
        f"task {task.id!r}: no processor function is registered for {str(task.task_type)!r}; register one with "
        f"processor.register_processor({str(task.task_type)!r}, func). Registered: {known}",
        task_id=task.id,
    )
