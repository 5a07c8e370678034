"""The processor itself: the face that callers see. No policy: the scheduler decides, the engine carries out."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from .clock import Clock, SystemClock
from .config import ProcessorConfig
from .context import current_task_id
from .errors import ConfigurationError, ProcessorNotRunningError, UnknownTaskError, WrongThreadError
from .execution.base import Lane
from .figures import EngineState
from .model import LaneName, ProcessingTask, ProcessingType, TaskResult, TaskStatus, parse_task_type
from .monitoring.collector import QuietCollector
from .monitoring.events import DEFAULT_MAX_PENDING, Event, EventStream, subscribed
from .monitoring.health import HealthReport, health_report, liveness_report, readiness_report
from .monitoring.hub import ObserverHub
from .monitoring.learned_memory import LearnedMemory
from .monitoring.loop_watch import LoopWatch
from .monitoring.memory import MemoryReader
from .monitoring.observer import Observer
from .monitoring.performance import PerformanceMonitor
from .processors.registry import ProcessorFunction, inspect_function
from .runtime.lanes import LaneSizes, make_lanes, traits_of
from .runtime.memory_gate import MemoryGate
from .runtime.stores import MEMORY, Durability, check_store, open_store
from .scheduling.admission import Fairness
from .scheduling.retry import RetryPolicy
from .storage.base import Store
from .task_manager import TaskManager

if TYPE_CHECKING:
    from .runtime.engine import Engine

_F = TypeVar("_F", bound=ProcessorFunction)
LaneFactory = Callable[[LaneSizes, ProcessorConfig, Clock], Mapping[LaneName, Lane]]


class AdvancedAsyncProcessor:
    """Runs tasks inside the application's own asyncio process.

    Use it with ``async with``, or call ``start`` and ``shutdown``. All methods belong to the event loop on which it
    was started.

    Args:
        max_workers: slots on the event loop.
        max_thread_workers: threads.
        max_process_workers: worker processes.
        queue_size: how many tasks may wait; beyond it ``submit_task`` waits.
        enable_monitoring: count, measure, and watch the event loop.
        enable_profiling: also measure processor time and memory of every attempt, and profile them.
        store: where tasks are kept: ``"memory:"`` (and lost with the process), ``"sqlite:///FILE"``, or a ``Store``.
        durability: with a file: ``"power"`` keeps what was accepted through a power cut too, ``"process"`` only through
            the death of the process, and is faster.
        config: everything else; by default from the environment (``ASYNC_PROCESSOR_...``).
        clock: the time; for tests.
        lanes: makes the lanes; for tests.
        rng: the dice of the backoff; for tests.

    Attributes:
        loop: the event loop it belongs to; None before the first start.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    def __init__(
        self,
        max_workers: int = 10,
        max_thread_workers: int = 5,
        max_process_workers: int = 2,
        queue_size: int = 1_000,
        enable_monitoring: bool = True,
        enable_profiling: bool = False,
        *,
        store: Store | str = MEMORY,
        durability: Durability = "power",
        config: ProcessorConfig | None = None,
        clock: Clock | None = None,
        lanes: LaneFactory = make_lanes,
        rng: random.Random | None = None,
    ) -> None:
        self.config = ProcessorConfig.from_env() if config is None else config
        self._sizes = LaneSizes(max_workers, max_thread_workers, max_process_workers)
        if type(queue_size) is not int or queue_size < 1:
            raise ConfigurationError(f"queue_size must be a whole number of 1 or more, not {queue_size!r}")
        self._queue_size = queue_size
        check_store(store, durability)
        self._store, self._durability = store, durability
        self._monitoring = enable_monitoring
        self._profiling = enable_profiling
        self._clock: Clock = SystemClock() if clock is None else clock
        self._make_lanes = lanes
        self._rng = random.Random() if rng is None else rng  # noqa: S311 - jitter, no secret
        # A quarter of what there is to import: only for those who make a processor.
        from .processors.builtin import builtin_registry

        self._registry = builtin_registry(self.config)
        self._learned = LearnedMemory()
        self.monitor = PerformanceMonitor(self._clock, profiling=enable_profiling, slowest=self.config.profile_slowest)
        self._hub = ObserverHub(self.monitor) if enable_monitoring else ObserverHub()
        if self.config.garbage_collection == "when_quiet":
            self._hub.add(QuietCollector())
        self._watch = LoopWatch(self.config.loop_stall_s)
        self._engine: Engine | None = None
        self._thread = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Task[None] | None = None
        self._start_lock = asyncio.Lock()
        self.task_manager = TaskManager(lambda: None if self._engine is None else self._engine.scheduler)

    # ---- life

    async def start(self) -> None:
        """Begin to take tasks. Does nothing if it does already; after a shutdown it begins anew.

        With a store, the tasks in it that have not ended are taken up first. Without one it begins empty.

        Raises:
            LaneError: a lane cannot work on this machine.
            StoreError: the store cannot be used; ``StoreLockedError`` and ``StoreFormatError`` among them.
        """
        async with self._start_lock:
            if self._closing is not None:
                await asyncio.shield(self._closing)
            if self._engine is not None and self._closing is None:
                return
            engine = self._make_engine()
            self._thread, self.loop = threading.get_ident(), asyncio.get_running_loop()
            await engine.start()
            if self._monitoring:
                self._watch.start()
            # From here on functions of tasks that are taken up may use the processor.
            self._engine, self._closing = engine, None
            try:
                await engine.recover()
            except BaseException:
                self._closing = asyncio.create_task(self._close(engine, 0.0, None))
                await asyncio.shield(self._closing)
                raise

    async def shutdown(self, timeout: float = 30.0) -> None:
        """Stop taking tasks, let running ones end, then cancel them, then end them by force.

        Returns within ``timeout`` + 1 seconds, whatever the tasks do. Tasks that had not started, and those that did
        not end in time, end CANCELLED with an error that says so; whoever waits for one is released. May be called
        again, at the same time, and from within a task (which is then cancelled).

        Args:
            timeout: seconds that running tasks are given.
        """
        if not 0 <= timeout < float("inf"):
            raise ConfigurationError(f"shutdown timeout must be a finite number of 0 or more, not {timeout!r}")
        if self._start_lock.locked():
            # A start is under way: wait for it, or it would begin to run what is being ended.
            async with self._start_lock:
                pass
        if self._engine is None:
            return
        if self._closing is None:
            closing = self._close(self._engine, timeout, current_task_id.get())
            self._closing = asyncio.create_task(closing, name="async-processor-shutdown")
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shutdown()

    @property
    def is_running(self) -> bool:
        """Whether it takes tasks."""
        return self._engine is not None and self._closing is None

    @property
    def _running(self) -> bool:
        # The guide's examples look here.
        return self.is_running

    # ---- tasks

    async def submit_task(self, task: ProcessingTask) -> str:
        """Hand a task in; waits while ``queue_size`` tasks wait.

        Returns:
            The task's id, once the task is accepted, and kept if there is a store. If a task of the same
            ``idempotency_key`` is remembered: that one's id, and nothing else happens.

        Raises:
            InvalidTaskError: a field cannot be used; ``DuplicateTaskError`` and ``CyclicDependencyError`` among them.
            InvalidPayloadError: the payload is not one that the built-in function of the task's type can use.
            ProcessorNotAvailableError: no function is registered under the task's own type name.
            ProcessorNotRunningError: not started, or shut down.
            UnserializableError: the store cannot keep its payload.
            StoreError: the store cannot be written; the task left no trace.
        """
        return await self._current().reception.submit(task)

    def submit_task_nowait(self, task: ProcessingTask) -> str:
        """As ``submit_task``, but never waits: not for room, and not until the store has the task.

        A task that cannot be stored after all ends, without having begun, and is not known from then on.

        Raises:
            QueueFullError: ``queue_size`` tasks wait already; and whatever ``submit_task`` raises.
        """
        return self._current().reception.submit_nowait(task)

    async def cancel_task(self, task_id: str) -> list[str]:
        """Cancel a task and all that wait for it; returns when its attempt, if one ran, has ended or was given up.

        Returns:
            The ids that this call cancelled, first the one asked for. Empty, and so false, if the task is unknown,
            has ended, or is being cancelled already.
        """
        engine = self._started()
        if engine is None:
            return []
        cancelled = engine.cancel(task_id)
        await engine.until_cascaded()
        if cancelled and current_task_id.get() != task_id and engine.scheduler.find(task_id) is not None:
            await self.wait_for_task(task_id)
        return cancelled

    async def wait_for_task(self, task_id: str, timeout: float | None = None) -> TaskResult:
        """The result of a task, once it has ended for good.

        Args:
            timeout: seconds to wait; the task itself goes on afterwards.

        Raises:
            UnknownTaskError: no such task was submitted, or its result is no longer kept.
            TimeoutError: it has not ended in time.
        """
        engine = self._started()
        if engine is None:
            raise UnknownTaskError(f"no task {task_id!r} is known: the processor was not started", task_id=task_id)
        waiter = engine.waiter(task_id)
        if waiter is None:
            return await self._stored_result(engine, task_id)
        job, future = waiter
        try:
            if timeout is None:
                return await future
            async with asyncio.timeout(timeout):
                return await future
        finally:
            job.forget_waiter(future)

    @staticmethod
    async def _stored_result(engine: Engine, task_id: str) -> TaskResult:
        result = await engine.stored_result(task_id)
        if result is None:
            raise UnknownTaskError(
                f"no task {task_id!r} is known: it was never submitted here, or ended so long ago that its result "
                "is no longer kept (max_results, result_ttl_s)",
                task_id=task_id,
            )
        return result

    async def wait_until_idle(self, timeout: float | None = None) -> None:
        """Return once no task waits or runs.

        Raises:
            TimeoutError: some still do after ``timeout`` seconds.
        """
        if self._engine is not None:
            async with asyncio.timeout(timeout):
                await self._engine.until_idle()

    async def get_task_status(self, task_id: str) -> TaskStatus | None:
        """Where a task stands; None if no such task is known."""
        engine = self._started()
        return None if engine is None else await engine.status(task_id)

    async def get_task_result(self, task_id: str) -> TaskResult | None:
        """The result of a task; None if it has not ended, or no such task is known."""
        engine = self._started()
        return None if engine is None else await engine.result(task_id)

    # ---- processor functions

    @overload
    def register_processor(self, task_type: ProcessingType | str, func: _F, **options: Any) -> _F: ...
    @overload
    def register_processor(self, task_type: ProcessingType | str, **options: Any) -> Callable[[_F], _F]: ...
    def register_processor(
        self, task_type: ProcessingType | str, func: _F | None = None, **options: Any
    ) -> _F | Callable[[_F], _F]:
        """Use a function for all tasks of a type that are submitted from now on. Also as a decorator.

        Args:
            task_type: a ``ProcessingType``, or a name of one's own.
            func: called as ``func(task)``, or ``func(task, context)`` if it takes a second parameter. Sync or async.
            options: ``cpu_intensive``, ``io_bound``, ``memory_intensive``: hints for all its tasks; ``lane``: the
                one lane (``"async"``, ``"thread"``, ``"process"``) it may run in, whatever the hints say.

        Raises:
            ConfigurationError: the function or an option cannot be used.
        """
        if func is None:
            return lambda decorated: self.register_processor(task_type, decorated, **options)
        self._registry.register(task_type, inspect_function(func, **_checked_options(options)))
        if self._engine is not None:
            self._engine.type_registered(task_type)
        return func

    async def warm_up(self, *task_types: ProcessingType | str) -> dict[str, float]:
        """Do an example of each type in every free worker process: what it loads is there for the first real task.

        The examples are tasks like any other, of priority HIGH, and count in the figures.

        Args:
            task_types: which; all that run in worker processes and have what they need, if none is named.

        Returns:
            For each type the seconds that its slowest example ran.

        Raises:
            ConfigurationError: a type has no example.
            InvalidPayloadError: the settings allow less than an example asks for.
            TaskFailedError: an example failed.
        """
        from .runtime.warming import types_to_warm, warm_type

        async def do(task: ProcessingTask) -> TaskResult:
            return await self.wait_for_task(await self.submit_task(task))

        workers = len(self._current().lanes[LaneName.PROCESS].slots)
        wanted = [str(parse_task_type(item)) for item in task_types] or await types_to_warm(self._registry)
        return {item: await warm_type(do, item, self._registry.get(item), workers) for item in wanted}

    # ---- figures

    async def get_performance_metrics(self) -> dict[str, Any]:
        """Figures of this moment, in JSON types; the keys are listed on the documentation page of monitoring."""
        return self.monitor.snapshot(self._state(), self._watch)

    async def health(self) -> HealthReport:
        """Whether it works, and if not, why."""
        return health_report(self._state(), self._watch)

    async def liveness(self) -> HealthReport:
        """Whether the process should go on, or be started anew: for a probe that restarts what fails."""
        return liveness_report(self._state())

    async def readiness(self) -> HealthReport:
        """Whether work should be sent here: for a probe by which work is handed out. "fail" is no."""
        return readiness_report(self._state())

    def add_observer(self, observer: Observer) -> None:
        """Have an observer told of everything that happens from now on."""
        self._hub.add(observer)

    def remove_observer(self, observer: Observer) -> bool:
        """Tell an observer nothing more; whether it was told before."""
        return self._hub.remove(observer)

    def subscribe(
        self, max_pending: int = DEFAULT_MAX_PENDING, kinds: Collection[type[Event]] | None = None
    ) -> AbstractAsyncContextManager[EventStream]:
        """Read events one by one: ``async with processor.subscribe() as events``, then ``async for event in events``.

        Whoever falls behind is dropped, and felt by nobody else. A shutdown ends the iteration.

        Args:
            max_pending: how many events may wait to be read; beyond it the iteration, after those, raises
                ``SubscriberTooSlowError``. More than ``queue_size``, because a program may submit that many at once.
            kinds: the classes of the events wanted, from ``async_processor.monitoring.observer``; all if None.

        Raises:
            ConfigurationError: an argument cannot be used.
        """
        return subscribed(EventStream(max_pending, kinds), self._hub)

    def __repr__(self) -> str:
        state = self._state()
        return (
            f"<AdvancedAsyncProcessor {'running' if self.is_running else 'not running'}: "
            f"{state.queue_size} waiting, {state.running_tasks} running, {len(state.slots)} slots>"
        )

    # ---- inner

    def _current(self) -> Engine:
        engine = self._started()
        if engine is None:
            raise ProcessorNotRunningError("the processor was not started: call `await processor.start()` first")
        return engine

    def _started(self) -> Engine | None:
        """The engine, for whoever is on its event loop; None before the first start."""
        if self._engine is not None and threading.get_ident() != self._thread:
            raise WrongThreadError(
                "this processor belongs to the event loop of another thread; call it from there, or from here with "
                "asyncio.run_coroutine_threadsafe(processor.submit_task(task), loop)"
            )
        return self._engine

    def _state(self) -> EngineState:
        if self._engine is None:
            return EngineState(running=False, at=self._clock.monotonic())
        return self._engine.state()

    def _make_engine(self) -> Engine:
        # As above: half of what is left to import.
        from .runtime.engine import Engine
        from .scheduling.scheduler import Scheduler

        config, clock = self.config, self._clock
        lanes = self._make_lanes(self._sizes, config, clock)
        store = open_store(self._store, self._durability, config, clock)
        gate = MemoryGate(config.memory_fraction, MemoryReader(), clock)
        scheduler = Scheduler(
            traits_of(lanes, journaled=store is not None),
            queue_size=self._queue_size,
            fairness=Fairness(reserved_slots=config.reserved_slots, max_wait=config.max_wait_s),
            retry=RetryPolicy(base=config.retry_base_s, maximum=config.retry_max_s),
            memory_limit_mb=gate.limit_mb,
            max_results=config.max_results,
            result_ttl=config.result_ttl_s,
            rng=self._rng,
        )
        return Engine(
            scheduler=scheduler,
            lanes=lanes,
            registry=self._registry,
            config=config,
            clock=clock,
            hub=self._hub,
            gate=gate,
            learned=self._learned,
            profile=self._profiling,
            store=store,
        )

    async def _close(self, engine: Engine, timeout: float, own: str | None) -> None:
        from .runtime.shutdown import shut_down

        try:
            await shut_down(engine, self._registry, self._clock, timeout, own)
        finally:
            self._watch.stop()


def _checked_options(options: dict[str, Any]) -> dict[str, Any]:
    known = {"cpu_intensive", "io_bound", "memory_intensive", "lane"}
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ConfigurationError(
            f"register_processor has no option {unknown[0]!r}; it takes {', '.join(sorted(known))}"
        )
    if options.get("lane") is not None:
        try:
            return {**options, "lane": LaneName(options["lane"])}
        except ValueError:
            lanes = ", ".join(item.value for item in LaneName)
            raise ConfigurationError(f"lane must be one of {lanes}, not {options['lane']!r}") from None
    return options


async def create_processor(
    max_workers: int = 10,
    max_thread_workers: int = 5,
    max_process_workers: int = 2,
    queue_size: int = 1_000,
    enable_monitoring: bool = True,
    enable_profiling: bool = False,
    **options: Any,
) -> AdvancedAsyncProcessor:
    """Make a processor and start it. Takes the arguments of ``AdvancedAsyncProcessor``."""
    processor = AdvancedAsyncProcessor(
        max_workers, max_thread_workers, max_process_workers, queue_size, enable_monitoring, enable_profiling, **options
    )
    await processor.start()
    return processor
