"""Worker processes: one that crashes or hangs does no harm to the others.

The standard pool of processes breaks as a whole when one of them dies, and cannot end a single call. Here each worker
holds one file at a time, so it is known which one it died of.
"""

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from morphmlp.analysis.data_check.examine import Facts, Job
from morphmlp.data.batches.worker_signals import leave_signals_to_main_process
from morphmlp.errors import UserError
from morphmlp.system import cause_of_death, fresh_processes

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

MOST_FAILED_STARTS = 5  # of worker processes; more are no accident
MOST_TRIES = 2  # of a file whose worker dies: the first may have died of something else, such as lack of memory


def examine_all(
    jobs: Sequence[Job], look: Callable[[Job], Facts], *, workers: int, timeout_s: float
) -> Iterator[tuple[int, Facts]]:
    """Yields the number of a job and what `look` says of it, as they come, from `workers` processes.

    A file whose worker dies is tried once more and is then broken; one that takes longer than `timeout_s` is broken.
    Processes are started afresh, not forked: `look` has to be picklable, and a script that calls this importable.

    Raises:
        UserError: processes cannot be started.
    """
    context = fresh_processes(preload=__name__)
    todo = deque((number, 1) for number in range(len(jobs)))
    crew = [_Worker(context, look) for _ in range(min(workers, len(jobs)))]
    failed_starts = 0
    try:
        while todo or any(worker.task for worker in crew):
            for worker in crew:
                if worker.ready and todo:
                    worker.give(*todo.popleft(), jobs, timeout_s)
            ends = [worker.deadline for worker in crew if worker.task]
            remaining = max(min(ends) - time.monotonic(), 0) if ends else None
            speaking = wait([worker.connection for worker in crew if worker.task or not worker.ready], remaining)
            for position, worker in enumerate(crew):
                outcome = worker.outcome(heard=worker.connection in speaking, timeout_s=timeout_s)
                if worker.ended:
                    failed_starts += not worker.started
                    if failed_starts > MOST_FAILED_STARTS:
                        raise UserError(
                            f"processes cannot be started ({cause_of_death(worker.process.exitcode)}); if there is "
                            "too little memory, try fewer --workers"
                        )
                    crew[position] = _Worker(context, look)
                if outcome is None:
                    continue
                number, facts = outcome
                if facts is None:
                    todo.appendleft((number, MOST_TRIES))
                else:
                    yield number, facts
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """A process that looks at one file at a time; `task` is the number of the job and which try it is."""

    def __init__(self, context: "ForkServerContext | SpawnContext", look: Callable[[Job], Facts]):
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, look), daemon=True)
        self.process.start()
        theirs.close()  # else the end of the process would not be heard of
        self.started = self.ended = False
        self.task: tuple[int, int] | None = None
        self.deadline = 0.0

    @property
    def ready(self) -> bool:
        return self.started and self.task is None and not self.ended

    def give(self, number: int, attempt: int, jobs: Sequence[Job], timeout_s: float) -> None:
        self.task, self.deadline = (number, attempt), time.monotonic() + timeout_s
        try:
            self.connection.send(jobs[number])
        except OSError:
            return  # it has died in the meantime, which `outcome` hears

    def outcome(self, *, heard: bool, timeout_s: float) -> tuple[int, Facts | None] | None:
        """The number of a job that is done, with None for its facts where it is to be tried again; or nothing yet."""
        try:
            message = self.connection.recv() if heard else None
        except (EOFError, OSError):
            return self._outcome_of_death()
        if not self.started:
            self.started = heard
            return None
        if self.task is None or (message is None and time.monotonic() < self.deadline):
            return None
        number, _ = self.task
        self.task = None
        if message is None:
            self.end()
            return number, Facts(reason=f"no result within {timeout_s:g} s: decoding was stopped")
        return number, message

    def _outcome_of_death(self) -> tuple[int, Facts | None] | None:
        self.process.join(1)  # its end of the connection may close before it has died of its own cause
        self.end()
        if self.task is None:
            return None
        number, attempt = self.task
        self.task = None
        if attempt < MOST_TRIES:
            return number, None
        return number, Facts(reason=f"the decoder crashed ({cause_of_death(self.process.exitcode)})")

    def end(self) -> None:
        self.ended = True
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(connection: Connection, look: Callable[[Job], Facts]) -> None:
    """The life of a worker process."""
    leave_signals_to_main_process()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):  # the main process has gone
        connection.send("ready")
        while True:
            connection.send(look(connection.recv()))


def _end_with_parent() -> None:
    """A worker that hangs in a file does not outlive a main process that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
