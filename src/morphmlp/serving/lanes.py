"""Decoding processes that may die: each file has one to itself, and its end costs that file at most.

A lane is a pool of pebble with a single process. Whatever ends a process abnormally (a crash, a signal, the time limit,
a client that has gone) ends its pool, and a new one takes its place: a process that dies may leave half a message in
the pool's pipes, or hold its locks.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from morphmlp.errors import UserError
from morphmlp.serving import decoding
from morphmlp.serving.limits import Refusal
from morphmlp.system import cause_of_death, fresh_processes

Result = TypeVar("Result")

MOST_TRIES = 2  # of a task whose process dies: the first may have died of something else, such as lack of memory
_START_S = 120.0  # for a process to start and load what it needs


class ProcessEnded(Refusal):
    """The process died, each time that it was tried."""


class Lane:
    """One decoding process, and after its end the next one; for one file at a time.

    Attributes:
        num_restarts: how often a process was replaced.
    """

    def __init__(self, how: decoding.HowToRead):
        self._how = how
        self._context = fresh_processes(preload=decoding.__name__)
        self._pool = self._new_pool()
        self._replacing = threading.Lock()
        self.num_restarts = 0

    async def run(self, function: Callable[..., Result], *arguments: Any, tries: int = MOST_TRIES) -> Result:
        """What a function of `decoding` gives, run in the process.

        Raises:
            Refusal: it took too long, or its process died each time.
        """
        return await self._run(function, arguments, tries=tries, timeout_s=self._how.limits.decode_s)

    async def start(self) -> None:
        """Starts the process, and waits until it is ready.

        Raises:
            UserError: it cannot be started.
        """
        try:
            await self._run(decoding.ready, (), tries=MOST_TRIES, timeout_s=_START_S)
        except Refusal as refusal:
            raise UserError(f"a decoding process cannot be started: it {refusal.reason}") from None

    def stop(self) -> None:
        """Ends the process; whatever it does is lost."""
        self._replace()

    async def _run(
        self, function: Callable[..., Result], arguments: Iterable[Any], *, tries: int, timeout_s: float
    ) -> Result:
        cause = ""
        for _ in range(tries):
            try:
                return await self._result(function, arguments, timeout_s)
            except TimeoutError:
                self._renew()
                raise Refusal(422, f"was not decoded within {timeout_s:g} s") from None
            except ProcessExpired as death:
                self._renew()
                cause = cause_of_death(death.exitcode)
            except BrokenProcessPool:  # it died before it had the task
                self._renew()
                cause = "it ended by itself"
            except asyncio.CancelledError:  # nobody waits for it any more
                self._renew()
                raise
        # No file makes its decoder send itself this signal: somebody else did, such as a system that lacks memory.
        status = 503 if cause == "SIGKILL" else 422
        raise ProcessEnded(status, f"ended the decoding process ({cause})")

    async def _result(self, function: Callable[..., Result], arguments: Iterable[Any], timeout_s: float) -> Result:
        scheduling = asyncio.ensure_future(asyncio.to_thread(self._schedule, function, arguments, timeout_s))
        try:
            future: Future[Result] = await asyncio.shield(scheduling)
        except (
            asyncio.CancelledError
        ):  # the thread goes on: else it could give the task to the process of the next file
            await asyncio.wait([scheduling])
            raise
        return await asyncio.wrap_future(future)

    def _schedule(self, function: Callable[..., Result], arguments: Iterable[Any], timeout_s: float) -> Any:
        """Starts the process where there is none, which waits for it."""
        if not self._pool.active:  # it died while it had nothing to do
            self._renew()
        return self._pool.schedule(function, args=list(arguments), timeout=timeout_s)

    def _renew(self) -> None:
        self.num_restarts += 1
        self._replace()

    def _replace(self) -> None:
        """Ends the pool, and has one without a process in its place, which starts with the next task.

        The loop and the thread of `_schedule` may both find that it has ended. A pool that is ended twice closes its
        pipes twice, and the second time they may be somebody else's files.
        """
        with self._replacing:
            ended, self._pool = self._pool, self._new_pool()
        _end(ended)

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(max_workers=1, initializer=decoding.prepare, initargs=[self._how], context=self._context)


def _end(pool: ProcessPool) -> None:
    """Ends a pool in a thread beside: it may wait for the rest of a message that never comes."""
    pool.stop()
    threading.Thread(target=pool.join, name="end of a decoding process", daemon=True).start()


class Lanes:
    """The lanes of a server, and who waits for one."""

    def __init__(self, how: decoding.HowToRead, count: int):
        self._all = [Lane(how) for _ in range(count)]
        self._free: asyncio.LifoQueue[Lane] = asyncio.LifoQueue()
        self.num_busy = 0

    async def start(self) -> None:
        """Starts all processes.

        Raises:
            UserError: they cannot be started.
        """
        await asyncio.gather(*(lane.start() for lane in self._all))
        for lane in self._all:
            self._free.put_nowait(lane)

    def stop(self) -> None:
        for lane in self._all:
            lane.stop()

    @property
    def num_restarts(self) -> int:
        return sum(lane.num_restarts for lane in self._all)

    @asynccontextmanager
    async def free(self) -> AsyncIterator[Lane]:
        """A lane of one's own; waits until there is one."""
        lane = await self._free.get()
        self.num_busy += 1
        try:
            yield lane
        finally:
            self.num_busy -= 1
            self._free.put_nowait(lane)
