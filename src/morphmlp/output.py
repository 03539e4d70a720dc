"""Standard output and standard error: nothing in a name steers the terminal, and a reader may go."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from morphmlp.formatting import one_line


def tell(line: object) -> None:
    """Prints a line to standard error, for people; nothing happens where that is closed."""
    try:
        print(one_line(line), file=sys.stderr, flush=True)
    except BrokenPipeError:
        discard(sys.stderr)


@contextmanager
def until_closed() -> Iterator[None]:
    """What is printed here goes nowhere once its reader, such as `head`, has gone: the verb goes on to its own end.

    Raises:
        BrokenPipeError: of a pipe that is no output.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not discard_closed_output():
            raise


def discard_closed_output() -> bool:
    """Lets go of output that its reader, such as `head`, has closed; False where it is open.

    What is left in the buffers would fail again when the process ends.
    """
    closed = [stream for stream in (sys.stdout, sys.stderr) if _is_closed(stream)]
    for stream in closed:
        discard(stream)
    return bool(closed)


def _is_closed(stream: IO[str]) -> bool:
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    except (OSError, ValueError):  # no file of the system
        return False


def discard(stream: IO[str]) -> None:
    """Lets what is printed from now on, and what the stream still holds, go nowhere."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
