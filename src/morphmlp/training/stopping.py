"""How a run ends before its last step: signals, a lost process, and the message for each."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import distributed

from morphmlp.distributed import world_size
from morphmlp.errors import UserError
from morphmlp.system import TERMINATION_SIGNALS, command_line


class LostProcessError(UserError):
    """A decoding process, or another process of the run, ended."""


class Interrupted(Exception):
    """Ctrl-C (SIGINT) or a preemption (SIGTERM) stopped the run; its state is saved."""

    def __init__(self, signal_number: int, out: Path):
        super().__init__(f"stopped, the state is saved; go on with: {resume_command(out)}")
        self.signal_number = signal_number


class Stop(Exception):
    """Unwinds the loop to the place where the state is saved, unless it is saved already."""

    def __init__(self, unsaved: bool):
        super().__init__(unsaved)
        self.unsaved = unsaved


class StopSignal:
    """The signal that asked this process to stop.

    Attributes:
        number: None until one has come.
        stop: what a signal raises where the run waits for processes that may never be done; None elsewhere.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.came_at = 0.0
        self.stop: Stop | None = None

    @property
    def came(self) -> bool:
        return self.number is not None

    @contextmanager
    def raises(self, stop: Stop | None) -> Iterator[None]:
        """A signal raises `stop` in the body, which may wait for ever, or before it where it has come already."""
        if stop is not None and self.came:
            raise stop
        self.stop = stop
        try:
            yield
        finally:
            self.stop = None

    @contextmanager
    def caught(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM is noted, and the run stops after the step in progress; a second one ends it.

        A second one that comes in the same moment is taken for the first: `timeout` and schedulers send theirs to a
        process and to its group, and torchrun passes on what its processes were sent too.
        """

        def catch(number: int, _: Any) -> None:
            if self.came and time.monotonic() - self.came_at >= _same_moment_s(number):
                signal.signal(number, before[number])
                signal.raise_signal(number)
                os._exit(128 + number)  # the first process of a container does not end of it
            if not self.came:
                self.number, self.came_at = number, time.monotonic()
            if self.stop is not None:
                stop, self.stop = self.stop, None
                raise stop

        numbers = (signal.SIGINT, *TERMINATION_SIGNALS)
        before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
        for number in before:
            signal.signal(number, catch)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _same_moment_s(number: int) -> float:
    """Seconds in which a second signal means the first; a person who presses Ctrl-C twice means it."""
    if world_size() > 1:
        return 10.0
    return 0.0 if number == signal.SIGINT else 1.0


def lost_process(error: RuntimeError, *, step: int, saved_step: int | None, out: Path) -> LostProcessError | None:
    """The message where another process has ended; None for any other error.

    The state in memory is not saved: the error can come in the middle of a step.

    Args:
        saved_step: of the state in `out`; None where there is none.
    """
    saved = "no state is saved yet" if saved_step is None else f"the last saved state is of step {saved_step}"
    go_on = f"{saved}; go on with: {resume_command(out)}"
    if "DataLoader worker" in str(error):
        return LostProcessError(
            f"a decoding process ended unexpectedly (out of memory?) after step {step}; try fewer --workers if it "
            f"comes again; {go_on}"
        )
    if world_size() > 1 and (isinstance(error, distributed.DistError) or "onnection" in str(error)):
        return LostProcessError(f"another process of this run has ended, after step {step}; {go_on}")
    return None


def resume_command(out: Path) -> str:
    """What a user types to go on with the run."""
    again = command_line(["morphmlp", "train", "--out", str(out), "--resume"])
    return again if world_size() == 1 else f"{again} (under torchrun, as before)"
