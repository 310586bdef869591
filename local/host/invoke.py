"""Runs one invocation of one function: pool or loop, time limit, context, log line, count.

In: a `FunctionSpec` and its decoded arguments. Out: what the function returned, or `InvocationError`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import azure.functions as func

from local.host.loader import FunctionSpec

log = logging.getLogger("local.host.invoke")
ORCHESTRATOR_THREADS = 2


class InvocationError(Exception):
    """A function raised, or took too long; `__cause__` has the function's own exception.

    Attributes:
        invocation_id: what the log line carries.
        timed_out: the time limit ended it.
    """

    def __init__(self, message: str, invocation_id: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.invocation_id = invocation_id
        self.timed_out = timed_out


class _Trace:
    def __init__(self, trace_parent: str, trace_state: str) -> None:
        self.trace_parent = trace_parent
        self.trace_state = trace_state
        self.attributes: dict[str, str] = {}


class InvocationContext(func.Context):
    """What a function gets as `context`."""

    def __init__(
        self, spec: FunctionSpec, invocation_id: str, trace: tuple[str, str], storage: threading.local
    ) -> None:
        self._spec = spec
        self._invocation_id = invocation_id
        self._trace = _Trace(*trace)
        self._storage = storage

    @property
    def invocation_id(self) -> str:
        """Unique for this run."""
        return self._invocation_id

    @property
    def thread_local_storage(self) -> Any:
        """Holds `invocation_id` in the thread that runs a synchronous function."""
        return self._storage

    @property
    def function_name(self) -> str:
        """Name of the function."""
        return self._spec.name

    @property
    def function_directory(self) -> str:
        """Folder of the app."""
        return str(self._spec.directory)

    @property
    def trace_context(self) -> Any:
        """W3C trace context of what triggered the run; empty text when there was none."""
        return self._trace

    @property
    def retry_context(self) -> Any:
        """Retry policies do not apply to the triggers this host runs."""
        return None


async def _awaited(spec: FunctionSpec, arguments: Mapping[str, object]) -> Any:
    try:
        return await spec.call(**arguments)
    except SystemExit as exc:  # would end the host's loop
        raise RuntimeError("the function raised SystemExit") from exc


class Invoker:
    """Runs functions and knows how many are running.

    A synchronous function that overruns its limit cannot be stopped: its caller is told at once, its thread is
    counted in `overrun`, and a fresh pool replaces one whose threads are all lost that way.

    Args:
        threads: synchronous functions at once.
        timeout_s: limit of one invocation, seconds; infinite for none.
        durable_client: JSON text for Durable client bindings.
    """

    def __init__(self, threads: int, timeout_s: float, durable_client: str) -> None:
        self._threads = threads
        self._timeout_s = timeout_s
        self._durable_client = durable_client
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")
        self._orchestrators = ThreadPoolExecutor(ORCHESTRATOR_THREADS, thread_name_prefix="orchestrator")
        self._lost_in_pool = 0
        self._storage = threading.local()
        self.running = 0
        self.overrun = 0

    async def invoke(
        self,
        spec: FunctionSpec,
        data: object,
        *,
        invocation_id: str | None = None,
        trace: tuple[str, str] = ("", ""),
        orchestrator: bool = False,
    ) -> Any:
        """Runs the function once.

        Args:
            spec: the function.
            data: its trigger's value, already decoded by the library's converter.
            invocation_id: given by callers that must tell it themselves.
            trace: traceparent and tracestate of the trigger.
            orchestrator: runs on threads of its own, so that slow activities never hold up replay.

        Raises:
            InvocationError: it raised or took too long. The traceback is in the log only.
        """
        invocation_id = invocation_id or str(uuid.uuid4())
        arguments: dict[str, object] = {spec.parameter: data}
        arguments.update(dict.fromkeys(spec.clients, self._durable_client))
        if spec.wants_context:
            arguments["context"] = InvocationContext(spec, invocation_id, trace, self._storage)
        started = time.monotonic()
        self.running += 1
        try:
            result = await self._run(spec, arguments, invocation_id, orchestrator)
        except TimeoutError as exc:
            if time.monotonic() - started < self._timeout_s:  # the function's own TimeoutError
                self._failed(spec, invocation_id, exc)
                raise InvocationError(f"{type(exc).__name__}: {exc}", invocation_id) from exc
            log.warning("function %s %s exceeded %.0f s", spec.name, invocation_id, self._timeout_s)
            message = f"function {spec.name} exceeded its time limit of {self._timeout_s:g} s"
            raise InvocationError(message, invocation_id, timed_out=True) from exc
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._failed(spec, invocation_id, exc)  # the function's own, which must not end who called it
            raise InvocationError("the function was cancelled", invocation_id) from exc
        except Exception as exc:
            if not orchestrator:  # a failed orchestration is reported by the Durable runner, in words
                self._failed(spec, invocation_id, exc)
            raise InvocationError(f"{type(exc).__name__}: {exc}", invocation_id) from exc
        finally:
            self.running -= 1
        log.debug("function %s %s ok in %.1f ms", spec.name, invocation_id, (time.monotonic() - started) * 1000)
        return result

    def _failed(self, spec: FunctionSpec, invocation_id: str, exc: BaseException) -> None:
        log.warning("function %s %s failed: %s", spec.name, invocation_id, type(exc).__name__, exc_info=exc)

    async def _run(
        self, spec: FunctionSpec, arguments: Mapping[str, object], invocation_id: str, orchestrator: bool
    ) -> Any:
        limit = None if self._timeout_s == float("inf") else self._timeout_s
        if spec.is_async:
            async with asyncio.timeout(limit):  # not `wait_for`, which needs a task of its own on 3.11
                return await _awaited(spec, arguments)
        pool = self._orchestrators if orchestrator else self._pool
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def in_thread() -> Any:
            loop.call_soon_threadsafe(begun.set)
            self._storage.invocation_id = invocation_id
            try:
                return spec.call(**arguments)
            except (StopIteration, SystemExit) as exc:  # neither may travel through a future
                raise RuntimeError(f"the function raised {type(exc).__name__}") from exc

        future: Future[Any] = pool.submit(in_thread)
        try:
            await begun.wait()  # waiting for a thread is not the function's own time
        except asyncio.CancelledError:
            future.cancel()
            raise
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), limit)
        except TimeoutError:
            if not future.done():
                self._lose_thread(future, pool, loop)
            raise

    def _lose_thread(self, future: Future[Any], pool: ThreadPoolExecutor, loop: asyncio.AbstractEventLoop) -> None:
        self.overrun += 1
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._found_thread, pool))
        if pool is self._pool:
            self._lost_in_pool += 1
            if self._lost_in_pool >= self._threads:
                log.warning("all %d threads are held by functions past their time limit: new pool", self._threads)
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="function")
                self._lost_in_pool = 0

    def _found_thread(self, pool: ThreadPoolExecutor) -> None:
        self.overrun -= 1
        if pool is self._pool:
            self._lost_in_pool -= 1

    async def drained(self, within_s: float) -> bool:
        """Waits until nothing runs; False when something still does after `within_s` seconds."""
        deadline = time.monotonic() + within_s
        while self.running and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return self.running == 0
