"""Ctrl-C and SIGTERM end a verb in order: what is half-written is removed, and one line says so."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from morphmlp.system import CHILD_DEATH, TERMINATION_SIGNALS


class Terminated(BaseException):
    """SIGTERM came; like KeyboardInterrupt, no error."""


_ENDS: dict[int, type[BaseException]] = {signal.SIGINT: KeyboardInterrupt}
_ENDS |= dict.fromkeys(TERMINATION_SIGNALS, Terminated)
_came: list[int] = []


@contextmanager
def raised() -> Iterator[None]:
    """Within the body, Ctrl-C raises KeyboardInterrupt and SIGTERM raises Terminated; in the main thread only.

    A signal that is ignored, as Ctrl-C is in the background of a shell, stays so.
    """
    main_process = os.getpid()

    def end(number: int, _: Any) -> None:
        if os.getpid() != main_process:  # a forked process that has not chosen its own handlers yet
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        _came.append(number)
        raise _ENDS[number]

    try:
        before = {number: signal.signal(number, end) for number in _ENDS if signal.getsignal(number) != signal.SIG_IGN}
    except ValueError:  # not the main thread, to which signals go
        before = {}
    try:
        yield
    finally:
        _came.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_children() -> Iterator[None]:
    """Ends the processes that the body started and left: Python would wait for ever for one that hangs in a file."""
    others = set(multiprocessing.active_children())
    try:
        yield
    finally:
        if children := set(multiprocessing.active_children()) - others:
            with _deaths_ignored():
                for child in children:
                    child.kill()
                    child.join(1)


@contextmanager
def _deaths_ignored() -> Iterator[None]:
    """torch raises an error at the death of a worker whose loader still exists."""
    try:
        before = None if CHILD_DEATH is None else signal.signal(CHILD_DEATH, signal.SIG_DFL)
    except ValueError:  # not the main thread
        before = None
    try:
        yield
    finally:
        if CHILD_DEATH is not None and before is not None:
            signal.signal(CHILD_DEATH, before)


def take_note() -> None:
    """For a verb that has caught what a signal raised, and still writes what there is before it raises it again."""
    _came.clear()


def end_if_asked() -> None:
    """Raises again what a signal raised, if it was lost: libraries catch all that comes up in some of their imports."""
    if _came:
        raise _ENDS[_came[-1]]
